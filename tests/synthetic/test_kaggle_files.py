from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from kaggle_salt.competition.metric import score
from kaggle_salt.competition.rle import decode
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.synthetic.kaggle_files import (
    COMPETITION_FILES,
    HIDDEN_TEST_MASKS,
    write_demo_competition,
)

N_TRAIN, N_TEST, SIZE = 60, 12, 48


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "data"
    write_demo_competition(folder, n_train=N_TRAIN, n_test=N_TEST, size=SIZE)
    return folder


def pictures(archive: Path, kind: str) -> dict[str, Image.Image]:
    """Every PNG below ``kind/``, by its id."""
    with zipfile.ZipFile(archive) as opened:
        names = [name for name in opened.namelist() if name.startswith(f"{kind}/")]
        return {Path(name).stem: Image.open(io.BytesIO(opened.read(name))) for name in names}


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def salt(picture: Image.Image) -> NDArray[np.bool_]:
    return np.asarray(np.asarray(picture) > 0)


def test_folder_holds_kaggles_files_and_the_hidden_masks(demo: Path) -> None:
    assert set(contents(demo)) == {*COMPETITION_FILES, HIDDEN_TEST_MASKS}


def test_archives_are_laid_out_as_on_kaggle(demo: Path) -> None:
    with zipfile.ZipFile(demo / "train.zip") as train, zipfile.ZipFile(demo / "test.zip") as test:
        folders = {name.split("/")[0] for name in train.namelist()}
        assert folders == {"images", "masks"}
        assert {name.split("/")[0] for name in test.namelist()} == {"images"}
        assert len(train.namelist()) == 2 * N_TRAIN
        assert len(test.namelist()) == N_TEST


def test_all_pictures_have_the_size_and_the_modes_of_the_competition(demo: Path) -> None:
    images, masks = pictures(demo / "train.zip", "images"), pictures(demo / "train.zip", "masks")
    tests = pictures(demo / "test.zip", "images")
    assert {image.size for image in [*images.values(), *masks.values(), *tests.values()]} == {
        (SIZE, SIZE)
    }
    modes = [image.mode for image in images.values()]
    assert set(modes) == {"RGB", "RGBA"}
    assert modes.count("RGB") > modes.count("RGBA")
    assert {image.mode for image in tests.values()} == {"L"}
    assert {mask.mode for mask in masks.values()} == {"I;16", "L"}


def test_channels_are_equal_and_alpha_opaque(demo: Path) -> None:
    for image in pictures(demo / "train.zip", "images").values():
        channels = np.asarray(image)
        assert (channels[..., :3] == channels[..., :1]).all()
        assert (channels[..., 3:] == 255).all()


def test_masks_are_black_and_white(demo: Path) -> None:
    for mask in pictures(demo / "train.zip", "masks").values():
        highest = 255 if mask.mode == "L" else 65535
        assert set(np.unique(np.asarray(mask))) <= {0, highest}


def test_train_csv_decodes_to_the_mask_pictures(demo: Path) -> None:
    masks = pictures(demo / "train.zip", "masks")
    rows = table(demo / "train.csv")
    assert list(rows.columns) == ["id", "rle_mask"]
    assert sorted(rows["id"]) == sorted(masks)
    for tile_id, text in zip(rows["id"], rows["rle_mask"], strict=True):
        np.testing.assert_array_equal(decode(text, (SIZE, SIZE)), salt(masks[tile_id]))


def test_tables_name_every_tile_once(demo: Path) -> None:
    train, test = pictures(demo / "train.zip", "images"), pictures(demo / "test.zip", "images")
    depths, sample = table(demo / "depths.csv"), table(demo / "sample_submission.csv")
    assert sorted(depths["id"]) == sorted([*train, *test])
    assert depths["z"].astype(int).between(50, 959).all()
    assert list(sample.columns) == ["id", "rle_mask"]
    assert sorted(sample["id"]) == sorted(test)
    assert set(sample["rle_mask"]) == {"1 1"}
    assert sorted(pictures(demo / HIDDEN_TEST_MASKS, "masks")) == sorted(test)


def test_ids_are_ten_hexadecimal_digits(demo: Path) -> None:
    ids = table(demo / "depths.csv")["id"]
    assert ids.is_unique
    assert ids.str.fullmatch("[0-9a-f]{10}").all()


def test_tiles_have_the_mix_of_the_competition(demo: Path) -> None:
    coverage = np.array(
        [salt(mask).mean() for mask in pictures(demo / "train.zip", "masks").values()]
    )
    blank = [
        np.ptp(np.asarray(image)[..., 0]) == 0
        for image in pictures(demo / "train.zip", "images").values()
    ]
    assert abs(np.mean(coverage == 0) - 0.39) < 0.03
    assert abs(coverage.mean() - 0.25) < 0.03
    assert 1 <= sum(blank) <= 2


def test_no_brightness_threshold_solves_it(demo: Path) -> None:
    tiles, masks = pictures(demo / "train.zip", "images"), pictures(demo / "train.zip", "masks")
    images = np.stack([np.asarray(tiles[tile].convert("L")) for tile in masks])
    truth = np.stack([salt(mask) for mask in masks.values()])
    nothing = score(truth, np.zeros_like(truth))
    for level in range(20, 240, 20):
        assert score(truth, images > level) < nothing + 0.02
        assert score(truth, images < level) < nothing + 0.02


def test_same_seed_writes_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    write_demo_competition(tmp_path, n_train=N_TRAIN, n_test=N_TEST, size=SIZE)
    assert contents(tmp_path) == contents(demo)


def test_other_seed_writes_other_tiles(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_demo_competition(tmp_path / str(seed), n_train=4, n_test=4, size=16, seed=seed)
    first, second = contents(tmp_path / "0"), contents(tmp_path / "1")
    assert all(first[name] != second[name] for name in first)


def test_first_training_tiles_do_not_depend_on_the_number(demo: Path, tmp_path: Path) -> None:
    write_demo_competition(tmp_path, n_train=5, n_test=1, size=SIZE)
    few, many = pictures(tmp_path / "train.zip", "images"), pictures(demo / "train.zip", "images")
    assert list(few) == list(many)[:5]
    assert all(few[tile].tobytes() == many[tile].tobytes() for tile in few)


def test_older_demo_is_replaced(tmp_path: Path) -> None:
    write_demo_competition(tmp_path, n_train=3, n_test=2, size=16)
    write_demo_competition(tmp_path, n_train=2, n_test=2, size=16)
    assert len(table(tmp_path / "train.csv")) == 2


def test_real_competition_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "train.zip").write_bytes(b"real tiles")
    with pytest.raises(DataError, match=r"already holds train\.zip, which no demo wrote"):
        write_demo_competition(tmp_path, n_train=2, n_test=2, size=16)
    assert contents(tmp_path) == {"train.zip": b"real tiles"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_train": 0}, "n_train is 0"),
        ({"n_test": 0}, "n_test is 0"),
        ({"size": 15}, "size is 15\nexpected: 16 or more"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_number_is_refused(tmp_path: Path, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        write_demo_competition(tmp_path / "new", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_progress_counts_every_tile(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_demo_competition(
        tmp_path, n_train=3, n_test=2, size=16, progress=lambda *step: seen.append(step)
    )
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
