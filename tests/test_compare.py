"""``scripts/compare``: presets scaled to a time, trained, and put into a table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import budget, compare
from benchmarks.budget import ENOUGH_EPOCHS, fit_or_shrink
from benchmarks.compare import main, table_lines
from kaggle_salt.config.file import load_config
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import DataError
from kaggle_salt.learning.batches import TrainingTiles
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.learning.timing import StageTime
from kaggle_salt.pipeline.preparing.prepare import make_fold_table
from kaggle_salt.pipeline.training.training_data import TrainingData
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.presets import read_measured
from tests.tiny import N_FOLDS, TINY, draw_no_curves, forbid, one_thread, write_data

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

    def time_stages(config: Config, *_: object) -> list[StageTime]:
        return [StageTime(stage.shrink**-2, 0, 0, 0) for stage in config.stage]

    monkeypatch.setattr(budget, "time_stages", time_stages)


def tiles_of(workspace: Workspace, config: Config) -> TrainingTiles:
    """Fold 0's: 26 or 27 of the 40 tiles to train on, which are six batches of four."""
    return TrainingData.open(workspace, config, "0", Listener()).tiles(0)


def config(folder: Path, extra: str = "") -> Config:
    path = folder / "tiny.toml"
    path.write_text(TINY + extra, encoding="utf-8")
    return load_config(path)


def with_epochs(given: Config, *epochs: int) -> Config:
    """The same configuration, of stages so long."""
    changed = given.model_dump()
    for stage, length in zip(changed["stage"], epochs, strict=True):
        stage["epochs"] = length
    return Config.model_validate(changed)


@pytest.mark.usefixtures("one_second_a_step")
@pytest.mark.parametrize(
    ("epochs", "planned", "shrink", "size"),
    [
        (200, [160, 40], 1, 32),  # all of 160 wanted, and more
        (80, [64, 16], 1, 32),
        (24, [19, 5], 1, 32),
        (6, [19, 5], 2, 16),  # four times as many fit at half
        (1.5, [19, 5], 4, 8),
        (0.5, [6, 2], 4, 8),  # the last resort
        (0.01, [1, 2], 4, 8),  # the least, though it takes longer
    ],
)
def test_epochs_keep_their_proportions(
    epochs: float, planned: list[int], shrink: int, size: int, workspace: Workspace, tmp_path: Path
) -> None:
    """The stages are four to one."""
    given = with_epochs(config(tmp_path), 128, 32)
    tiles, compute = tiles_of(workspace, given), choose_compute("cpu")
    fitted = fit_or_shrink(given, tiles, 6 * epochs, compute)
    assert [stage.epochs for stage in fitted.config.stage] == planned
    assert {stage.shrink for stage in fitted.config.stage} == {shrink}
    assert (fitted.size, fitted.epochs) == (size, sum(planned))
    assert f"stage.bce.epochs={planned[0]} stage.bce.shrink={shrink}" in fitted.note


@pytest.mark.usefixtures("one_second_a_step")
@pytest.mark.parametrize(("epochs", "shrink"), [(200, 1), (11, 1), (9, 2), (3, 2), (2, 4)])
def test_a_preset_of_few_epochs_keeps_its_size_where_all_of_them_fit(
    epochs: float, shrink: int, workspace: Workspace, tmp_path: Path
) -> None:
    """It has ten; a batch of half the size takes a quarter of the time."""
    given = with_epochs(config(tmp_path), 8, 2)
    fitted = fit_or_shrink(given, tiles_of(workspace, given), 6 * epochs, choose_compute("cpu"))
    assert {stage.shrink for stage in fitted.config.stage} == {shrink}


@pytest.mark.usefixtures("one_second_a_step")
def test_what_cannot_fit_is_not_even_timed(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed, time_stages = [], budget.time_stages

    def watched(config: Config, *rest: object) -> list[StageTime]:
        timed.append(config.stage[0].shrink)
        return time_stages(config, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(budget, "time_stages", watched)
    given = with_epochs(config(tmp_path), 160, 40)
    tiles = tiles_of(workspace, given)
    assert fit_or_shrink(given, tiles, 6 * 6, choose_compute("cpu")).size == 16
    assert timed == [4, 2]


@pytest.mark.usefixtures("one_second_a_step")
def test_cycles_shrink_with_their_stage(workspace: Workspace, tmp_path: Path) -> None:
    given = config(tmp_path, CYCLES)
    fitted = fit_or_shrink(given, tiles_of(workspace, given), 6 * 23, choose_compute("cpu"))
    assert "stage.cycles.epochs=15 stage.cycles.schedule.cycle=5" in fitted.note
    assert fitted.epochs >= ENOUGH_EPOCHS


def test_a_preset_is_trained_and_its_row_replaced(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config(tmp_path)
    draw_no_curves(monkeypatch)
    monkeypatch.setattr(compare, "preset_path", lambda name: tmp_path / "tiny.toml")
    out = tmp_path / "table.csv"
    out.write_text("preset,score\nquick,0.1\nunet,0.2\n", encoding="utf-8")
    arguments = [
        "quick", "--minutes", "0.01", f"--data={workspace.data}", f"--runs={workspace.runs}",
        f"--folds={workspace.folds}", f"--out={out}",
    ]  # fmt: skip
    with one_thread():
        assert main(arguments) == 0
    table = pd.read_csv(out).set_index("preset")
    assert list(table.index) == ["quick", "unet"]
    assert table.loc["unet", "score"] == 0.2
    row = table.loc["quick"]
    assert row["low"] <= row["score"] <= row["high"]
    assert row["epochs"] >= 2
    assert (workspace.runs / "quick-0.01min/fold0/fold.json").exists()
    forbid(monkeypatch, "benchmarks.compare.fit_or_shrink")  # what is there keeps its epochs
    assert main(arguments) == 0


def test_labels_go_to_the_presets_that_want_them_whatever_their_names(
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain, wanting = config(tmp_path), tmp_path / "wanting.toml"
    wanting.write_text(TINY.replace("[[stage]]", '[[stage]]\ntiles = "pseudo"', 1))
    labels, seen = tmp_path / "labels.csv", list[str]()
    paths = {"plain": tmp_path / "tiny.toml", "wanting": wanting}
    monkeypatch.setattr(compare, "preset_path", paths.__getitem__)

    def stop(_: Workspace, given: Config, *__: object) -> None:
        seen.append(given.pseudo.file)
        raise DataError("far enough", expected="nothing", next_step="nothing")

    monkeypatch.setattr(compare.TrainingData, "open", stop)
    for name in paths:
        arguments = [name, f"--data={workspace.data}", f"--pseudo={labels}"]
        assert main(arguments) == DataError.exit_code
    assert seen == [plain.pseudo.file, str(labels)] == ["", str(labels)]
    assert "far enough" in capsys.readouterr().err


def test_the_table_has_every_preset_best_first() -> None:
    measured = read_measured()
    lines = table_lines(measured)[2:]
    assert len(lines) == len(measured)
    scores = [line.split(" | ")[6] for line in lines]
    numbers = [float(score) for score in scores if score != "-"]
    assert numbers == sorted(numbers, reverse=True)
    assert "-" not in scores[: len(numbers)]
