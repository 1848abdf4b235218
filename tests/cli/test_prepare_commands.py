from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kaggle_salt.competition import kaggle_client
from kaggle_salt.pipeline import demo
from kaggle_salt.pipeline.demo import DemoReport
from tests.makers import write_competition
from tests.tiny import refused, salt


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a competition in ``data``."""
    write_competition(tmp_path / "data", n_train=12, n_test=2, zipped=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_make_folds_prints_a_table_of_the_folds(folder: Path) -> None:
    result = salt("make-folds", "--n-folds", 3)
    header, *rows = result.stdout.splitlines()
    assert header.split() == "fold tiles empty share mean coverage mean depth".split()
    assert [row.split()[:2] for row in rows] == [["0", "4"], ["1", "4"], ["2", "4"]]
    assert "folds.csv: written" in result.stderr
    assert len(pd.read_csv(folder / "folds/folds.csv")) == 12


def test_make_folds_as_json(folder: Path) -> None:
    result = salt("make-folds", "--n-folds", 3, "--out", "three.csv", "--json")
    summary = json.loads(result.stdout)
    assert [row["fold"] for row in summary] == [0, 1, 2]
    assert sum(row["tiles"] for row in summary) == 12
    assert (folder / "three.csv").exists()


def test_make_folds_by_group(folder: Path) -> None:
    ids = pd.read_csv("data/train.csv")["id"]
    pd.DataFrame({"id": ids, "group": [n % 5 for n in range(12)]}).to_csv("wells.csv", index=False)
    salt("make-folds", "--n-folds", 2, "--group-by", "wells.csv")
    table = pd.read_csv("folds/folds.csv")
    assert table.groupby("group")["fold"].nunique().eq(1).all()
    refused(3, "make-folds", "--group-by", "none.csv", found="none.csv cannot be read",
            expected="columns id", then="--group-by: columns id and group")  # fmt: skip


def test_another_table_is_refused_unless_overwritten(folder: Path) -> None:
    salt("make-folds", "--n-folds", 3)
    before = Path("folds/folds.csv").read_bytes()
    refused(2, "make-folds", "--n-folds", 2, found="holds another fold table",
            expected="the same table", then="--out FILE .* --overwrite")  # fmt: skip
    assert Path("folds/folds.csv").read_bytes() == before
    salt("make-folds", "--n-folds", 2, "--overwrite")
    assert Path("folds/folds.csv").read_bytes() != before


def test_more_folds_than_tiles(folder: Path) -> None:
    refused(2, "make-folds", "--n-folds", 13, found="12 tiles cannot fill 13 folds",
            expected="as many tiles", then="smaller --n-folds")  # fmt: skip


def test_check_in_words_and_as_json(folder: Path) -> None:
    result = salt("check")
    assert result.stdout.startswith("12 training tiles, 2 test tiles of 8x8, grey\n")
    assert "decoding tiles: 26 in" in result.stderr
    report = json.loads(salt("check", "--json").stdout)
    assert (report["train_tiles"], report["test_tiles"]) == (12, 2)
    assert report["faults"] == report["warnings"] == []


def test_check_ends_with_3_where_there_is_a_fault(folder: Path) -> None:
    Path("data/train.csv").write_text("id,rle_mask\nnobody,\n", encoding="utf-8")
    fault = "faults:\n  ids without an image: 1\n    train.zip lacks images of train.csv: nobody\n"
    assert fault in salt("check", code=3).stdout
    report = json.loads(salt("check", "--json", code=3).stdout)
    assert [finding["count"] for finding in report["faults"]] == [1, 1, 24]
    assert report["train_tiles"] == 12, "what can be read is looked at"


def test_check_with_warnings_alone_ends_well(folder: Path) -> None:
    Path("data/depths.csv").write_text("id,z\ntile000,5\n", encoding="utf-8")
    assert "warnings:\n  tiles without a depth: 13\n" in salt("check").stdout


def test_a_mask_threshold_is_told_once_for_all_commands(folder: Path) -> None:
    write_competition(Path("data"), n_train=12, n_test=2, zipped=True, salt_level=150)
    refused(3, "make-folds", found="has the grey levels 0, 150", expected="no level but 0 and 255",
            then="salt check --mask-threshold 128")  # fmt: skip
    told = salt("check", "--mask-threshold", 128)
    assert "masks are salt from level 128 on" in told.stdout
    assert "salt-data.toml: masks are salt from level 128 on, for every command" in told.stderr
    salt("make-folds", "--n-folds", 3)
    refused(2, "check", "--mask-threshold", 100, found="salt from level 128 on, not 100",
            expected="one threshold", then="salt-data.toml")  # fmt: skip


def test_data_without_tables_go_through_with_a_note(folder: Path) -> None:
    for name in ("train.csv", "sample_submission.csv", "depths.csv"):
        (folder / "data" / name).unlink()
    told = salt("make-folds", "--n-folds", 3)
    assert "no train.csv: the training tiles are the images" in told.stderr
    assert "note: no sample_submission.csv: a submission names" in salt("check").stdout


class StandIn:
    """Kaggle's client, which has one competition."""

    def competition_download_files(
        self, competition: str, path: str, force: bool = False, quiet: bool = True
    ) -> None:
        print("Downloading ...")
        with zipfile.ZipFile(Path(path) / f"{competition}.zip", "w") as bundle:
            bundle.writestr("train.csv", "id,rle_mask\n")
            bundle.writestr("train.zip", b"zipped tiles")


def test_download_lists_the_files_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kaggle_client, "_connect", StandIn)
    result = salt("download", "--data", tmp_path / "new")
    files = [str(tmp_path / "new" / name) for name in ("train.csv", "train.zip")]
    assert result.stdout.split("\n") == [*files, ""]
    assert "Downloading ..." in result.stderr, "the client's own words"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["train.csv", "train.zip"]


@pytest.mark.parametrize(
    ("error", "found", "expected"),
    [
        (ImportError("No module named 'kaggle'"), "client is not installed", "kaggle and six"),
        (SystemExit(1), "found no valid token", "access_token or KAGGLE_API_TOKEN"),
    ],
)
def test_download_without_client_or_token(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    found: str,
    expected: str,
) -> None:
    def connect() -> Any:
        raise error

    monkeypatch.setattr(kaggle_client, "_connect", connect)
    steps = r"by hand:\n  1\. .*rules\n  2\. .*data\n  3\. unpack"
    refused(4, "download", "--data", tmp_path / "new", found=found, expected=expected, then=steps)
    assert list((tmp_path / "new").iterdir()) == []


def test_demo_says_how_it_went_and_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, str]] = []

    def run_demo(folder: Path, *, device: str, listener: object) -> DemoReport:
        asked.append((folder, device))
        return DemoReport(
            folder / "predictions.png", 200, 0.8125, (0.7625, 0.8625), 0.375, 0.75, (0.69, 0.81)
        )

    monkeypatch.setattr(demo, "run_demo", run_demo)
    told = salt("demo", "--device", "cpu").stdout
    assert told.splitlines() == [
        "promised out of fold: 0.7500 [0.6900, 0.8100], each tile by the one network that did not "
        "train on it",
        "on 200 test tiles whose masks were held back: 0.8125 [0.7625, 0.8625], by the mean of "
        "both networks (predicting nothing: 0.3750)",
        "difference +0.0625; other tiles alone make up to 0.0781: they agree",
        f"look at {Path('demo/predictions.png')}",
    ]
    report = json.loads(salt("demo", "elsewhere", "--json").stdout)
    assert report["test_score"] == 0.8125
    assert report["picture"] == str(Path("elsewhere/predictions.png"))
    assert asked == [(Path("demo"), "cpu"), (Path("elsewhere"), "auto")]
