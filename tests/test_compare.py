"""``scripts/compare``: presets scaled to a time, trained, and put into a table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import budget, compare
from benchmarks.budget import ENOUGH_EPOCHS, fit
from benchmarks.compare import main, table_lines
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config import Config
from kaggle_salt.config_file import load_config
from kaggle_salt.pipeline.prepare import make_fold_table
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.presets import read_measured
from tests.tiny import N_FOLDS, N_TRAIN, TINY, draw_no_curves, one_thread, write_data

CYCLES = """
[[stage]]
name = "cycles"
epochs = 12
keep = "snapshots"
schedule = { name = "cosine-restarts", cycle = 4 }
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace.under(tmp_path_factory.mktemp("compare"))
    write_data(workspace.data)
    make_fold_table(workspace, n_folds=N_FOLDS)
    return workspace


@pytest.fixture
def one_second_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes a second at full size, a quarter at half of it; nothing comes on top."""
    monkeypatch.setattr(budget, "seconds_per_step", lambda config, stage, *_: stage.shrink**-2)
    monkeypatch.setattr(budget, "OVERHEAD", 1)


def config(folder: Path, extra: str = "") -> Config:
    path = folder / "tiny.toml"
    path.write_text(TINY + extra, encoding="utf-8")
    return load_config(path)


@pytest.mark.usefixtures("one_second_a_step")
@pytest.mark.parametrize(
    ("epochs", "planned", "size"),
    [
        (80, ["stage.bce.epochs=64", "stage.bce.shrink=1"], 32),  # of 160 wanted, 128 fit
        (12, ["stage.bce.epochs=9", "stage.bce.shrink=1"], 32),  # 9.6 of them
        (3, ["stage.bce.epochs=9", "stage.bce.shrink=2"], 16),  # four times as many fit at half
        (0.5, ["stage.bce.epochs=6", "stage.bce.shrink=4"], 8),  # the last resort
    ],
)
def test_epochs_keep_their_proportions(
    epochs: float, planned: list[str], size: int, workspace: Workspace, tmp_path: Path
) -> None:
    """Four fifths of 40 tiles in batches of 4 are 8 steps; the stages are four to one."""
    competition = Competition.open(workspace.data)
    assert len(competition.ids) == N_TRAIN
    changed = config(tmp_path).model_dump()
    for stage, share in zip(changed["stage"], (0.8, 0.2), strict=True):
        stage["epochs"] = int(160 * share)
    plan = fit(Config.model_validate(changed), competition, seconds=8 * epochs)
    assert [text for text in plan.overrides if text in planned] == planned
    assert plan.size == size


@pytest.mark.usefixtures("one_second_a_step")
def test_cycles_shrink_with_their_stage(workspace: Workspace, tmp_path: Path) -> None:
    competition = Competition.open(workspace.data)
    plan = fit(config(tmp_path, CYCLES), competition, seconds=8 * 9)
    assert {"stage.cycles.epochs=6", "stage.cycles.schedule.cycle=2"} < set(plan.overrides)
    assert plan.epochs >= ENOUGH_EPOCHS


def test_a_preset_is_trained_and_its_row_replaced(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(tmp_path)
    draw_no_curves(monkeypatch)
    monkeypatch.setattr(compare, "preset_path", lambda name: tmp_path / "tiny.toml")
    out = tmp_path / "table.csv"
    out.write_text("preset,score\nquick,0.1\nunet,0.2\n", encoding="utf-8")
    with one_thread():
        code = main(
            ["quick", "--minutes", "0.01", f"--data={workspace.data}", f"--runs={workspace.runs}",
             f"--folds={workspace.folds}", f"--out={out}"]
        )  # fmt: skip
    assert code == 0
    table = pd.read_csv(out).set_index("preset")
    assert list(table.index) == ["quick", "unet"]
    assert table.loc["unet", "score"] == 0.2
    row = table.loc["quick"]
    assert row["low"] <= row["score"] <= row["high"]
    assert row["epochs"] >= 2
    assert (workspace.runs / "quick-0.01min/fold0/fold.json").exists()


def test_the_table_has_every_preset_best_first() -> None:
    measured = read_measured()
    lines = table_lines(measured)[2:]
    assert len(lines) == len(measured)
    scores = [line.split(" | ")[6] for line in lines]
    numbers = [float(score) for score in scores if score != "-"]
    assert numbers == sorted(numbers, reverse=True)
    assert "-" not in scores[: len(numbers)]
