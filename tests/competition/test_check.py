from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kaggle_salt.competition.check import CheckReport, inspect
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import DataError
from tests.makers import png, put, rle, write_competition, write_table


def check(folder: Path) -> CheckReport:
    return inspect(Competition.open(folder))


def put_image(folder: Path, tile: str, level: int | None = None) -> None:
    """A tile of one grey value, or else always the same tile of many."""
    grey = np.arange(64, dtype=np.uint8) if level is None else np.full(64, level, np.uint8)
    split = "test" if tile.startswith("test") else "train"
    put(folder / f"{split}/images/{tile}.png", png(grey.reshape(8, 8)))


def write_masks(folder: Path, areas: dict[str, int]) -> None:
    """Masks with the first pixels of each row order set, as PNG and in ``train.csv``."""
    rows = []
    for tile, area in areas.items():
        mask = (np.arange(64) < area).reshape(8, 8)
        put(folder / f"train/masks/{tile}.png", png(mask.astype(np.uint8) * 255))
        rows.append((tile, rle(mask)))
    write_table(folder / "train.csv", "id,rle_mask", rows)


def test_good_competition_has_no_inconsistency(tmp_path: Path) -> None:
    write_competition(tmp_path, shape=(12, 10), image_mode="RGB", mask_mode="1")
    report = check(tmp_path)
    assert (report.train_tiles, report.test_tiles, report.tile_shape) == (6, 3, (12, 10))
    assert report.modes == {"images": {"RGB": 6}, "masks": {"1": 6}, "test": {"RGB": 3}}
    assert report.empty_masks == 2
    assert report.blank_tiles == report.blank_test_tiles == ()
    assert report.duplicates == report.train_test_duplicates == ()
    assert report.unknown_depths == report.rle_disagreements == report.inconsistencies == ()


def test_coverage_bins_are_closed_at_their_upper_end(tmp_path: Path) -> None:
    # 64 pixels: .1 is 6.4 pixels, .5 is exactly 32, 1 is 64
    areas = {"tile000": 0, "tile001": 6, "tile002": 7, "tile003": 32, "tile004": 33, "tile005": 64}
    write_competition(tmp_path)
    write_masks(tmp_path, areas)
    report = check(tmp_path)
    assert report.coverage_histogram == (1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1)
    assert report.inconsistencies == ()


def test_blank_tiles_are_named_and_are_no_duplicates(tmp_path: Path) -> None:
    write_competition(tmp_path)
    write_masks(tmp_path, {f"tile00{n}": 0 for n in range(6)})
    for tile, level in (("tile001", 0), ("tile002", 0), ("test001", 200)):
        put_image(tmp_path, tile, level)
    report = check(tmp_path)
    assert report.blank_tiles == ("tile001", "tile002")
    assert report.blank_test_tiles == ("test001",)
    assert report.duplicates == ()
    assert report.inconsistencies == ()


def test_blank_tile_with_salt_is_inconsistent(tmp_path: Path) -> None:
    write_competition(tmp_path)
    write_masks(tmp_path, {f"tile00{n}": n for n in range(6)})
    put_image(tmp_path, "tile000", 9)
    put_image(tmp_path, "tile003", 9)
    assert check(tmp_path).inconsistencies == ("tile tile003 is blank but its mask is not empty",)


def test_duplicates_within_and_across(tmp_path: Path) -> None:
    write_competition(tmp_path)
    write_masks(tmp_path, {f"tile00{n}": 5 for n in range(6)})
    for tile in ("tile001", "tile004", "test002"):
        put_image(tmp_path, tile)
    report = check(tmp_path)
    assert report.duplicates == (("tile001", "tile004"),)
    assert report.train_test_duplicates == (("tile001", "tile004", "test002"),)
    assert report.inconsistencies == ()


def test_test_tiles_alike_are_no_training_duplicates(tmp_path: Path) -> None:
    write_competition(tmp_path)
    for tile in ("test001", "test002"):
        put_image(tmp_path, tile)
    report = check(tmp_path)
    assert report.duplicates == report.train_test_duplicates == ()


def test_same_pixels_with_different_masks_are_inconsistent(tmp_path: Path) -> None:
    write_competition(tmp_path)
    write_masks(tmp_path, {f"tile00{n}": n for n in range(6)})
    put_image(tmp_path, "tile001")
    put_image(tmp_path, "tile004")
    assert check(tmp_path).inconsistencies == (
        "tiles tile001 and tile004 have the same pixels but different masks",
    )


def test_mask_unlike_train_csv(tmp_path: Path) -> None:
    written = write_competition(tmp_path)
    rows = dict(zip(written.ids, map(rle, written.masks), strict=True))
    empty, odd = written.ids[0], written.ids[1]
    rows |= {empty: "1 3", odd: "1 2 3"}
    write_table(tmp_path / "train.csv", "id,rle_mask", rows.items())
    report = check(tmp_path)
    assert report.rle_disagreements == (empty, odd)
    different, invalid = report.inconsistencies
    assert different == f"the mask of {empty} differs from train.csv in 3 pixels"
    assert invalid.startswith(f"train.csv has no valid mask for {odd}: ")


def test_train_csv_without_masks_is_refused(tmp_path: Path) -> None:
    written = write_competition(tmp_path)
    write_table(tmp_path / "train.csv", "id", [(tile,) for tile in written.ids])
    with pytest.raises(DataError, match=r"train\.csv has no column rle_mask"):
        check(tmp_path)


def test_depths_that_do_not_match(tmp_path: Path) -> None:
    written = write_competition(tmp_path, n_test=1)
    rows = [(tile, "100") for tile in (*written.ids[1:], "stranger")]
    write_table(tmp_path / "depths.csv", "id,z", rows)
    report = check(tmp_path)
    assert report.unknown_depths == (written.ids[0], "test000")
    assert report.inconsistencies == (
        f"depths.csv has no depth for 2 tiles ({written.ids[0]}, test000)",
        "depths.csv gives a depth to 1 tile (stranger) that nothing else names",
    )


def test_no_depths_at_all_is_no_inconsistency(tmp_path: Path) -> None:
    write_competition(tmp_path)
    (tmp_path / "depths.csv").unlink()
    report = check(tmp_path)
    assert len(report.unknown_depths) == 9
    assert report.inconsistencies == ()


def test_tile_in_train_and_test(tmp_path: Path) -> None:
    written = write_competition(tmp_path, n_test=1)
    tile = written.ids[0]
    (tmp_path / "test/images/test000.png").rename(tmp_path / f"test/images/{tile}.png")
    write_table(tmp_path / "sample_submission.csv", "id,rle_mask", [(tile, "1 1")])
    write_table(tmp_path / "depths.csv", "id,z", [(tile, "1") for tile in written.ids])
    assert check(tmp_path).inconsistencies == (f"tile {tile} is both a training and a test tile",)


def test_report_survives_json(tmp_path: Path) -> None:
    write_competition(tmp_path)
    report = check(tmp_path)
    read_back = json.loads(json.dumps(report.to_json()))
    assert read_back["tile_shape"] == [8, 8]
    assert read_back["path"] == str(tmp_path)
    assert sum(read_back["coverage_histogram"]) == 6
    assert read_back.keys() == CheckReport.__dataclass_fields__.keys()
