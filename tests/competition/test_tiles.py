from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kaggle_salt.competition import tiles
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import ConfigError, DataError
from tests.makers import TinyCompetition, jpeg, pack, png, put, rle, write_competition, write_table


def assert_same(found: Competition, written: TinyCompetition) -> None:
    assert found.ids == written.ids
    assert found.test_ids == written.test_ids
    for name in ("images", "masks", "depths", "test_images", "test_depths"):
        values, expected = getattr(found, name), getattr(written, name)
        assert values.dtype == expected.dtype
        np.testing.assert_array_equal(values, expected)


GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("image_mode", "mask_mode"),
    [("L", "1"), ("RGB", "I;16"), ("RGBA", "L"), ("P", "P"), ("I;16", "RGB"), ("1", "RGBA")],
)
def test_every_mode_and_form_gives_what_was_written(
    tmp_path: Path, zipped: bool, image_mode: str, mask_mode: str
) -> None:
    written = write_competition(
        tmp_path, shape=(12, 10), zipped=zipped, image_mode=image_mode, mask_mode=mask_mode
    )
    found = Competition.open(tmp_path)
    assert_same(found, written)
    assert found.tile_shape == (12, 10)
    assert found.modes == {
        "images": {image_mode: 6},
        "masks": {mask_mode: 6},
        "test": {image_mode: 3},
    }


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_coloured_tiles_keep_their_colours(tmp_path: Path, zipped: bool, flat: bool) -> None:
    written = write_competition(
        tmp_path, shape=(12, 10), coloured=True, zipped=zipped, flat=flat, salt_level=1
    )
    found = Competition.open(tmp_path)
    assert_same(found, written)
    assert found.images.shape == (6, 12, 10, 3)
    assert found.test_images.shape == (3, 12, 10, 3)
    assert found.is_coloured
    assert found.tile_shape == (12, 10)
    assert found.coloured_tiles == 9
    assert found.mask_levels == {"0": 2, "1": 4}
    assert_same(Competition.open(tmp_path), written)


@pytest.mark.parametrize("place", ["train/images/tile003.png", "test/images/test001.png"])
def test_one_coloured_tile_makes_all_coloured(tmp_path: Path, place: str) -> None:
    written = write_competition(tmp_path)
    colours = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    put(tmp_path / place, png(colours, "RGB"))
    found = Competition.open(tmp_path)
    assert found.coloured_tiles == 1
    assert found.images.shape == (6, 8, 8, 3)
    assert found.test_images.shape == (3, 8, 8, 3)
    other = written.ids.index("tile001")
    for channel in range(3):
        np.testing.assert_array_equal(found.images[other, ..., channel], written.images[other])


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
@pytest.mark.parametrize("zipped", [False, True])
def test_jpeg_images(tmp_path: Path, suffix: str, zipped: bool) -> None:
    written = write_competition(tmp_path, suffix=suffix, zipped=zipped)
    found = Competition.open(tmp_path)
    assert found.modes == {"images": {"JPEG L": 6}, "masks": {"L": 6}, "test": {"JPEG L": 3}}
    assert np.abs(found.images.astype(int) - written.images).max() < 32
    np.testing.assert_array_equal(found.masks, written.masks)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_without_tables_the_files_say_everything(tmp_path: Path, flat: bool, zipped: bool) -> None:
    written = write_competition(tmp_path, tables=False, flat=flat, zipped=zipped)
    found = Competition.open(tmp_path)
    assert_same(found, written)
    assert found.ids == tuple(sorted(found.ids))
    assert [note.split(":")[0] for note in found.notes] == [
        "no train.csv", "no sample_submission.csv",
    ]  # fmt: skip
    assert Competition.open(tmp_path).notes == found.notes


def test_masks_of_grey_values_need_a_threshold(tmp_path: Path) -> None:
    written = write_competition(tmp_path, salt_level=200)
    with pytest.raises(DataError, match=r"grey levels 0, 200[\s\S]*next: salt check --mask-thr"):
        Competition.open(tmp_path)
    for level, salt in ((200, written.masks), (201, np.zeros_like(written.masks))):
        put(tmp_path / "salt-data.toml", f"mask_threshold = {level}\n".encode())
        found = Competition.open(tmp_path)
        np.testing.assert_array_equal(found.masks, salt)


def test_zip_with_a_leading_folder(tmp_path: Path) -> None:
    written = write_competition(tmp_path)
    pack(tmp_path, "train", inside="train/")
    pack(tmp_path, "test", inside="test/")
    assert_same(Competition.open(tmp_path), written)


def test_training_needs_neither_test_tiles_nor_depths(tmp_path: Path) -> None:
    written = write_competition(tmp_path, n_test=0)
    (tmp_path / "depths.csv").unlink()
    found = Competition.open(tmp_path)
    assert found.ids == written.ids
    assert found.test_ids == ()
    assert found.test_images.shape == (0, 8, 8)
    assert np.isnan(found.depths).all()


def test_sample_submission_alone_makes_no_test_tiles(tmp_path: Path) -> None:
    write_competition(tmp_path)
    shutil.rmtree(tmp_path / "test")
    assert Competition.open(tmp_path).test_ids == ()


def test_tile_without_depth_has_nan(tmp_path: Path) -> None:
    written = write_competition(tmp_path)
    write_table(tmp_path / "depths.csv", "id,z", [(written.ids[1], "120.5")])
    found = Competition.open(tmp_path)
    np.testing.assert_array_equal(found.depths, [np.nan, 120.5, *[np.nan] * 4])
    assert np.isnan(found.test_depths).all()


def test_second_opening_maps_the_cache(tmp_path: Path) -> None:
    written = write_competition(tmp_path)
    told: list[tuple[int, int]] = []
    Competition.open(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (15, 15)
    told.clear()
    found = Competition.open(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told == []
    assert_same(found, written)
    assert isinstance(found.images, np.memmap)
    assert isinstance(found.masks, np.memmap)
    assert not found.images.flags.writeable


def test_exact_files_of_a_cache(tmp_path: Path) -> None:
    write_competition(tmp_path)
    Competition.open(tmp_path)
    root = tmp_path / ".salt-cache"
    (cached,) = [path for path in root.iterdir() if path.is_dir()]
    assert sorted(path.name for path in cached.iterdir()) == [
        "depths.npy", "images.npy", "index.json", "masks.npy", "test_depths.npy",
        "test_images.npy", "verified.json",
    ]  # fmt: skip


def test_changed_file_rebuilds_the_cache(tmp_path: Path) -> None:
    write_competition(tmp_path)
    first = Competition.open(tmp_path)
    black = np.zeros((8, 8), np.uint8)
    put(tmp_path / f"train/images/{first.ids[2]}.png", png(black))
    second = Competition.open(tmp_path)
    assert (second.images[2] == 0).all()
    assert second.train_hash != first.train_hash
    assert second.test_hash == first.test_hash
    assert len([path for path in (tmp_path / ".salt-cache").iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize("name", ["index.json", "images.npy", "test_depths.npy"])
@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_damaged_cache_is_rebuilt(tmp_path: Path, name: str, content: bytes | None) -> None:
    written = write_competition(tmp_path)
    Competition.open(tmp_path)
    (path,) = tmp_path.glob(f".salt-cache/*/{name}")
    path.unlink()
    if content is not None:
        put(path, content)
    assert_same(Competition.open(tmp_path), written)


def test_read_only_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    data = tmp_path / "data"
    written = write_competition(data)
    data.chmod(0o555)
    try:
        for _ in range(2):
            assert_same(Competition.open(data), written)
        assert not (data / ".salt-cache").exists()
    finally:
        data.chmod(0o755)


def test_hash_is_of_the_content_only(tmp_path: Path) -> None:
    write_competition(tmp_path / "a")
    write_competition(tmp_path / "b", zipped=True, image_mode="RGB", mask_mode="I;16")
    for path in (tmp_path / "b").iterdir():
        os.utime(path, (1, 1))
    assert Competition.open(tmp_path / "a").data_hash == Competition.open(tmp_path / "b").data_hash


def test_hash_of_grey_tiles_is_what_it_always_was(tmp_path: Path) -> None:
    half = np.arange(64).reshape(8, 8) < 20
    put(tmp_path / "train/images/a.png", png(GREY, "RGB"))
    put(tmp_path / "train/images/b.png", png(GREY * 3))
    put(tmp_path / "train/masks/a.png", png(half.astype(np.uint8) * 255))
    put(tmp_path / "train/masks/b.png", png(GREY * 0, "I;16"))
    put(tmp_path / "test/images/c.png", png(255 - GREY, "RGBA"))
    write_table(tmp_path / "train.csv", "id,rle_mask", [("b", ""), ("a", rle(half))])
    write_table(tmp_path / "depths.csv", "id,z", [("a", "120"), ("c", "300.5")])
    write_table(tmp_path / "sample_submission.csv", "id,rle_mask", [("c", "1 1")])
    found = Competition.open(tmp_path)
    # Of version 0.1: runs that were trained then go on with these data.
    assert found.train_hash == "18d1599db2f7ce114fbfbcf02975036cb05cb8ff481d0935bd04a48bc688aee0"
    assert found.test_hash == "9452c50b60824a6453d6a6b5a7fba295a5fe725a20b777b8fc33e836710f7222"


def swap_ids(data: Path) -> None:
    header, first, second, *rest = (data / "train.csv").read_text().splitlines()
    (data / "train.csv").write_text("\n".join([header, second, first, *rest]) + "\n")


def empty_a_mask(data: Path) -> None:
    path = data / "train/masks/tile001.png"
    put(path, png(np.zeros((8, 8), np.uint8)))


def drop_depths(data: Path) -> None:
    (data / "depths.csv").unlink()


@pytest.mark.parametrize("change", [swap_ids, empty_a_mask, drop_depths])
def test_hash_changes_with_the_content(tmp_path: Path, change: Callable[[Path], None]) -> None:
    write_competition(tmp_path)
    put(tmp_path / "train/masks/tile001.png", png(np.full((8, 8), 255, np.uint8)))
    before = Competition.open(tmp_path)
    change(tmp_path)
    after = Competition.open(tmp_path)
    assert after.train_hash != before.train_hash
    assert after.data_hash != before.data_hash


# Bad input: one change to a good competition, and the words it must meet.


def truncate(path: Path, keep: float) -> Path:
    data = path.read_bytes()
    return put(path, data[: int(len(data) * keep)])


def repeat_line(path: Path) -> None:
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")


def add_line(path: Path, line: str) -> None:
    path.write_text(path.read_text() + line + "\n")


BAD_INPUTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no train images": (
        lambda d: shutil.rmtree(d / "train"),
        r"has no train\.zip and no PNG or JPEG files in train/images or train\n"
        r"expected: train\.csv and train\.zip[\s\S]*next: salt download",
    ),
    "no tile in train.csv": (
        lambda d: write_table(d / "train.csv", "id,rle_mask", []),
        r"train\.csv names no tile",
    ),
    "truncated zip": (
        lambda d: truncate(pack(d, "train"), 0.9),
        r"train\.zip is truncated or not a zip[\s\S]*next: fetch the file anew",
    ),
    "truncated test zip": (
        lambda d: truncate(pack(d, "test"), 0.9),
        r"test\.zip is truncated or not a zip",
    ),
    "truncated PNG": (
        lambda d: truncate(d / "train/images/tile003.png", 0.8),
        r"^train/images/tile003\.png is truncated or damaged",
    ),
    "truncated first PNG": (
        lambda d: [truncate(path, 0.8) for path in (d / "train/images").iterdir()],
        r"^train/images/tile\d+\.png is truncated or damaged",
    ),
    "truncated PNG in a zip": (
        lambda d: (truncate(d / "test/images/test001.png", 0.8), pack(d, "test")),
        r"^test\.zip/images/test001\.png is truncated or damaged",
    ),
    "image missing": (
        lambda d: (d / "train/images/tile002.png").unlink(),
        r"^train lacks images of train\.csv: tile002\n",
    ),
    "mask missing": (
        lambda d: (d / "train/masks/tile002.png").unlink(),
        r"^train lacks masks of train\.csv: tile002\n",
    ),
    "all masks missing": (
        lambda d: shutil.rmtree(d / "train/masks"),
        r"^train lacks masks of train\.csv: .* and 3 more\n",
    ),
    "image and mask without a row": (
        lambda d: [put(d / f"train/{kind}/new.png", png(GREY)) for kind in ("images", "masks")],
        r"^train has images that train\.csv does not name: new\n"
        r"train has masks that train\.csv does not name: new\n",
    ),
    "mask missing, without train.csv": (
        lambda d: [(d / name).unlink() for name in ("train.csv", "train/masks/tile002.png")],
        r"^train lacks masks of the images: tile002\n",
    ),
    "image missing, without train.csv": (
        lambda d: [(d / name).unlink() for name in ("train.csv", "train/images/tile002.png")],
        r"^train lacks images of the masks: tile002\n",
    ),
    "image as PNG and as JPEG": (
        lambda d: put(d / "train/images/tile002.jpg", jpeg(GREY)),
        r"^train holds tile tile002 twice: .*\nexpected: one file for each[\s\S]*next: remove one",
    ),
    "masks as JPEG": (
        lambda d: (
            (d / "train/masks/tile002.png").unlink(),
            put(d / "train/masks/tile002.jpg", jpeg(GREY * 0)),
        ),
        r"^mask train/masks/tile002\.jpg is a JPEG[\s\S]*next: salt check --mask-threshold",
    ),
    "settings that are no threshold": (
        lambda d: put(d / "salt-data.toml", b"mask_threshold = 300\n"),
        r"salt-data\.toml says mask_threshold = 300\nexpected: one line[\s\S]*next: mend",
    ),
    "id in train.csv twice": (
        lambda d: repeat_line(d / "train.csv"),
        r"train\.csv names tile\d+ more than once",
    ),
    "id in sample submission twice": (
        lambda d: repeat_line(d / "sample_submission.csv"),
        r"sample_submission\.csv names test\d+ more than once",
    ),
    "id in depths twice": (
        lambda d: repeat_line(d / "depths.csv"),
        r"depths\.csv names tile\d+ more than once",
    ),
    "depth that is no number": (
        lambda d: add_line(d / "depths.csv", "tile9,deep"),
        r"depths\.csv gives the depth of tile9 as 'deep'",
    ),
    "depth that is not finite": (
        lambda d: add_line(d / "depths.csv", "tile9,inf"),
        r"depths\.csv gives the depth of tile9 as 'inf'",
    ),
    "tile of another size": (
        lambda d: put(d / "train/images/tile000.png", png(GREY[:7])),
        r"^train/images/tile000\.png has 7x8 pixels\nexpected: 8x8 pixels, as train/images/tile",
    ),
    "mask of another size": (
        lambda d: put(d / "train/masks/tile003.png", png(GREY[:, :7])),
        r"^train/masks/tile003\.png has 8x7 pixels\nexpected: 8x8 pixels, as train/images/",
    ),
    "test tile of another size": (
        lambda d: put(d / "test/images/test001.png", png(np.tile(GREY, 2))),
        r"^test/images/test001\.png has 8x16 pixels\nexpected: 8x8 pixels",
    ),
    "mask with grey values": (
        lambda d: put(d / "train/masks/tile003.png", png(GREY)),
        r"^mask train/masks/tile003\.png has the grey levels 0, 1, 2, 3, 4, \.\.\.\n",
    ),
    "test image missing": (
        lambda d: (d / "test/images/test001.png").unlink(),
        r"^test lacks images of sample_submission\.csv: test001\n",
    ),
    "test image without a row": (
        lambda d: put(d / "test/images/new.png", png(GREY)),
        r"^test has images that sample_submission\.csv does not name: new\n",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS.keys())
def test_bad_input_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    write_competition(tmp_path)
    spoil(tmp_path)
    with pytest.raises((DataError, ConfigError), match=message) as caught:
        Competition.open(tmp_path)
    assert caught.value.expected
    assert caught.value.next_step
    assert list(tmp_path.glob(".salt-cache/*/*")) == []


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no folder .*nowhere[\s\S]*next: salt download, or --data"
    ):
        Competition.open(tmp_path / "nowhere")


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no train\.zip and no PNG or JPEG files"):
        Competition.open(tmp_path)


def test_every_bad_file_is_named_at_once(tmp_path: Path) -> None:
    written = write_competition(tmp_path)
    put(tmp_path / f"train/images/{written.ids[4]}.png", b"")
    put(tmp_path / f"train/masks/{written.ids[1]}.png", png(GREY))
    put(tmp_path / f"test/images/{written.test_ids[0]}.png", png(GREY[:3]))
    with pytest.raises(DataError, match="truncated") as caught:
        Competition.open(tmp_path)
    assert len(caught.value.found.splitlines()) == 3


@pytest.mark.parametrize("odd", ["tile000", "tile004"])
def test_the_odd_tile_is_named_and_not_the_others(tmp_path: Path, odd: str) -> None:
    write_competition(tmp_path, tables=False)
    put(tmp_path / f"train/images/{odd}.png", png(GREY[:7]))
    put(tmp_path / f"train/masks/{odd}.png", png(GREY[:7] * 0))
    with pytest.raises(DataError, match="7x8 pixels") as caught:
        Competition.open(tmp_path)
    assert caught.value.found.splitlines() == [
        f"train/images/{odd}.png has 7x8 pixels", f"train/masks/{odd}.png has 7x8 pixels",
    ]  # fmt: skip


def test_a_guess_of_the_size_that_was_wrong_is_mended(tmp_path: Path) -> None:
    write_competition(tmp_path, n_train=40, n_test=40, tables=False)
    odd = range(0, 40, 5)  # exactly those that are looked at first
    for split, row in ((split, row) for split in ("train", "test") for row in odd):
        tile = f"tile{row:03d}" if split == "train" else f"test{row:03d}"
        put(tmp_path / f"{split}/images/{tile}.png", png(GREY[:7]))
    with pytest.raises(DataError, match=r"more faults[\s\S]*: 8x8 pixels, as .*001\.png") as caught:
        Competition.open(tmp_path)
    assert caught.value.found.endswith("and 6 more faults")
    assert caught.value.next_step.endswith("; for a list of them all: salt check")


def test_openings_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    written = write_competition(tmp_path, n_train=40)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(Competition.open, [tmp_path] * 8):
            assert_same(found, written)


def test_a_cache_that_another_opening_replaces_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the old document's going and the new one's coming there is none for a moment."""
    written, read, looks = write_competition(tmp_path), tiles._read_cache, []

    def twice_not_there(folder: Path) -> dict[str, Any] | None:
        looks.append(folder)
        return None if len(looks) < 5 else read(folder)  # 2 before, 2 after it was filled

    monkeypatch.setattr(tiles, "_read_cache", twice_not_there)
    assert_same(Competition.open(tmp_path), written)
    assert len(looks) == 5


@pytest.mark.tiles
def test_real_tiles() -> None:
    competition = Competition.open(os.environ["SALT_DATA"])
    assert competition.tile_shape == competition.masks.shape[1:]
    assert len(competition.ids) == len(competition.masks) > 0
    assert 0.2 < competition.masks.mean() < 0.3
    assert np.isfinite(competition.depths).all()
