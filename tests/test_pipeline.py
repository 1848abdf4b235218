"""The README's four commands, from Kaggle's zips to a submission, through the real command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from kaggle_salt import predictions
from kaggle_salt.competition import rle
from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.postprocess import TileContext
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.storage.files import file_hash, read_json
from tests.tiny import (
    N_TEST,
    N_TRAIN,
    SIZE,
    TINY,
    Salt,
    decide_low,
    files_under,
    forbid,
    refused,
    salt,
    write_data,
)

FOLD_FILES = [
    "fold.json", "history.csv", "learning-curve.png", "oof.json", "oof.npy",
    "predictions.png", "test.json", "test.npy", "weights.safetensors",
]  # fmt: skip

EXPECTED_FILES = {
    "tiny.toml",
    *(f"data/{name}" for name in (
        "depths.csv", "hidden_test_masks.zip", "sample_submission.csv", "test.zip",
        "train.csv", "train.zip",
    )),
    "folds/folds.csv",
    "runs/tiny/config.toml",
    "runs/tiny/manifest.json",
    *(f"runs/tiny/fold{fold}/{name}" for fold in (0, 1) for name in FOLD_FILES),
    *(f"runs/ensemble/tiny/{name}" for name in (
        "ensemble.json", "predictions.png", "test.json", "test.npy", "threshold-curve.png",
    )),
    "submissions/tiny.csv",
    "submissions/tiny.json",
}  # fmt: skip


@dataclass(frozen=True)
class Finished:
    """A workspace after all four commands, and what each of them printed."""

    folder: Path
    told: dict[str, Salt]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("pipeline")
    write_data(folder / "data")
    (folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SALT_DATA", "SALT_RUNS", "SALT_DEBUG"):
            patch.delenv(name, raising=False)
        patch.chdir(folder)
        decide_low(patch)
        told = {
            "make-folds": salt("make-folds", "--n-folds", 3),
            "train": salt("train", "--config", "tiny.toml", "--fold", "0,1", "--device", "cpu"),
            "ensemble": salt("ensemble", "--device", "cpu", "--json"),
            "submit": salt("submit", "--json"),
        }
    return Finished(folder, told)


@pytest.fixture(autouse=True)
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    decide_low(monkeypatch)


@pytest.fixture
def copy(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished workspace, which is the current folder."""
    folder = tmp_path / "work"
    shutil.copytree(finished.folder, folder)
    monkeypatch.chdir(folder)
    return folder


def submitted(csv: Path) -> tuple[list[str], NDArray[np.bool_]]:
    table = pd.read_csv(csv, dtype=str, keep_default_na=False)
    masks = [rle.decode(text, (SIZE, SIZE)) for text in table["rle_mask"]]
    return table["id"].tolist(), np.array(masks)


def test_exactly_these_files_are_left(finished: Finished) -> None:
    assert set(files_under(finished.folder)) == EXPECTED_FILES


def test_stdout_has_results_and_stderr_has_the_progress(finished: Finished) -> None:
    folds, train = finished.told["make-folds"], finished.told["train"]
    assert len(folds.stdout.splitlines()) == 1 + 3
    assert folds.stderr.splitlines()[-1].endswith("folds.csv: written")
    assert len(train.stdout.splitlines()) == 1 + 2
    epochs = [line for line in train.stderr.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 2 * 5
    assert "run tiny, fold 0: 26 tiles to train on, 14 to validate, on cpu" in train.stderr
    for told in finished.told.values():
        assert "\x1b[" not in told.stdout + told.stderr, "no colours or bars outside a terminal"
    assert finished.told["submit"].stderr == ""


def test_json_is_one_document_each(finished: Finished) -> None:
    ensemble = json.loads(finished.told["ensemble"].stdout)
    submit = json.loads(finished.told["submit"].stdout)
    assert ensemble["test_tiles"] == submit["rows"] == N_TEST
    assert submit["members"] == read_json(
        finished.folder / "runs/ensemble/tiny/ensemble.json"
    )["members"]  # fmt: skip


def test_the_histories_and_out_of_fold_predictions_cover_the_folds(finished: Finished) -> None:
    table = pd.read_csv(finished.folder / "folds/folds.csv")
    assert len(table) == N_TRAIN
    for fold in (0, 1):
        folder = finished.folder / f"runs/tiny/fold{fold}"
        assert predictions.load(folder / "oof").probabilities.shape[1:] == (SIZE, SIZE)
        held_out = set(table["id"][table["fold"] == fold])
        assert set(predictions.load(folder / "oof").ids) == held_out
        history = pd.read_csv(folder / "history.csv")
        assert history["stage"].tolist() == ["bce"] * 4 + ["swa"]
        assert read_json(folder / "fold.json")["weights_hash"] == file_hash(
            folder / "weights.safetensors"
        )


def test_the_pictures_can_be_opened(finished: Finished) -> None:
    pictures = list(finished.folder.rglob("*.png"))
    assert len(pictures) == 6
    for path in pictures:
        picture = cv2.imread(str(path))
        assert picture is not None
        assert picture.std() > 0


def test_the_submission_is_what_the_stored_probabilities_say(finished: Finished) -> None:
    ids, masks = submitted(finished.folder / "submissions/tiny.csv")
    sample = pd.read_csv(finished.folder / "data/sample_submission.csv")
    assert ids == sample["id"].tolist()
    test = predictions.load(finished.folder / "runs/ensemble/tiny/test")
    stored = json.loads(finished.told["ensemble"].stdout)["decision"]["rule"]
    tiles = Competition.open(finished.folder / "data")
    context = TileContext(tiles.test_ids, tiles.test_images)
    expected = Rule.from_json(stored).apply(test.probabilities[test.rows(ids)], context)
    assert np.array_equal(masks, expected)


def test_the_manifest_stands_beside_the_submission(finished: Finished) -> None:
    manifest = read_json(finished.folder / "submissions/tiny.json")
    ensemble = json.loads(finished.told["ensemble"].stdout)
    assert manifest["content_hash"] == file_hash(finished.folder / "submissions/tiny.csv")
    assert manifest["rule"] == ensemble["decision"]["rule"]
    [member] = manifest["members"]
    assert member["run"] == "tiny"
    for fold in (0, 1):
        weights = finished.folder / f"runs/tiny/fold{fold}/weights.safetensors"
        assert member["folds"][str(fold)] == file_hash(weights)
    assert manifest["out_of_fold"]["score_cross_fitted"] == ensemble["honest"]["score"]
    assert manifest["out_of_fold"]["tiles"] == ensemble["rows"][-1]["tiles"] == 27


def test_missing_folds_are_a_warning_that_require_all_makes_an_error(
    finished: Finished, copy: Path
) -> None:
    command = "salt train --run tiny --fold 2 --resume"
    warning = f"warning: run tiny lacks fold 2: left out. To train the rest: {command} --device cpu"
    assert warning in finished.told["ensemble"].stderr.splitlines()
    before = files_under(copy)
    refused(2, "ensemble", "--require-all", found="run tiny lacks fold 2",
            expected="every fold", then=f"^{command}$")  # fmt: skip
    assert files_under(copy) == before


def test_a_second_ensemble_does_no_inference_and_a_second_submit_writes_nothing(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_under(copy)
    forbid(monkeypatch, "kaggle_salt.learning.fold.predict")
    again = salt("ensemble", "--device", "cpu")
    assert "test tiles:" not in again.stderr, "no bar of an inference"
    assert "was there already" in salt("submit").stdout
    assert files_under(copy) == before


def test_threshold_and_area_change_the_submission(copy: Path) -> None:
    test = predictions.load(copy / "runs/ensemble/tiny/test")
    levels = sorted({0, 25, 51, 76, 102} | {int(np.median(test.probabilities))})
    areas = {}
    for level in levels:
        name = f"level{level}"
        salt("submit", "--name", name, "--threshold", level / 255, "--min-area", 0)
        ids, masks = submitted(copy / f"submissions/{name}.csv")
        assert np.array_equal(masks, test.probabilities[test.rows(ids)] > level)
        areas[level] = int(masks.sum())
    assert len(set(areas.values())) > 2
    salt("submit", "--name", "large", "--threshold", 0, "--min-area", SIZE * SIZE + 1)
    assert not submitted(copy / "submissions/large.csv")[1].any()


def test_fold_0_alone_goes_through(copy: Path) -> None:
    for name in ("runs", "submissions"):
        shutil.rmtree(copy / name)
    salt("train", "--config", "tiny.toml", "--fold", 0, "--device", "cpu")
    told = salt("ensemble", "--device", "cpu")
    assert "warning: run tiny lacks fold 1, 2: left out" in told.stderr
    salt("submit")
    ids, _ = submitted(copy / "submissions/tiny.csv")
    assert ids == pd.read_csv("data/sample_submission.csv")["id"].tolist()
    manifest = read_json(copy / "submissions/tiny.json")
    assert list(manifest["members"][0]["folds"]) == ["0"]
