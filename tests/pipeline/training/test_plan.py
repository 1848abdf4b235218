from __future__ import annotations

import re
from pathlib import Path

import pytest

from kaggle_salt.config.file import load_config, load_run_config
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.learning.fold import FoldSummary
from kaggle_salt.learning.timing import StageTime
from kaggle_salt.pipeline.budget import Budget
from kaggle_salt.pipeline.choose import choose_run
from kaggle_salt.pipeline.training import plan
from kaggle_salt.pipeline.training.plan import read_plan
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage.files import read_json, write_json
from tests.pipeline.training.test_train import WORKSPACE, Interrupted
from tests.tiny import Heard, forbid, tiny_config

#: The tiny stages: four epochs of BCE and one of SWA, six steps each.
SECOND = StageTime(step=1 / 6, validation=0, checkpoint=0, warm_up=0)
MINUTE = 60


@pytest.fixture
def a_second_an_epoch(trained: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every epoch takes a second, whichever the stage; one item for each time it was timed."""
    timed: list[int] = []

    def time_stages(config: Config, *_: object) -> list[StageTime]:
        timed.append(len(config.stage))
        return [SECOND] * len(config.stage)

    monkeypatch.setattr(plan, "time_stages", time_stages)
    return timed


def train_in(
    seconds: float | None,
    *overrides: str,
    config: Config | None = None,
    folds: str = "0",
    listener: Listener | None = None,
    **given: bool,
) -> list[FoldSummary]:
    budget = None if seconds is None else Budget(minutes=seconds / MINUTE)
    return train(
        WORKSPACE, RunFolder(WORKSPACE.runs / "planned"),
        config or tiny_config(Path(), *overrides), folds=folds, device="cpu",
        budget=budget, listener=listener, **given,
    )  # fmt: skip


def epochs_of(run: str = "planned") -> list[int]:
    config = load_run_config(WORKSPACE.runs / run / "config.toml")
    return [stage.epochs for stage in config.stage]


def test_minutes_are_planned_told_and_recorded(a_second_an_epoch: list[int]) -> None:
    heard = Heard()
    [summary] = train_in(10, listener=heard)
    assert summary.epochs == 10
    assert epochs_of() == [8, 2]
    text = (WORKSPACE.runs / "planned/config.toml").read_text(encoding="utf-8")
    assert text.startswith("# planned for 0.166667 minutes a fold: see manifest.json\n")
    told = read_json(WORKSPACE.runs / "planned/manifest.json")["plan"]
    assert told["asked"] == {"minutes": 10 / MINUTE, "epochs": None}
    assert told["minutes"] == pytest.approx(10 / MINUTE)
    assert [stage["given"]["epochs"] for stage in told["stages"]] == [4, 1]
    assert [stage["planned"]["epochs"] for stage in told["stages"]] == [8, 2]
    assert told["stages"][0]["seconds"] == {
        "step": 1 / 6, "validation": 0, "checkpoint": 0, "warm_up": 0, "epoch": 1, "once": 0,
    }  # fmt: skip
    lines = "\n".join(heard.notes)
    assert re.search(r"plan for 0.166667 minutes a fold, timed on cpu, 1 threads, float32:", lines)
    assert re.search(r"\n  bce +8 epochs \(of 4\) at 32 px +0.1 min\n", lines)
    assert re.search(r"\n  swa +2 epochs \(of 1\) at 32 px +0.0 min\n  10 epochs, about", lines)


def test_the_training_is_that_of_the_same_epochs(a_second_an_epoch: list[int]) -> None:
    """Bit for bit: what was timed beforehand leaves no trace."""
    [summary] = train_in(10)
    config = tiny_config(Path(), "stage.bce.epochs=8", "stage.swa.epochs=2")
    [by_hand] = train(WORKSPACE, RunFolder(WORKSPACE.runs / "hand"), config, device="cpu")
    assert summary.weights_hash == by_hand.weights_hash


def test_a_real_timing_leaves_no_trace_either(trained: Path) -> None:
    """A training is timed as it is; what comes of it depends on the machine, but a fit does."""
    heard = Heard()
    tiles_before = sorted(path.name for path in WORKSPACE.runs.iterdir())
    with pytest.raises(ConfigError, match=r"1e-06 minutes a fold are too few(.|\n)*--minutes"):
        train(
            WORKSPACE, RunFolder(WORKSPACE.runs / "planned"), tiny_config(Path()),
            device="cpu", budget=Budget(minutes=1e-6), listener=heard,
        )  # fmt: skip
    assert sorted(path.name for path in WORKSPACE.runs.iterdir()) == tiles_before
    assert heard.notes == ["a few steps of each stage are timed on cpu, 1 threads, float32"]


def test_epochs_need_no_timing(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(monkeypatch, "kaggle_salt.pipeline.training.plan.time_stages")
    heard = Heard()
    run = RunFolder(WORKSPACE.runs / "planned")
    train(
        WORKSPACE, run, tiny_config(Path()), device="cpu", budget=Budget(epochs=8), listener=heard
    )
    assert epochs_of() == [6, 2]
    assert "plan for 8 epochs a fold, nothing timed:" in heard.notes
    again = read_plan(run)
    assert again is not None
    assert (again.asked, again.minutes) == (Budget(epochs=8), None)


def test_a_resume_goes_on_with_the_plan(a_second_an_epoch: list[int]) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_in(10, listener=Interrupted(4))
    manifest = read_json(WORKSPACE.runs / "planned/manifest.json")
    [summary] = train_in(10, resume=True)
    assert summary.epochs == 10
    assert a_second_an_epoch == [2], "timed once"
    assert read_json(WORKSPACE.runs / "planned/manifest.json") == manifest


def test_other_folds_take_the_same_plan_asked_for_or_not(a_second_an_epoch: list[int]) -> None:
    train_in(10)
    train_in(10, folds="1")
    heard = Heard()
    [by_preset] = train_in(None, folds="2", listener=heard)
    assert any("keeps to its plan for 0.166667 minutes" in note for note in heard.notes)
    assert by_preset.epochs == 10
    kept = choose_run(WORKSPACE, run="planned").config
    train_in(10, config=kept, folds="all")
    train_in(None, config=kept, folds="all")
    assert a_second_an_epoch == [2], "timed once"
    assert epochs_of() == [8, 2]


def test_what_was_interrupted_in_its_first_epoch_is_not_timed_again(
    a_second_an_epoch: list[int],
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_in(10, listener=Interrupted(1))
    train_in(10, resume=True)
    assert a_second_an_epoch == [2]
    assert read_plan(RunFolder(WORKSPACE.runs / "planned")) is not None


def test_another_plan_is_refused_for_a_run_that_has_folds(a_second_an_epoch: list[int]) -> None:
    train_in(10)
    with pytest.raises(
        ConfigError,
        match=r"planned is planned for 0.166667 minutes(.|\n)*--minutes 0.166667 for this run, or",
    ):
        train_in(20, folds="1")
    with pytest.raises(ConfigError, match=r"another configuration .stage.bce.optimizer.lr"):
        train_in(10, "stage.bce.optimizer.lr=0.5", folds="1")
    with pytest.raises(ConfigError, match=r"another configuration .stage.bce.epochs: 8 -> 3"):
        train_in(10, "stage.bce.epochs=3", folds="1")
    assert a_second_an_epoch == [2]


def test_a_run_without_a_plan_gets_none_afterwards(a_second_an_epoch: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"trained without a plan(.|\n)*leave out --minutes and"):
        train(
            WORKSPACE, RunFolder(WORKSPACE.runs / "tiny"), tiny_config(Path()), folds="2",
            device="cpu", budget=Budget(minutes=1),
        )  # fmt: skip
    assert a_second_an_epoch == []


def test_starting_anew_plans_from_what_was_given_at_first(a_second_an_epoch: list[int]) -> None:
    """And not from a plan in which every stage had come down to one epoch."""
    train_in(2)
    assert epochs_of() == [1, 1]
    train_in(10, config=choose_run(WORKSPACE, run="planned").config, overwrite=True)
    assert epochs_of() == [8, 2]
    assert a_second_an_epoch == [2, 2]
    train_in(None, overwrite=True)
    assert epochs_of() == [4, 1], "the configuration as it is, where no minutes are asked for"
    assert read_plan(RunFolder(WORKSPACE.runs / "planned")) is None


def test_too_small_a_budget_says_what_the_least_is(a_second_an_epoch: list[int]) -> None:
    match = r"2 epochs, one of each stage, take 0.03 here(.|\n)*0.1 minutes or more(.|\n)*shrink=2"
    with pytest.raises(ConfigError, match=match):
        train_in(1)
    with pytest.raises(ConfigError, match=r"1 epochs are too few for the 2 stages(.|\n)*2 or more"):
        train(
            WORKSPACE, RunFolder(WORKSPACE.runs / "planned"), tiny_config(Path()),
            device="cpu", budget=Budget(epochs=1),
        )  # fmt: skip
    assert not (WORKSPACE.runs / "planned").exists()


def test_the_least_of_cycles_is_one_epoch_each(a_second_an_epoch: list[int]) -> None:
    cycles = (
        "stage.swa.epochs=6", "stage.swa.average_over=cycles",
        "stage.swa.schedule={name='cosine-restarts', cycle=2}",
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"4 epochs, one of each stage and one of each cycle"):
        train_in(3, *cycles)
    train_in(4, *cycles)
    assert epochs_of() == [1, 3]


def test_of_two_processes_that_plan_at_once_the_second_takes_the_first_ones(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.5, 1.0]  # an epoch; the outer call's, and that of the one in between

    def time_stages(config: Config, *_: object) -> list[StageTime]:
        own = seconds.pop(0)
        if seconds:
            train_in(10, folds="1")
        return [StageTime(own / 6, 0, 0, 0)] * len(config.stage)

    monkeypatch.setattr(plan, "time_stages", time_stages)
    [summary] = train_in(10)
    assert summary.epochs == 10
    assert epochs_of() == [8, 2]


def test_a_damaged_plan_is_told(a_second_an_epoch: list[int]) -> None:
    train_in(10)
    manifest = WORKSPACE.runs / "planned/manifest.json"
    write_json(manifest, {**read_json(manifest), "plan": {"asked": {"hours": 1}}})
    with pytest.raises(DataError, match=r"the plan in .*manifest.json is damaged"):
        train_in(10, folds="1")


def test_a_preset_s_stages_are_planned_too(a_second_an_epoch: list[int]) -> None:
    small = ("input.size=32", "training.batch_size=8", "model.options={widths=[4,8],depths=[1,1],"
             "decoder=[4],hypercolumn=4}")  # fmt: skip
    config = load_config(Path(plan.__file__).parents[2] / "presets/quick.toml", small)
    run = RunFolder(Workspace().runs / "quick")
    train(WORKSPACE, run, config, device="cpu", budget=Budget(epochs=8))
    assert epochs_of("quick") == [3, 3, 2]
