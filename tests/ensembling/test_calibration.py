from __future__ import annotations

import numpy as np
import pytest

from kaggle_salt.ensembling.calibration import calibration
from kaggle_salt.ensembling.histograms import count_tiles
from kaggle_salt.errors import DataError


def test_four_pixels_by_hand() -> None:
    truth = np.array([[[True, True], [False, False]]])
    levels = np.array([[[255, 204], [204, 0]]], dtype=np.uint8)  # 1, .8, .8 and 0
    found = calibration(count_tiles(truth, levels), bins=5)
    assert found.table["probability"].tolist() == pytest.approx([0, 2.6 / 3])
    assert found.table["salt"].tolist() == pytest.approx([0, 2 / 3])  # .8 is the last bin's end
    assert found.table["pixels"].tolist() == [1, 3]
    assert found.error == pytest.approx((2.6 - 2) / 4)


def test_it_is_what_a_loop_over_pixels_finds() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((5, 9, 7)) < 0.4
    levels = rng.integers(0, 256, truth.shape).astype(np.uint8)
    found = calibration(count_tiles(truth, levels), bins=15)
    bins: dict[int, list[tuple[float, bool]]] = {}
    for level, salt in zip(levels.ravel().tolist(), truth.ravel().tolist(), strict=True):
        bins.setdefault(min(int(level * 15 // 255), 14), []).append((level / 255, salt))
    assert len(found.table) == len(bins)
    error = 0.0
    for row, (_, pixels) in zip(found.table.itertuples(), sorted(bins.items()), strict=True):
        stated, salt = np.mean(pixels, axis=0)
        assert (row.probability, row.salt) == pytest.approx((stated, salt))
        assert row.pixels == len(pixels)
        error += len(pixels) * abs(stated - salt)
    assert found.error == pytest.approx(error / truth.size)


def test_it_needs_a_tile() -> None:
    tiles = count_tiles(np.zeros((1, 2, 2), bool), np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(DataError, match="no tiles to calibrate on"):
        calibration(tiles.take(np.array([False])))
