from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kaggle_salt.competition.metric import image_scores
from kaggle_salt.ensembling import histograms
from kaggle_salt.ensembling.histograms import LEVELS, count_tiles
from kaggle_salt.errors import DataError

law = settings(max_examples=25)


def random_tiles(count: int = 7, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    truth = rng.random((count, 5, 3)) < 0.4
    return truth, rng.integers(0, 256, truth.shape, dtype=np.uint8)


def test_counts_of_a_tile_one_can_check_by_eye() -> None:
    truth = np.array([[[1, 1, 0], [0, 0, 0]]], dtype=bool)
    values = np.array([[[9, 7, 9], [0, 255, 0]]], dtype=np.uint8)
    counted = count_tiles(truth, values)
    assert {v: n for v, n in enumerate(counted.inside[0]) if n} == {7: 1, 9: 1}
    assert {v: n for v, n in enumerate(counted.outside[0]) if n} == {0: 2, 9: 1, 255: 1}
    assert counted.truth_area.tolist() == [2]
    assert counted.intersection[0, [6, 7, 8, 9]].tolist() == [2, 1, 1, 0]
    assert counted.predicted_area[0, [0, 7, 9, 254, 255]].tolist() == [4, 3, 1, 1, 0]


@law
@given(seed=st.integers(0, 2**32 - 1), level=st.integers(0, 255))
def test_every_level_agrees_with_masks_thresholded_by_brute_force(seed: int, level: int) -> None:
    truth, values = random_tiles(seed=seed)
    counted = count_tiles(truth, values)
    masks = values > level
    assert counted.intersection[:, level].tolist() == (masks & truth).sum(axis=(1, 2)).tolist()
    assert counted.predicted_area[:, level].tolist() == masks.sum(axis=(1, 2)).tolist()
    assert (counted.tenths[:, level] / 10).tolist() == image_scores(truth, masks).tolist()


@law
@given(hnp.arrays(np.uint8, (3, 4, 4)), hnp.arrays(np.bool_, (3, 4, 4)))
def test_no_pixel_is_lost(values: NDArray[np.uint8], truth: NDArray[np.bool_]) -> None:
    counted = count_tiles(truth, values)
    assert (counted.inside + counted.outside).sum(axis=1).tolist() == [16, 16, 16]
    assert counted.truth_area.tolist() == truth.sum(axis=(1, 2)).tolist()


def test_tiles_of_more_pixels_than_16_bits_count() -> None:
    truth = np.ones((1, 300, 300), dtype=bool)
    counted = count_tiles(truth, np.full(truth.shape, 255, dtype=np.uint8))
    assert counted.inside[0, 255] == counted.predicted_area[0, 254] == 90_000


@pytest.mark.parametrize("chunk_pixels", [1, 15, 31, 60])
def test_chunks_do_not_show(chunk_pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, values = random_tiles()
    whole = count_tiles(truth, values)
    monkeypatch.setattr(histograms, "_CHUNK_PIXELS", chunk_pixels)
    chunked = count_tiles(truth, values)
    assert np.array_equal(chunked.inside, whole.inside)
    assert np.array_equal(chunked.outside, whole.outside)


@pytest.mark.parametrize("part_tiles", [1, 3, 7, 100])
def test_parts_do_not_show(part_tiles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histograms, "_PART_TILES", part_tiles)
    truth, values = random_tiles()
    counted = count_tiles(truth, values)
    parts = list(counted.parts())
    assert [len(part) for _, part in parts] == [len(truth[chunk]) for chunk, _ in parts]
    assert np.array_equal(np.concatenate([part.inside for _, part in parts]), counted.inside)
    expected = np.stack([image_scores(truth, values > level) for level in range(LEVELS)], axis=1)
    assert np.array_equal(counted.tenths / 10, expected)


def test_memory_mapped_arrays_count_the_same(tmp_path: Path) -> None:
    truth, values = random_tiles()
    np.save(tmp_path / "truth.npy", truth)
    np.save(tmp_path / "values.npy", values)
    mapped = count_tiles(
        np.load(tmp_path / "truth.npy", mmap_mode="r"),
        np.load(tmp_path / "values.npy", mmap_mode="r"),
    )
    assert np.array_equal(mapped.inside, count_tiles(truth, values).inside)


def test_take_is_counting_those_tiles_alone() -> None:
    truth, values = random_tiles()
    counted = count_tiles(truth, values)
    rows = np.array([4, 0])
    alone = count_tiles(truth[rows], values[rows])
    for taken in (counted.take(rows), counted.take(np.isin(np.arange(7), rows))):
        assert len(taken) == 2
        assert sorted(taken.tenths.tolist()) == sorted(alone.tenths.tolist())
    assert counted.take(rows).tenths.shape == (2, LEVELS)


def test_wrong_arrays_are_refused() -> None:
    truth, values = random_tiles()
    with pytest.raises(DataError, match=r"truth: int64 \[7, 5, 3\]\nexpected: bool"):
        count_tiles(truth.astype(np.int64), values)
    with pytest.raises(DataError, match="probabilities: float64"):
        count_tiles(truth, values / 255)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"probabilities: uint8 \[6, 5, 3\]"):
        count_tiles(truth, values[:6])
    with pytest.raises(DataError, match="there are no tiles"):
        count_tiles(truth[:0], values[:0])
