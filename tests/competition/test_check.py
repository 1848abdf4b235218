from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kaggle_salt.competition.check import CheckReport, Finding, check
from kaggle_salt.competition.faults import Sort
from kaggle_salt.errors import DataError
from tests.makers import jpeg, pack, png, put, rle, write_competition, write_table


def titles(findings: tuple[Finding, ...]) -> dict[str, int]:
    return {finding.title: finding.count for finding in findings}


def the_only(findings: tuple[Finding, ...]) -> Finding:
    (finding,) = findings
    return finding


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
    assert report.unknown_depths == report.notes == report.faults == report.warnings == ()
    assert (report.is_coloured, report.mask_levels) == (False, {"0": 2, "255": 4})


def test_coverage_bins_are_closed_at_their_upper_end(tmp_path: Path) -> None:
    # 64 pixels: .1 is 6.4 pixels, .5 is exactly 32, 1 is 64
    areas = {"tile000": 0, "tile001": 6, "tile002": 7, "tile003": 32, "tile004": 33, "tile005": 64}
    write_competition(tmp_path)
    write_masks(tmp_path, areas)
    report = check(tmp_path)
    assert report.coverage_histogram == (1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1)
    assert report.faults == report.warnings == ()


def test_blank_tiles_are_named_and_are_no_duplicates(tmp_path: Path) -> None:
    write_competition(tmp_path)
    write_masks(tmp_path, {f"tile00{n}": 0 for n in range(6)})
    for tile, level in (("tile001", 0), ("tile002", 0), ("test001", 200)):
        put_image(tmp_path, tile, level)
    report = check(tmp_path)
    assert report.blank_tiles == ("tile001", "tile002")
    assert report.blank_test_tiles == ("test001",)
    assert report.duplicates == ()
    assert report.faults == ()
    assert titles(report.warnings) == {Sort.ONE_CLASS.title: 6}


def test_blank_tile_with_salt_is_suspicious(tmp_path: Path) -> None:
    write_competition(tmp_path)
    write_masks(tmp_path, {f"tile00{n}": n for n in range(6)})
    put_image(tmp_path, "tile000", 9)
    put_image(tmp_path, "tile003", 9)
    report = check(tmp_path)
    assert report.faults == ()
    finding = the_only(report.warnings)
    assert finding.examples == ("tile tile003 is blank but its mask is not empty",)
    assert finding.tiles == ("tile003",)


def test_blank_tiles_of_one_colour(tmp_path: Path) -> None:
    write_competition(tmp_path, coloured=True, tables=False)
    red = np.full((8, 8, 3), (200, 0, 0), np.uint8)
    put(tmp_path / "test/images/test001.png", png(red, "RGB"))
    report = check(tmp_path)
    assert report.is_coloured
    assert report.blank_test_tiles == ("test001",)
    assert report.blank_tiles == ()


def test_duplicates_within_and_across(tmp_path: Path) -> None:
    write_competition(tmp_path)
    write_masks(tmp_path, {f"tile00{n}": 5 for n in range(6)})
    for tile in ("tile001", "tile004", "test002"):
        put_image(tmp_path, tile)
    report = check(tmp_path)
    assert report.duplicates == (("tile001", "tile004"),)
    assert report.train_test_duplicates == (("tile001", "tile004", "test002"),)
    assert report.faults == ()
    assert the_only(report.warnings).examples == (
        "test tile test002 has the pixels of training tile tile001",
    )


def test_test_tiles_alike_are_no_training_duplicates(tmp_path: Path) -> None:
    write_competition(tmp_path)
    for tile in ("test001", "test002"):
        put_image(tmp_path, tile)
    report = check(tmp_path)
    assert report.duplicates == report.train_test_duplicates == ()


def test_same_pixels_with_different_masks_are_suspicious(tmp_path: Path) -> None:
    write_competition(tmp_path)
    write_masks(tmp_path, {f"tile00{n}": n for n in range(6)})
    put_image(tmp_path, "tile001")
    put_image(tmp_path, "tile004")
    report = check(tmp_path)
    assert report.faults == ()
    assert the_only(report.warnings).examples == (
        "tiles tile001 and tile004 have the same pixels but different masks",
    )


def test_mask_unlike_train_csv(tmp_path: Path) -> None:
    written = write_competition(tmp_path)
    rows = dict(zip(written.ids, map(rle, written.masks), strict=True))
    empty, odd = written.ids[0], written.ids[1]
    rows |= {empty: "1 3", odd: "1 2 3"}
    write_table(tmp_path / "train.csv", "id,rle_mask", rows.items())
    report = check(tmp_path)
    invalid, different = report.faults
    assert different.tiles == (empty,)
    assert different.examples == (f"the mask of {empty} differs from train.csv in 3 pixels",)
    assert invalid.tiles == (odd,)
    assert invalid.examples[0].startswith(f"train.csv has no valid mask for {odd}: ")


def test_train_csv_without_masks_is_enough(tmp_path: Path) -> None:
    written = write_competition(tmp_path)
    write_table(tmp_path / "train.csv", "id", [(tile,) for tile in written.ids])
    report = check(tmp_path)
    assert report.train_tiles == 6
    assert report.faults == report.warnings == ()


def test_depths_that_do_not_match_are_suspicious(tmp_path: Path) -> None:
    written = write_competition(tmp_path, n_test=1)
    rows = [(tile, "100") for tile in (*written.ids[1:], "stranger")]
    write_table(tmp_path / "depths.csv", "id,z", rows)
    report = check(tmp_path)
    assert report.unknown_depths == (written.ids[0], "test000")
    assert report.faults == ()
    assert [(finding.count, finding.examples) for finding in report.warnings] == [
        (2, (f"depths.csv has no depth for 2 tiles ({written.ids[0]}, test000)",)),
        (1, ("depths.csv gives a depth to 1 tile (stranger) that nothing else names",)),
    ]


def test_no_depths_at_all_is_nothing_wrong(tmp_path: Path) -> None:
    write_competition(tmp_path)
    (tmp_path / "depths.csv").unlink()
    report = check(tmp_path)
    assert len(report.unknown_depths) == 9
    assert report.faults == report.warnings == ()


def test_tile_in_train_and_test(tmp_path: Path) -> None:
    written = write_competition(tmp_path, n_test=1)
    tile = written.ids[0]
    (tmp_path / "test/images/test000.png").rename(tmp_path / f"test/images/{tile}.png")
    write_table(tmp_path / "sample_submission.csv", "id,rle_mask", [(tile, "1 1")])
    write_table(tmp_path / "depths.csv", "id,z", [(tile, "1") for tile in written.ids])
    finding = the_only(check(tmp_path).faults)
    assert finding.examples == (f"tile {tile} is both a training and a test tile",)


def test_sample_submission_alone_is_suspicious(tmp_path: Path) -> None:
    write_competition(tmp_path)
    shutil.rmtree(tmp_path / "test")
    report = check(tmp_path)
    assert report.faults == ()
    assert titles(report.warnings) == {Sort.SAMPLE_ALONE.title: 1}


@pytest.mark.parametrize(("area", "word"), [(0, "empty"), (64, "full")])
def test_masks_all_alike_are_suspicious(tmp_path: Path, area: int, word: str) -> None:
    write_competition(tmp_path)
    write_masks(tmp_path, {f"tile00{n}": area for n in range(6)})
    finding = the_only(check(tmp_path).warnings)
    assert finding.examples == (f"every mask is {word}",)
    assert finding.count == 6


def test_masks_that_were_not_read_may_be_unlike(tmp_path: Path) -> None:
    write_competition(tmp_path, salt_level=99)
    report = check(tmp_path)
    assert (report.train_tiles, report.empty_masks) == (2, 2)
    assert titles(report.faults) == {Sort.MASK_LEVELS.title: 4}
    assert report.warnings == ()


def test_a_few_coloured_tiles_and_mixed_masks_are_suspicious(tmp_path: Path) -> None:
    write_competition(tmp_path, n_train=30, tables=False)
    colours = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    put(tmp_path / "train/images/tile003.png", png(colours, "RGB"))
    put(tmp_path / "train/masks/tile003.png", png(np.eye(8, dtype=np.uint8)))
    report = check(tmp_path)
    assert report.faults == ()
    assert [finding.examples for finding in report.warnings] == [
        ("salt is level 1 in 1 masks, and a higher one in 20",),
        ("1 of 33 tiles are coloured, so all are kept in red, green and blue",),
    ]


def spoil_everything(folder: Path) -> None:
    """A competition of ten training and four test tiles with every sort of fault at once."""
    written = write_competition(folder, n_train=12, n_test=4)
    masks = dict(zip(written.ids, written.masks, strict=True))
    train, test = folder / "train", folder / "test/images"
    odd = np.zeros((7, 8), np.uint8)
    put(train / "images/tile000.png", b"")
    put(train / "images/tile001.png", png(odd))
    (train / "images/tile002.png").unlink()
    (train / "masks/tile003.png").unlink()
    put(train / "masks/tile004.png", png(np.arange(64, dtype=np.uint8).reshape(8, 8)))
    put(train / "masks/tile005.png", b"not a picture")
    put(train / "masks/tile005.jpg", jpeg(np.zeros((8, 8), np.uint8)))
    put(train / "images/stranger.png", png(odd))
    put(test / "test000.png", png(odd))
    put(test / "tile007.png", png(written.images[0]))
    (test / "test001.png").unlink()
    rows = [(tile, rle(masks[tile])) for tile in sorted(masks)]
    rows[8], rows[9] = ("tile008", "1 99"), ("tile009", "64 1" if masks["tile009"].all() else "")
    write_table(folder / "train.csv", "id,rle_mask", [*rows, rows[0]])
    put(train / "masks/tile009.png", png(np.full((8, 8), 255, np.uint8)))
    write_table(folder / "depths.csv", "id,z", [("tile006", "deep"), ("tile010", "5")])


def test_every_sort_of_fault_is_found_in_one_pass(tmp_path: Path) -> None:
    spoil_everything(tmp_path)
    report = check(tmp_path)
    assert titles(report.faults) == {
        "ids that a table names twice": 1,  # tile000
        "tiles with two files": 1,  # tile005
        "ids without an image": 2,  # tile002, test001
        "training tiles without a mask": 1,  # tile003
        "files that no table names": 2,  # stranger, tile007 among the test files
        "files that cannot be read": 2,  # tile000, the mask of tile005
        "files of another size": 3,  # tile001, stranger, test000
        "masks with grey values": 1,  # tile004
        "ids of both a training and a test tile": 1,  # tile007
        "run-length strings that are not valid": 1,  # tile008
        "masks that are not what train.csv says": 1,  # tile009
        "depths that are no number": 1,  # tile006
    }
    assert (report.train_tiles, report.test_tiles) == (6, 3)  # tiles 6 to 11; test 2 and 3, tile007
    assert all(finding.remedy and finding.examples for finding in report.faults)
    unreadable = next(f for f in report.faults if f.title == Sort.UNREADABLE.title)
    assert unreadable.examples == (
        "train/images/tile000.png is truncated or damaged (0 bytes)",
        "train/masks/tile005.png is truncated or damaged (13 bytes)",
    )
    assert unreadable.tiles == ("tile000", "tile005")
    assert not [path for path in (tmp_path / ".salt-cache").iterdir() if path.is_dir()]


def test_what_is_left_is_what_a_sound_folder_would_hold(tmp_path: Path) -> None:
    """The rows that move up past lost ones keep their pixels, masks and depths."""
    spoiled, sound = tmp_path / "spoiled", tmp_path / "sound"
    for folder in (spoiled, sound):
        write_competition(folder, n_train=12)
    lines = (sound / "train.csv").read_text().splitlines(keepends=True)
    lost = [line.split(",")[0] for line in lines[2:12:3]]
    for number, tile in enumerate(lost):
        kind = ("images", "masks")[number % 2]
        put(spoiled / f"train/{kind}/{tile}.png", b"")
        for each in ("images", "masks"):
            (sound / f"train/{each}/{tile}.png").unlink()
    kept = [line for line in lines if line.split(",")[0] not in lost]
    (sound / "train.csv").write_text("".join(kept))
    assert check(spoiled).train_tiles == 8
    assert check(spoiled).data_hash == check(sound).data_hash


def test_faults_of_tables_leave_the_tiles(tmp_path: Path) -> None:
    write_competition(tmp_path)
    put(tmp_path / "train.csv", b"name\na\n")
    put(tmp_path / "sample_submission.csv", b"")
    report = check(tmp_path)
    assert (report.train_tiles, report.test_tiles) == (6, 3)
    table = the_only(report.faults)
    assert table.tiles == ("train.csv", "sample_submission.csv")


def test_a_broken_zip_leaves_the_other(tmp_path: Path) -> None:
    write_competition(tmp_path, zipped=True)
    put(tmp_path / "train.zip", (tmp_path / "train.zip").read_bytes()[:-30])
    report = check(tmp_path)
    assert (report.train_tiles, report.test_tiles) == (0, 3)
    finding = the_only(report.faults)  # what the zip would hold is not said to be missing
    assert (finding.title, finding.tiles) == (Sort.ZIP.title, ("train.zip",))


def test_a_damaged_file_in_a_zip_is_one_fault(tmp_path: Path) -> None:
    write_competition(tmp_path)
    put(tmp_path / "train/images/tile001.png", b"1" * 100)
    packed = pack(tmp_path, "train")
    put(packed, packed.read_bytes().replace(b"1" * 100, b"1" * 99 + b"2"))
    finding = the_only(check(tmp_path).faults)
    assert finding.title == Sort.UNREADABLE.title
    assert "train.zip/images/tile001.png cannot be read: Bad CRC" in finding.examples[0]


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    write_competition(tmp_path, n_test=0)
    for path in (tmp_path / "train/images").iterdir():
        put(path, b"")
    with pytest.raises(DataError, match="truncated or damaged"):
        check(tmp_path)


def test_a_zip_without_pictures_is_an_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as packed:
        packed.writestr("train/images/a.tif", b"1")
    with pytest.raises(DataError, match=r"holds no PNG or JPEG[\s\S]*expected: "):
        check(tmp_path)


def test_report_survives_json(tmp_path: Path) -> None:
    spoil_everything(tmp_path)
    report = check(tmp_path)
    read_back = json.loads(json.dumps(report.to_json()))
    assert read_back["tile_shape"] == [8, 8]
    assert read_back["path"] == str(tmp_path)
    assert sum(read_back["coverage_histogram"]) == 6
    assert read_back.keys() == CheckReport.__dataclass_fields__.keys()
    assert read_back["faults"][0]["remedy"] == Sort.ID_TWICE.remedy
