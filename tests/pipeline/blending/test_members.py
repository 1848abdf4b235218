"""The runs that an ensemble is made of, seen through ``ensemble``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from kaggle_salt import predictions
from kaggle_salt.config.file import dump_config
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.pipeline.blending.ensemble import Weights, ensemble
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.storage.files import read_json, write_json
from tests.tiny import Heard, configure, files_under, tiny_config

WORKSPACE = Workspace()  # the tests stand in its folder


def stored(stem: str) -> predictions.Predictions:
    return predictions.load(WORKSPACE.runs / stem)


def test_the_run_trained_last_is_taken(trained: Path) -> None:
    heard = Heard()
    os.utime("runs/other/fold2/fold.json", (2e9, 2e9))
    assert ensemble(WORKSPACE, device="cpu", listener=heard).name == "other"
    assert heard.notes[0].endswith("salt ensemble other tiny")


def test_missing_folds_are_named_or_refused(trained: Path) -> None:
    heard = Heard()
    ensemble(WORKSPACE, ["tiny"], device="cpu", listener=heard)
    command = "salt train --run tiny --fold 2 --resume"
    assert heard.warnings == [f"run tiny lacks fold 2: left out. To train the rest: {command}"]
    before = files_under(WORKSPACE.runs)
    with pytest.raises(ConfigError, match=f"run tiny lacks fold 2(.|\n)*next: {command}"):
        ensemble(WORKSPACE, ["tiny"], require_all=True, device="cpu")
    assert files_under(WORKSPACE.runs) == before


def test_another_fold_table_is_mentioned(trained: Path) -> None:
    with WORKSPACE.folds.open("a", encoding="utf-8") as file:
        file.write("\n")  # pandas passes over it: the same table under another hash
    heard = Heard()
    ensemble(WORKSPACE, ["tiny"], device="cpu", listener=heard)
    assert heard.warnings[0].startswith("run tiny was trained on another fold table")


def test_a_run_taught_by_all_folds_is_told_of(trained: Path) -> None:
    manifest = WORKSPACE.runs / "tiny/manifest.json"
    write_json(manifest, {**read_json(manifest), "pseudo_teachers": "fold"})
    assert ensemble(WORKSPACE, ["tiny"], device="cpu").caveats == ()
    write_json(manifest, {**read_json(manifest), "pseudo_teachers": "all"})
    report = ensemble(WORKSPACE, ["tiny", "other"], device="cpu")
    [told] = report.caveats
    assert told.startswith("run tiny has learnt from networks of all folds")
    assert "too high by about .005" in told
    made = read_json(report.folder / "ensemble.json")
    assert made["out_of_fold"]["caveats"] == [told]


def test_a_run_steered_by_its_validation_tiles_is_told_of(trained: Path) -> None:
    config = tiny_config(
        trained, "stage.bce.keep=best", "stage.bce.early_stopping=3",
        "stage.bce.schedule.name=plateau", "stage.swa.early_stopping=1",
    )  # fmt: skip
    configure(WORKSPACE.runs / "tiny", dump_config(config))
    report = ensemble(WORKSPACE, ["tiny", "other"], device="cpu")
    [told] = report.caveats
    assert told.startswith(
        "run tiny was steered by the tiles it is scored on (stage bce: the best of 4 epochs, a "
        "rate lowered on a plateau, an early stop; stage swa: an early stop): "
    )
    assert "too high, by about .01 where the best of hundreds of epochs was picked" in told
    assert read_json(report.folder / "ensemble.json")["out_of_fold"]["caveats"] == [told]


def test_a_run_counts_as_much_as_another_of_more_folds(trained: Path) -> None:
    (WORKSPACE.runs / "other/fold2/fold.json").unlink()
    ensemble(WORKSPACE, ["tiny", "other"], device="cpu")
    of_tiny = [stored(f"tiny/fold{fold}/test").probabilities.astype(int) for fold in (0, 1)]
    of_other = stored("other/fold1/test").probabilities.astype(int)
    blended = stored("ensemble/tiny+other/test").probabilities
    expected = (sum(of_tiny) / 2 + of_other) / 2
    assert np.abs(blended - expected).max() <= 0.501
    per_network = (sum(of_tiny) + of_other) / 3
    assert np.abs(blended - per_network).max() > 2, "as if each network counted alike"


def test_a_half_trained_fold_is_never_used(trained: Path) -> None:
    fold = WORKSPACE.runs / "tiny/fold1"
    (fold / "fold.json").unlink()
    (fold / "checkpoint.pt").write_bytes(b"of an epoch in the middle")
    heard = Heard()
    report = ensemble(WORKSPACE, ["tiny"], device="cpu", listener=heard)
    assert report.missing == {"tiny": (1, 2)}
    assert [row.name for row in report.rows] == ["tiny, fold 0", "tiny, all its folds"]
    assert "run tiny lacks fold 1, 2" in heard.warnings[0]
    part = stored("tiny/fold0/test").probabilities
    assert np.array_equal(stored("ensemble/tiny/test").probabilities, part)


def test_a_run_without_a_trained_fold_is_refused(trained: Path) -> None:
    for fold in (0, 1):
        (WORKSPACE.runs / f"tiny/fold{fold}/fold.json").unlink()
    half = r"no trained fold \(fold 0 is half trained\)(.|\n)*--run tiny --fold 0 --resume"
    with pytest.raises(ConfigError, match=half):
        ensemble(WORKSPACE, ["tiny"], device="cpu")
    for fold in (1, 2):
        (WORKSPACE.runs / f"other/fold{fold}/fold.json").unlink()
    with pytest.raises(ConfigError, match="no run in runs has a trained fold"):
        ensemble(WORKSPACE, device="cpu")
    assert not WORKSPACE.ensembles.exists()


@pytest.mark.parametrize(
    ("runs", "weights", "fault"),
    [
        (["tinny"], None, r"no run 'tinny' in runs(.|\n)*did you mean 'tiny'"),
        (["tiny", "tiny"], None, "named twice"),
        (["tiny", "other"], [1], "weights 1 for 2 runs"),
        (["tiny"], [0], "weights 0 for 1 runs"),
        (["tiny"], [float("nan")], "one positive number for each run"),
        (["tiny"], "search", "1 member to choose weights for"),
    ],
)
def test_wrong_runs_and_weights(
    trained: Path, runs: list[str], weights: Weights, fault: str
) -> None:
    with pytest.raises(ConfigError, match=fault):
        ensemble(WORKSPACE, runs, weights=weights, device="cpu")
    assert not list(WORKSPACE.ensembles.glob("*"))


def test_other_data_is_refused(trained: Path) -> None:
    (WORKSPACE.data / "depths.csv").write_text("id,z\n", encoding="utf-8")
    with pytest.raises(DataError, match="run tiny was trained on other tiles"):
        ensemble(WORKSPACE, ["tiny"], device="cpu")
