from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kaggle_salt.competition.pixels import (
    is_coloured,
    read_pixels,
    to_coloured_tile,
    to_mask,
    to_tile,
)
from kaggle_salt.errors import DataError
from tests.makers import jpeg, png

LEVELS = (np.arange(120, dtype=np.uint8) * 2).reshape(12, 10)
BLACK_WHITE = LEVELS // 128 * np.uint8(255)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "I;16"])
def test_grey_levels_survive_every_mode(mode: str) -> None:
    grey, found = read_pixels(png(LEVELS, mode), "a.png")
    assert found == mode
    assert to_tile(grey).dtype == np.uint8
    np.testing.assert_array_equal(to_tile(grey), LEVELS)


def test_one_bit_levels_are_0_and_255() -> None:
    grey, found = read_pixels(png(BLACK_WHITE, "1"), "a.png")
    assert found == "1"
    np.testing.assert_array_equal(to_tile(grey), BLACK_WHITE)


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "RGB", "P"])
def test_mask_is_the_same_in_every_mode(mode: str) -> None:
    grey, _ = read_pixels(png(BLACK_WHITE, mode), "m.png")
    mask = to_mask(grey, "m.png")
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, BLACK_WHITE == 255)


RED_GREEN_BLUE = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)


def test_colours_are_kept_in_this_order() -> None:
    pixels, mode = read_pixels(png(RED_GREEN_BLUE, "RGB"), "c.png")
    assert mode == "RGB"
    assert is_coloured(pixels)
    assert to_coloured_tile(pixels).tolist() == RED_GREEN_BLUE.tolist()
    assert to_tile(pixels).tolist() == [[76, 150, 29]]  # 255 times .299, .587, .114


def test_equal_channels_are_grey() -> None:
    grey, _ = read_pixels(png(LEVELS, "RGB"), "a.png")
    assert not is_coloured(grey)
    tile = to_coloured_tile(grey)
    assert tile.shape == (12, 10, 3)
    assert all((tile[..., channel] == LEVELS).all() for channel in range(3))


@pytest.mark.parametrize(("mode", "coloured"), [("L", False), ("RGB", True), ("CMYK", True)])
def test_jpeg_is_nearly_what_was_written(mode: str, coloured: bool) -> None:
    smooth = np.linspace(40, 200, 16 * 24).reshape(16, 24).astype(np.uint8)
    levels = np.stack([smooth, smooth // 2, 255 - smooth], axis=2) if coloured else smooth
    pixels, found = read_pixels(jpeg(levels, mode), "a.png")  # the name does not say what it is
    assert found == f"JPEG {mode}"
    assert is_coloured(pixels) == coloured
    assert np.abs(pixels.astype(int) - levels).max() <= 24  # colours are stored at half the size


def test_grey_jpeg_in_three_channels_is_grey() -> None:
    pixels, mode = read_pixels(jpeg(LEVELS, "RGB"), "a.jpg")
    assert mode == "JPEG RGB"
    assert not is_coloured(pixels)


@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_jpeg_is_named_wherever_it_ends(progressive: bool) -> None:
    out = io.BytesIO()
    picture = Image.fromarray(np.tile(LEVELS, (4, 4)))
    picture.save(out, format="JPEG", progressive=progressive)
    whole = out.getvalue()
    assert read_pixels(whole, "a.jpg")[0].shape == (48, 40)
    for end in range(0, len(whole) - 1, 7):
        with pytest.raises(DataError, match=r"images/a\.jpg is truncated or damaged"):
            read_pixels(whole[:end], "images/a.jpg")


def test_16_bit_levels_are_rounded() -> None:
    levels = np.array([[0, 128, 129, 257, 65535]], np.uint16)  # 257 per 8-bit level
    assert to_tile(levels).tolist() == [[0, 0, 1, 1, 255]]


@pytest.mark.parametrize("cut", [0, 7, 20, 60, -13, -4, -1])
def test_truncated_file_is_named(cut: int) -> None:
    whole = png(LEVELS)
    with pytest.raises(DataError, match=r"images/a\.png is truncated or damaged"):
        read_pixels(whole[:cut], "images/a.png")


@given(place=st.integers(8, len(png(LEVELS)) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unnoticed(place: int, bit: int) -> None:
    damaged = bytearray(png(LEVELS))
    damaged[place] ^= 1 << bit
    with pytest.raises(DataError, match="truncated or damaged"):
        read_pixels(bytes(damaged), "a.png")


def test_text_is_no_png() -> None:
    with pytest.raises(DataError, match="truncated or damaged"):
        read_pixels(b"<html>please log in</html>", "a.png")


@pytest.mark.parametrize("levels", [[0, 128, 255], [0, 1, 255], [0, 254], [7, 7]])
def test_grey_mask_is_refused(levels: list[int]) -> None:
    shown = ", ".join(map(str, sorted(set(levels))))
    message = (
        f"mask m.png has the grey levels {shown}\nexpected: no level but 0 and 255 "
        r"\(or 0 and 1\)\nnext: salt check --mask-threshold 128"
    )
    with pytest.raises(DataError, match=message):
        to_mask(np.array([levels], np.uint8), "m.png")


@pytest.mark.parametrize(
    ("dtype", "level"),
    [(np.uint8, 1), (np.uint8, 255), (np.uint16, 1), (np.uint16, 255), (np.uint16, 65535)],
)
def test_salt_is_one_of_the_usual_levels(dtype: type[np.uint8 | np.uint16], level: int) -> None:
    assert to_mask(np.array([[0, level]], dtype), "m.png").tolist() == [[False, True]]
    assert to_mask(np.array([[level, level]], dtype), "m.png").all()
    assert not to_mask(np.array([[0, 0]], dtype), "m.png").any()


def test_16_bit_mask_of_another_level_is_refused() -> None:
    with pytest.raises(DataError, match="grey levels 0, 300\nexpected: no level but 0 and 65535"):
        to_mask(np.array([[0, 300]], np.uint16), "m.png")


def test_from_the_threshold_on_levels_are_salt() -> None:
    grey = np.array([[0, 1, 99, 100, 255]], np.uint8)
    salt = [[False, False, False, True, True]]
    assert to_mask(grey, "m.png", threshold=100).tolist() == salt
    assert to_mask(grey.astype(np.uint16) * 257, "m.png", threshold=100).tolist() == salt
    assert to_mask(grey, "m.jpg", threshold=100, lossy=True).tolist() == salt


@pytest.mark.parametrize("levels", [[0, 255], [0, 1], [0, 0]])
def test_lossy_mask_needs_a_threshold(levels: list[int]) -> None:
    lossy = r"mask m\.jpg is a JPEG, which does not keep levels[\s\S]*next: salt check --mask-thr"
    with pytest.raises(DataError, match=lossy):
        to_mask(np.array([levels], np.uint8), "m.jpg", lossy=True)
