"""Bad input through the command line: a message in three parts, the right exit code, no loss."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.makers import TinyCompetition, png, put, write_competition
from tests.tiny import files_under, refused, salt

Break = Callable[[TinyCompetition], object]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyCompetition:
    """A sound competition in ``data``, beside it a fold table that must survive."""
    made = write_competition(tmp_path / "data", n_train=9, n_test=3)
    monkeypatch.chdir(tmp_path)
    salt("make-folds", "--n-folds", 3)
    return made


def halve(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def halve_zip(made: TinyCompetition) -> None:
    zipped = write_competition(made.path / "again", n_train=9, n_test=3, zipped=True)
    shutil.rmtree(made.path / "train")
    (zipped.path / "train.zip").rename(made.path / "train.zip")
    shutil.rmtree(zipped.path)
    halve(made.path / "train.zip")


def empty_folder(made: TinyCompetition) -> None:
    shutil.rmtree(made.path)
    made.path.mkdir()


def grey_mask(made: TinyCompetition) -> None:
    levels = np.full((8, 8), 128, np.uint8)
    put(made.path / f"train/masks/{made.ids[0]}.png", png(levels))


def small_tile(path: Path) -> None:
    put(path, png(np.zeros((7, 8), np.uint8)))


def append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def drop_line(path: Path, tile: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(x for x in lines if tile not in x) + "\n", encoding="utf-8")


DATA_FAULTS: dict[str, tuple[Break, str, str, str]] = {
    "folder missing": (
        lambda made: made.path.rename("elsewhere"),
        "there is no folder data",
        "train.csv and train.zip",
        "salt download, or --data FOLDER",
    ),
    "folder empty": (
        empty_folder,
        "data has no train.zip and no PNG or JPEG files in train/images or train",
        "train.csv and train.zip",
        "salt download, or --data FOLDER",
    ),
    "zip truncated": (
        halve_zip,
        "train.zip is truncated or not a zip",
        "the zip as Kaggle delivers it",
        "salt download",
    ),
    "PNG truncated": (
        lambda made: halve(made.path / f"train/images/{made.ids[1]}.png"),
        r"train/images/tile\d+.png is truncated or damaged \(\d+ bytes\)",
        "a whole PNG or JPEG file",
        "salt download",
    ),
    "PNG empty": (
        lambda made: put(made.path / f"test/images/{made.test_ids[1]}.png", b""),
        r"test/images/test\d+.png is truncated or damaged \(0 bytes\)",
        "a whole PNG or JPEG file",
        "salt download",
    ),
    "mask missing": (
        lambda made: (made.path / f"train/masks/{made.ids[2]}.png").unlink(),
        r"train lacks masks of train.csv: tile\d+",
        "the same ids",
        "salt download",
    ),
    "mask of another size": (
        lambda made: small_tile(made.path / f"train/masks/{made.ids[2]}.png"),
        r"train/masks/tile\d+.png has 7x8 pixels",
        r"8x8 pixels, as train/images/tile\d+.png",
        "salt download",
    ),
    "mask with grey values": (
        grey_mask,
        r"mask train/masks/tile\d+.png has the grey levels 128",
        "no level but 0 and 255",
        "salt check --mask-threshold 128",
    ),
    "id without image": (
        lambda made: append(made.path / "train.csv", "stranger,"),
        "train lacks images of train.csv: stranger",
        "the same ids",
        "salt check, which lists all faults",
    ),
    "image without id": (
        lambda made: drop_line(made.path / "train.csv", made.ids[3]),
        r"train has images that train.csv does not name: tile\d+",
        "the same ids",
        "salt download",
    ),
    "duplicate id": (
        lambda made: append(made.path / "train.csv", f"{made.ids[0]},"),
        r"train.csv names tile\d+ more than once",
        "each id once",
        "salt download",
    ),
    "duplicate test id": (
        lambda made: append(made.path / "sample_submission.csv", f"{made.test_ids[0]},1 1"),
        r"sample_submission.csv names test\d+ more than once",
        "each id once",
        "salt download",
    ),
    "test tile of another size": (
        lambda made: small_tile(made.path / f"test/images/{made.test_ids[0]}.png"),
        r"test/images/test\d+.png has 7x8 pixels",
        "8x8 pixels",
        "salt download",
    ),
    "test tile without id": (
        lambda made: drop_line(made.path / "sample_submission.csv", made.test_ids[0]),
        r"test has images that sample_submission.csv does not name: test\d+",
        "the same ids",
        "salt download",
    ),
    "table without ids": (
        lambda made: (made.path / "train.csv").write_text("name\na\n", encoding="utf-8"),
        "train.csv has no column id",
        "the columns id",
        "salt download",
    ),
    "depth that is no number": (
        lambda made: put(made.path / "depths.csv", b"id,z\ntile000,deep\n"),
        "gives the depth of tile000 as 'deep'",
        "a number of feet",
        "salt download",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", DATA_FAULTS)
def test_data_that_cannot_be_used(work: TinyCompetition, fault: str) -> None:
    break_it, found, expected, then = DATA_FAULTS[fault]
    break_it(work)
    before = files_under(Path())
    refused(3, "make-folds", "--overwrite", found=found, expected=expected, then=then)
    if fault in ("folder missing", "folder empty"):
        refused(3, "check", found=found, expected=expected, then=then)
    else:
        report = salt("check", code=3).stdout
        assert re.search(found, report[report.index("faults:") :])
    assert files_under(Path()) == before, "nothing written, nothing lost"


def test_every_bad_file_is_named_at_once(work: TinyCompetition) -> None:
    for tile in work.ids[1:3]:
        halve(work.path / f"train/images/{tile}.png")
    found = "(?s)" + ".*\n.*".join(f"{tile}.png is truncated" for tile in work.ids[1:3])
    refused(3, "make-folds", found=found, expected="a whole PNG or JPEG file", then="salt download")
    assert re.search(found, salt("check", code=3).stdout)


def table_of_other_data(path: Path) -> None:
    other = write_competition(path.parent / "other", n_train=9, n_test=1)
    salt("make-folds", "--data", other.path, "--out", path, "--overwrite")
    shutil.rmtree(other.path)


FOLD_FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing": (Path.unlink, "folds.csv cannot be read", "columns id, coverage, stratum, fold"),
    "no fold table": (
        lambda path: path.write_text("id,fold\na,0\n", encoding="utf-8"),
        "folds.csv has no column coverage, stratum",
        "columns id, coverage",
    ),
    "lacking ids": (
        lambda path: path.write_text(
            "".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:-2]),
            encoding="utf-8",
        ),
        "folds.csv lacks 2 of 40 tiles: ",
        "made from the competition's tiles as they are now",
    ),
    "from other data": (
        table_of_other_data,
        "(?s)lacks 40 of 40 tiles.*names 9 unknown tiles",
        "made from the competition's tiles as they are now",
    ),
    "from other masks": (
        lambda path: path.write_text(
            path.read_text(encoding="utf-8").replace(",0.00000000,", ",0.50000000,"),
            encoding="utf-8",
        ),
        "was made from other masks",
        "made from the competition's tiles as they are now",
    ),
    "of one fold": (
        lambda path: path.write_text(
            path.read_text(encoding="utf-8").replace(",1\n", ",0\n").replace(",2\n", ",0\n"),
            encoding="utf-8",
        ),
        "folds.csv has one fold only",
        "2 or more",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FOLD_FAULTS)
def test_fold_tables_that_cannot_be_used(trained: Path, fault: str) -> None:
    break_it, found, expected = FOLD_FAULTS[fault]
    break_it(Path("folds/folds.csv"))
    before = files_under(trained)
    refused(3, "train", "--run", "tiny", "--fold", 2, found=found, expected=expected,
            then="salt make-folds")  # fmt: skip
    refused(3, "ensemble", "tiny", found=found, expected=expected, then="salt make-folds")
    assert files_under(trained) == before


def test_a_run_of_other_tiles(trained: Path) -> None:
    Path("data/depths.csv").write_text("id,z\n", encoding="utf-8")
    before = files_under(trained)
    for command in (["train", "--run", "tiny", "--fold", "2"], ["ensemble", "tiny"]):
        refused(3, *command, found="run tiny was trained on other tiles",
                expected="the data", then="--run NAME")  # fmt: skip
    assert files_under(trained) == before


def test_submission_ids_that_differ(trained: Path) -> None:
    salt("ensemble", "tiny", "--device", "cpu")
    salt("submit")
    other = write_competition(trained / "other", n_train=3, n_test=2, shape=(32, 32))
    before = files_under(trained)
    refused(3, "submit", "--data", other.path, "--name", "second",
            found=r"(?s)2 tiles \(test000, test001\) without a prediction; 8 tiles .* predicted",
            expected="a prediction for each of its ids",
            then="make the ensemble again")  # fmt: skip
    assert files_under(trained) == before


def test_stored_predictions_that_are_damaged(trained: Path) -> None:
    halve(Path("runs/tiny/fold0/oof.npy"))
    before = files_under(trained)
    refused(3, "ensemble", "tiny", found="oof.npy cannot be read", expected="predictions",
            then="salt train --run tiny --fold 0 --overwrite$")  # fmt: skip
    assert files_under(trained) == before


def test_a_checkpoint_that_is_damaged(trained: Path) -> None:
    fold = Path("runs/tiny/fold1")
    (fold / "fold.json").unlink()
    (fold / "checkpoint.pt").write_bytes(b"PK")
    before = files_under(trained)
    refused(1, "train", "--run", "tiny", "--fold", 1, "--resume", found="cannot be read",
            expected="a checkpoint", then="--overwrite")  # fmt: skip
    assert files_under(trained) == before
