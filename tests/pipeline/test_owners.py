"""Two processes and one run, one fold, one ensemble or one table: one of them has it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaggle_salt.config.file import load_config
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import BusyError, ConfigError, DataError
from kaggle_salt.pipeline.blending import ensemble as ensemble_module
from kaggle_salt.pipeline.blending.ensemble import ensemble
from kaggle_salt.pipeline.choose import choose_pretraining
from kaggle_salt.pipeline.preparing import prepare
from kaggle_salt.pipeline.preparing.prepare import make_fold_table
from kaggle_salt.pipeline.submitting.submit import submit
from kaggle_salt.pipeline.training import train as train_module
from kaggle_salt.pipeline.training.pretrain import pretrain
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.runs import FoldFolder, RunFolder
from kaggle_salt.storage.files import file_hash, read_json
from tests.test_lease import DEAD, ELSEWHERE, leave
from tests.tiny import files_under, tiny_config

WORKSPACE = Workspace()  # the tests stand in its folder


class AtEpoch(Listener):
    """Does something when the ``number``-th epoch begins."""

    def __init__(self, number: int, then: Callable[[], object]) -> None:
        self.left, self.then = number, then

    def epoch_starts(self, title: str, steps: int) -> None:
        self.left -= 1
        if not self.left:
            self.then()


def named(run: str, *overrides: str) -> tuple[RunFolder, Config]:
    return RunFolder(WORKSPACE.runs / run), tiny_config(Path(), *overrides)


def interrupt() -> None:
    raise KeyboardInterrupt


def meanwhile(
    patch: pytest.MonkeyPatch, module: Any, name: str, other: Callable[[], object]
) -> None:
    """Let another process do something whole, just before a function is called for the first time.

    What ran inside that other process is not disturbed: it calls the function as it was.
    """
    usual = getattr(module, name)

    def late(*given: Any, **named: Any) -> Any:
        patch.setattr(module, name, usual)
        other()
        return usual(*given, **named)

    patch.setattr(module, name, late)


@pytest.mark.parametrize("how", ["plainly", "resume", "overwrite"])
def test_a_fold_in_training_is_refused_whatever_is_asked(trained: Path, how: str) -> None:
    run, config = named("own", "training.seed=1")
    straight, _ = named("other")
    refusals = []

    def second() -> None:
        with pytest.raises(BusyError, match=rf"own/fold1 is in use: process {os.getpid()} on "):
            train(
                WORKSPACE, run, config, folds="1", device="cpu",
                resume=how == "resume", overwrite=how == "overwrite",
            )  # fmt: skip
        refusals.append(how)

    train(WORKSPACE, run, config, folds="1", device="cpu", listener=AtEpoch(2, second))
    assert refusals
    assert run.fold(1).weights.read_bytes() == straight.fold(1).weights.read_bytes()
    assert not list(run.path.rglob("lease-*"))


def test_the_fold_of_a_killed_process_goes_on(trained: Path) -> None:
    run, config = named("own")
    with pytest.raises(KeyboardInterrupt):
        train(WORKSPACE, run, config, device="cpu", listener=AtEpoch(2, interrupt))
    leave(run.fold(0).path, DEAD)
    [summary] = train(WORKSPACE, run, config, device="cpu", resume=True)
    straight = FoldFolder(trained / "runs/tiny/fold0", 0)
    assert summary.weights_hash == read_json(straight.summary)["weights_hash"]
    assert not list(run.path.rglob("lease-*"))


def test_a_training_that_was_taken_over_stops_without_writing(trained: Path) -> None:
    run, config = named("own")
    left: dict[str, bytes] = {}

    def lose() -> None:
        leave(run.fold(0).path, ELSEWHERE, 2)
        (run.fold(0).path / "lease-1.json").unlink()
        left.update(files_under(run.path))

    with pytest.raises(BusyError, match=r"own/fold0 is held by process \d+ on elsewhere"):
        train(WORKSPACE, run, config, device="cpu", listener=AtEpoch(3, lose))
    after = files_under(run.path)
    assert "fold0/checkpoint.pt" in after
    assert left == after


def test_a_run_removed_under_its_training_stays_removed(trained: Path) -> None:
    run, config = named("own")
    remove = AtEpoch(2, lambda: shutil.rmtree(run.path))
    with pytest.raises(BusyError, match=r"own/fold0 is not held by this process any more"):
        train(WORKSPACE, run, config, device="cpu", listener=remove)
    assert not run.path.exists()


@pytest.mark.parametrize("folds", ["0", "1"])
def test_of_two_that_begin_a_run_one_says_what_it_is(
    trained: Path, monkeypatch: pytest.MonkeyPatch, folds: str
) -> None:
    """Both have looked: there was no run. What the second finds then is the first one's."""
    run, config = named("new")
    first = tiny_config(Path(), "training.seed=1", "stage.*.epochs=1")

    def begin() -> None:
        train(WORKSPACE, run, first, folds=folds, device="cpu")

    meanwhile(monkeypatch, train_module, "examine_weights", begin)
    with pytest.raises(ConfigError, match="run new exists with another configuration"):
        train(WORKSPACE, run, config, folds="0", device="cpu")
    assert load_config(run.config) == first
    assert read_json(run.manifest)["seed"] == 1
    assert run.claimed_folds() == [int(folds)]


def test_what_a_process_left_that_was_killed_in_its_first_epoch_claims_nothing(
    trained: Path,
) -> None:
    run, config = named("new")
    leave_first_epoch = AtEpoch(1, lambda: shutil.copytree(run.path, "copy"))
    train(WORKSPACE, run, config, folds="0,1", device="cpu", listener=leave_first_epoch)
    killed = RunFolder(Path("copy").rename("runs/killed"))
    for fold in (0, 1):
        (killed.fold(fold).path / "lease-1.json").unlink()
        leave(killed.fold(fold).path, DEAD)
    assert killed.claimed_folds() == []
    other = tiny_config(Path(), "stage.*.epochs=1")
    [summary] = train(WORKSPACE, killed, other, folds="0", device="cpu")
    assert summary.epochs == 2


@pytest.mark.parametrize(
    "lost", [["config.toml"], ["manifest.json"], ["config.toml", "manifest.json"]]
)
def test_a_run_with_folds_is_not_given_another_configuration(
    trained: Path, lost: list[str]
) -> None:
    run, config = named("tiny", "training.seed=5")
    for name in lost:
        (run.path / name).unlink()
    before = files_under(run.path)
    with pytest.raises(DataError, match=rf"run tiny has something (.|\n)*no {lost[0]}"):
        train(WORKSPACE, run, config, folds="2", device="cpu")
    assert files_under(run.path) == before
    train(WORKSPACE, run, tiny_config(Path(), "stage.*.epochs=1"), folds="0,1", device="cpu",
          overwrite=True)  # fmt: skip


def test_the_manifest_vouches_for_the_configuration(trained: Path) -> None:
    run, _ = named("tiny")
    assert read_json(run.manifest)["content_hash"] == file_hash(run.config)


class Killed(BaseException):
    """Nothing is tidied up after it."""


def test_a_kill_in_the_middle_of_overwriting_leaves_no_finished_fold(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = FoldFolder(trained / "runs/tiny/fold0", 0)
    (folder.path / "events").mkdir()
    (folder.path / "events/first").touch()
    whole = shutil.copytree(folder.path, trained / "whole")
    usual, left = os.unlink, 0

    def unlink(*given: Any, **named: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        usual(*given, **named)

    monkeypatch.setattr(os, "unlink", unlink)
    states = []
    for kill in range(len(files_under(whole)) + 3):
        left = 1000
        shutil.rmtree(folder.path, ignore_errors=True)
        shutil.copytree(whole, folder.path)
        left = kill
        try:
            folder.clear()
        except Killed:
            states.append((folder.finished, folder.started))
        else:
            break
    assert not any(folder.path.iterdir())
    assert states[0] == (True, True), "nothing is gone yet"
    assert set(states[1:]) == {(False, True)}, "begun, but not finished, to the last"


# pretraining


def test_a_pretraining_has_one_owner(trained: Path) -> None:
    run, config = choose_pretraining(
        WORKSPACE, run="pre", config_file=Path("tiny.toml"), overrides=("stage.*.epochs=2",)
    )
    other = config.model_copy(update={"training": config.training.model_copy(update={"seed": 7})})
    refusals = []

    def second() -> None:
        with pytest.raises(BusyError, match="runs/pre is in use"):
            pretrain(WORKSPACE, run, other, device="cpu", overwrite=True)
        refusals.append(run)

    pretrain(WORKSPACE, run, config, device="cpu", listener=AtEpoch(1, second))
    assert refusals
    assert read_json(run.manifest)["seed"] == 0
    pretrain(WORKSPACE, run, other, device="cpu", overwrite=True)
    assert read_json(run.manifest)["seed"] == 7
    assert not list(run.path.glob("lease-*"))


# ensembles and fold tables


def test_of_two_ensembles_of_one_name_one_is_written_whole(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = []

    def second() -> None:
        with pytest.raises(BusyError, match="runs/ensemble/both is in use"):
            ensemble(WORKSPACE, ["other"], name="both", device="cpu")
        refusals.append("both")

    meanwhile(monkeypatch, ensemble_module, "blend_test", second)
    report = ensemble(WORKSPACE, ["tiny"], name="both", device="cpu")
    assert refusals
    made = read_json(report.folder / "ensemble.json")
    assert [member["run"] for member in made["members"]] == ["tiny"]
    assert made["test_hash"] == file_hash(report.folder / "test.npy")
    submit(WORKSPACE, ensemble="both")


def test_of_two_fold_tables_one_stays(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WORKSPACE.folds.unlink()

    def make(seed: int) -> Callable[[], object]:
        return lambda: make_fold_table(WORKSPACE, n_folds=3, seed=seed)

    meanwhile(monkeypatch, prepare, "write_folds", make(1))
    with pytest.raises(ConfigError, match="holds another fold table"):
        make(0)()
    first = WORKSPACE.folds.read_bytes()
    make(1)()
    WORKSPACE.folds.unlink()
    meanwhile(monkeypatch, prepare, "write_folds", make(1))
    make(1)()
    assert WORKSPACE.folds.read_bytes() == first
