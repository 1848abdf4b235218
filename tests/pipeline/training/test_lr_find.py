from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kaggle_salt.errors import ConfigError, TrainingError
from kaggle_salt.learning.rate_sweep import suggest
from kaggle_salt.pipeline.choose import choose_run
from kaggle_salt.pipeline.training.lr_find import LrReport, Sweep, find_learning_rate
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.runs import RunFolder
from tests.tiny import files_under, tiny_config

WORKSPACE = Workspace()  # the tests stand in its folder
SHORT = Sweep(1e-4, 1e-1, 30)


def find(run: str, *overrides: str, sweep: Sweep = SHORT, stage: str | None = None) -> LrReport:
    return find_learning_rate(
        WORKSPACE, RunFolder(WORKSPACE.runs / run), tiny_config(Path(), *overrides),
        stage=stage, sweep=sweep, device="cpu",
    )  # fmt: skip


def test_a_sweep_leaves_a_table_and_a_picture(trained: Path) -> None:
    report = find("new")
    assert sorted(files_under(trained / "runs/new")) == ["lr-find.csv", "lr-find.png"]
    curve = pd.read_csv(report.csv)
    assert list(curve.columns) == ["lr", "loss", "smoothed"]
    assert (len(curve), report.steps) == (30, 30)
    assert (curve["lr"].iloc[0], curve["lr"].iloc[-1]) == pytest.approx((1e-4, 1e-1))
    assert curve["smoothed"].iloc[-1] < curve["smoothed"].iloc[0]
    assert (report.stage, report.configured) == ("bce", 0.03)
    assert report.suggestion == suggest(curve)


def test_a_run_can_be_trained_after_its_sweep(trained: Path) -> None:
    find("fresh")
    config = tiny_config(Path(), "stage.*.epochs=1")  # another than the sweep's
    [summary] = train(WORKSPACE, RunFolder(WORKSPACE.runs / "fresh"), config, device="cpu")
    assert summary.epochs == 2
    assert (trained / "runs/fresh/lr-find.csv").exists()


def test_a_trained_run_keeps_all_it_has(trained: Path) -> None:
    before = files_under(trained / "runs/tiny")
    run, config, _ = choose_run(WORKSPACE, run="tiny")
    report = find_learning_rate(WORKSPACE, run, config, sweep=SHORT, device="cpu")
    after = files_under(trained / "runs/tiny")
    assert set(after) - set(before) == {"lr-find.csv", "lr-find.png"}
    assert {name: after[name] for name in before} == before
    assert report.configured == 0.03


def test_a_later_stage_can_be_named(trained: Path) -> None:
    report = find("later", stage="swa")
    assert (report.stage, report.configured) == ("swa", 0.001)


@pytest.mark.parametrize(
    ("lowest", "highest", "steps"),
    [(0, 1, 100), (-1, 1, 100), (1, 1, 100), (1, 0.1, 100), (0.1, float("inf"), 100), (0.1, 1, 9),
     (float("nan"), 1, 100)],
)  # fmt: skip
def test_a_sweep_has_to_rise(lowest: float, highest: float, steps: int) -> None:
    with pytest.raises(ConfigError, match=r"no sweep from .*(.|\n)*--min 1e-6 --max 1 --steps 100"):
        Sweep(lowest, highest, steps)


def test_rates_are_spaced_evenly_in_their_logarithm() -> None:
    assert Sweep(1e-3, 1e6, 10).rates == pytest.approx([10.0**n for n in range(-3, 7)])


def test_what_cannot_be_swept_is_refused_before_anything_is_written(trained: Path) -> None:
    before = files_under(trained)
    with pytest.raises(ConfigError, match=r"no stage 'bse'(.|\n)*did you mean 'bce'"):
        find("new", stage="bse")
    with pytest.raises(ConfigError, match="unknown augmentation 'lite'"):
        find("new", "augment.pipeline=lite")
    with pytest.raises(ConfigError, match="there is no fold '7'"):
        find_learning_rate(
            WORKSPACE, RunFolder(WORKSPACE.runs / "new"), tiny_config(Path()), fold=7
        )
    assert files_under(trained) == before


def test_a_sweep_without_a_descent_leaves_its_table_to_be_looked_at(trained: Path) -> None:
    with pytest.raises(TrainingError, match="falls nowhere"):
        find("steep", sweep=Sweep(1e30, 1e38, 10))
    assert sorted(files_under(trained / "runs/steep")) == ["lr-find.csv"]
