from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kaggle_salt.competition import rle
from kaggle_salt.errors import RleError

GRID = np.array(
    [
        [1, 0, 0, 1],
        [1, 0, 0, 1],
        [0, 1, 0, 0],
        [0, 1, 0, 1],
    ],
    dtype=np.bool_,
)
GRID_TEXT = "1 2 7 2 13 2 16 1"  # columns: 1-4, 5-8, 9-12, 13-16

masks_3d = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7))


def encode_pixel_by_pixel(mask: NDArray[np.bool_]) -> str:
    height, width = mask.shape
    words: list[int] = []
    length = 0
    for column in range(width):
        for row in range(height):
            if mask[row, column]:
                if length == 0:
                    words.append(column * height + row + 1)
                length += 1
            elif length:
                words.append(length)
                length = 0
    if length:
        words.append(length)
    return " ".join(str(word) for word in words)


def test_encode_counts_down_the_columns_from_one() -> None:
    assert rle.encode(GRID) == GRID_TEXT


def test_decode_counts_down_the_columns_from_one() -> None:
    np.testing.assert_array_equal(rle.decode(GRID_TEXT, (4, 4)), GRID)


def test_a_run_goes_on_in_the_next_column() -> None:
    mask = np.array([[0, 1, 1], [1, 1, 0]], dtype=np.bool_)
    assert rle.encode(mask) == "2 4"
    np.testing.assert_array_equal(rle.decode("2 4", (2, 3)), mask)


def test_empty_and_full_masks() -> None:
    masks = np.stack([np.zeros((3, 5), np.bool_), np.ones((3, 5), np.bool_)])
    assert rle.encode_batch(masks) == ["", "1 15"]
    assert not rle.decode("", (3, 5)).any()
    assert rle.decode("1 15", (3, 5)).all()


def test_a_run_does_not_leak_into_the_next_mask() -> None:
    assert rle.encode_batch(np.ones((3, 2, 2), np.bool_)) == ["1 4", "1 4", "1 4"]


def test_no_masks_and_no_pixels() -> None:
    assert rle.encode_batch(np.zeros((0, 4, 4), np.bool_)) == []
    assert rle.encode_batch(np.zeros((2, 0, 4), np.bool_)) == ["", ""]


@given(masks_3d)
def test_batch_equals_the_obvious_encoder(masks: NDArray[np.bool_]) -> None:
    assert rle.encode_batch(masks) == [encode_pixel_by_pixel(mask) for mask in masks]


@given(masks_3d, st.integers(1, 60))
def test_blocks_do_not_change_the_result(masks: NDArray[np.bool_], pixels: int) -> None:
    expected = rle.encode_batch(masks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rle, "BLOCK_PIXELS", pixels)
        assert rle.encode_batch(masks) == expected


@given(masks_3d, st.integers(1, 60))
def test_numbers_looked_up_and_written_are_the_same(masks: NDArray[np.bool_], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rle, "LARGEST_TABLE", most)
        assert rle.encode_batch(masks) == [encode_pixel_by_pixel(mask) for mask in masks]


@given(masks_3d)
def test_decode_inverts_encode(masks: NDArray[np.bool_]) -> None:
    for mask in masks:
        decoded = rle.decode(rle.encode(mask), mask.shape)
        assert decoded.dtype == np.bool_
        np.testing.assert_array_equal(decoded, mask)


def test_a_mask_need_not_be_contiguous() -> None:
    wide = np.repeat(GRID, 2, axis=1)
    assert rle.encode(wide[:, ::2]) == GRID_TEXT


def test_runs_that_touch_are_read() -> None:
    assert rle.decode("1 2 3 2", (2, 2)).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 7", r"run 2 .* has a start, 7, but no length"),
        ("1 2 7 2.5", r"run 2 .* holds '2.5'"),
        ("x 2", r"run 1 .* holds 'x'"),
        ("1_0 2", r"run 1 .* holds '1_0'"),
        ("1 " + "9" * 5000, r"run 1 .* holds '9{40}'"),
        ("1 2 7 0", r"run 2 .* has length 0"),
        ("1 -2", r"run 1 .* has length -2"),
        ("5 4 8 2", r"run 2 .* starts at pixel 8, the run before it ends at pixel 8"),
        ("9 2 1 2", r"run 2 .* starts at pixel 1, the run before it ends at pixel 10"),
        ("16 2", r"run 1 .* covers pixels 16 to 17\nexpected: pixels 1 to 16"),
        ("0 3", r"run 1 .* covers pixels 0 to 2"),
        ("-5 3", r"run 1 .* covers pixels -5 to -3"),
    ],
)
def test_decode_names_the_run_it_refuses(text: str, message: str) -> None:
    with pytest.raises(RleError, match=message):
        rle.decode(text, (4, 4))


def test_decode_explains_a_missing_value() -> None:
    with pytest.raises(RleError, match=r"is nan\n(.|\n)*keep_default_na=False"):
        rle.decode(float("nan"), (4, 4))  # type: ignore[arg-type]


@pytest.mark.parametrize("masks", [np.zeros((2, 4, 4), np.int64), np.zeros((4, 4), np.bool_)])
def test_only_batches_of_masks_are_encoded(masks: NDArray[np.bool_]) -> None:
    with pytest.raises(RleError, match=r"(int64 \[2, 4, 4\]|bool \[4, 4\])\nexpected: bool \[N"):
        rle.encode_batch(masks)


@given(hnp.arrays(np.bool_, (3, 4, 5)))
def test_masks_of_zeros_and_ones_are_encoded_as_booleans_are(masks: NDArray[np.bool_]) -> None:
    numbers = masks.astype(np.uint8)
    assert rle.encode_batch(numbers) == rle.encode_batch(masks)
    assert rle.encode(numbers[0]) == rle.encode(masks[0])
    assert rle.encode_batch(numbers[:, ::2, ::2]) == rle.encode_batch(masks[:, ::2, ::2])


def test_masks_of_other_numbers_are_refused() -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[1, 2] = 255
    with pytest.raises(RleError, match=r"the value 255\n(.|\n)*next: masks > 0"):
        rle.encode(mask)
