from __future__ import annotations

from pathlib import Path

import cv2
import pandas as pd
import pytest

from kaggle_salt.config.file import load_config
from kaggle_salt.pipeline.demo import DEMO_OVERRIDES, run_demo
from kaggle_salt.presets import preset_path
from tests.tiny import draw_no_curves, files_under

SMALL = (
    "model.options.widths=[4,8]",
    "model.options.depths=[1,1]",
    "model.options.decoder=[4]",
    "model.options.hypercolumn=4",
    "training.batch_size=4",
    "training.precision=float32",
    "stage.*.epochs=1",
)


def test_the_demo_goes_through_and_is_repeatable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_no_curves(monkeypatch)
    report = run_demo(tmp_path, n_train=16, n_test=6, overrides=SMALL, device="cpu")
    assert report.test_tiles == 6
    assert 0 <= report.test_score <= 1
    assert 0 < report.nothing_score < 1
    assert 0 <= report.promised <= 1
    assert report.test_interval[0] <= report.test_score <= report.test_interval[1]
    assert report.promised_interval[0] <= report.promised <= report.promised_interval[1]
    assert report.chance <= 2**0.5
    picture = cv2.imread(str(report.picture))
    assert picture is not None
    assert picture.std() > 0
    table = pd.read_csv(tmp_path / "submissions/quick.csv")
    assert len(table) == 6
    before = files_under(tmp_path)
    assert {name.split("/")[0] for name in before} == {
        "data", "folds", "runs", "submissions", "predictions.png"
    }  # fmt: skip

    assert run_demo(tmp_path, n_train=16, n_test=6, overrides=SMALL, device="cpu") == report
    after = files_under(tmp_path)
    pictures = {name for name in before if name.endswith(".png")}
    assert {name: after[name] for name in after.keys() - pictures} == {
        name: before[name] for name in before.keys() - pictures
    }


def test_the_demo_is_the_quick_preset_cut_short() -> None:
    quick, demo = (load_config(preset_path("quick"), o) for o in ((), DEMO_OVERRIDES))
    assert demo.model == quick.model
    assert demo.input == quick.input
    assert [stage.name for stage in demo.stage] == [stage.name for stage in quick.stage]
