"""The list of runs: figures pooled over folds, and what is damaged shown as such."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kaggle_salt.config.file import dump_config, load_config
from kaggle_salt.pipeline.blending.ensemble import ensemble
from kaggle_salt.pipeline.judging.run_list import RunRow, list_runs
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.presets import preset_path
from kaggle_salt.storage.files import read_json
from tests.tiny import configure, salt

HERE = Workspace()


def row(name: str) -> RunRow:
    [found] = [row for row in list_runs(HERE) if row.name == name]
    return found


def test_scores_are_pooled_over_the_tiles_of_the_folds(trained: Path) -> None:
    found = row("tiny")
    folds = [read_json(Path(f"runs/tiny/fold{fold}/fold.json")) for fold in (0, 1)]
    tiles = [fold["tiles"] for fold in folds]
    assert (found.preset, found.folds, found.half, found.trouble) == ("own", (0, 1), (), "")
    assert found.tiles == sum(tiles)
    assert found.score == pytest.approx(np.average([fold["score"] for fold in folds],
                                                   weights=tiles))  # fmt: skip
    assert found.minutes == pytest.approx(sum(fold["seconds"] for fold in folds) / 60)
    created = read_json(Path("runs/tiny/manifest.json"))["created"]
    assert found.date == created[:16].replace("T", " ")


def test_a_preset_is_known_by_what_it_says_of_itself(trained: Path) -> None:
    shutil.copytree("runs/tiny", "runs/mine")
    for changed, setting in enumerate(("training.seed=7", "training.batch_size=7")):
        text = dump_config(load_config(preset_path("quick"), [setting]))
        configure(Path("runs/mine"), text)
        assert (row("mine").preset, row("mine").changed) == ("quick", changed)


def test_ensembles_are_listed_too(trained: Path) -> None:
    report = ensemble(HERE, ["tiny", "other"], name="both", device="cpu")
    found = row("ensemble/both")
    assert (found.tiles, found.score) == (report.rows[-1].tiles, report.rows[-1].at_half)
    Path("runs/ensemble/both/ensemble.json").write_text("{}", encoding="utf-8")
    assert row("ensemble/both").trouble == "it has no scores"


DAMAGES = {
    "manifest.json": "manifest.json cannot be read",
    "config.toml": "config.toml is not valid TOML",
    "fold0/fold.json": "fold.json cannot be read",
    "fold0/oof.json": "oof.json cannot be read",
    "fold0/oof.npy": "oof.npy cannot be read",
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_damaged_is_said(trained: Path, name: str) -> None:
    sound = row("other")
    (Path("runs/tiny") / name).write_bytes(b"\x00[")
    found = row("tiny")
    assert DAMAGES[name] in found.trouble
    assert 1 in found.folds
    assert row("other") == sound
    assert DAMAGES[name] in salt("runs").stdout


def test_what_is_missing_is_said(trained: Path) -> None:
    Path("runs/tiny/fold1/weights.safetensors").unlink()
    assert "fold1/weights.safetensors is missing" in row("tiny").trouble
    Path("runs/tiny/fold1/fold.json").unlink()
    found = row("tiny")
    assert (found.folds, found.half, found.trouble) == ((0,), (1,), "")
    Path("runs/empty").mkdir()
    Path("runs/stray.txt").touch()
    assert "manifest.json cannot be read" in row("empty").trouble
    assert len(list_runs(HERE)) == 3
    shutil.rmtree("runs/tiny/fold0")
    assert row("tiny") == replace(found, folds=(), tiles=0, score=None, minutes=None)


def test_foreign_runs_without_predictions(trained: Path) -> None:
    Path("runs/foreign").mkdir()
    Path("runs/foreign/manifest.json").write_text(
        json.dumps({"kind": "foreign", "score_at_half": 0.5}), encoding="utf-8"
    )
    found = row("foreign")
    assert (found.preset, found.score) == ("foreign", 0.5)
    assert "cannot be read" in found.trouble


def test_the_command(trained: Path) -> None:
    rows = json.loads(salt("runs", "--json").stdout)
    assert {row["name"] for row in rows} == {"tiny", "other"}
    Path("runs/tiny/fold1/fold.json").unlink()
    table = salt("runs").stdout
    assert "0; 1 half done" in table
    assert "there are no runs in nowhere" in salt("runs", "--runs", "nowhere").stdout
