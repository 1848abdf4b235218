"""``salt train --jobs``: folds in processes of their own give what one after the other gives."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kaggle_salt import train
from kaggle_salt.cli.console import ConsoleListener
from kaggle_salt.errors import ConfigError, TrainingError
from kaggle_salt.launch import folds as folds_module
from kaggle_salt.launch import local
from kaggle_salt.launch.following import Watcher
from kaggle_salt.launch.local import LocalEngine
from kaggle_salt.launch.tasks import Task
from kaggle_salt.pipeline.budget import Budget
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage.files import read_json
from tests.launch.scripts import in_place_of_processes
from tests.tiny import Heard, files_under, refused, salt, tiny_config

TRAIN = ("train", "--config", "tiny.toml", "--device", "cpu")
JOBS = ("--jobs", "2")


def test_two_at_a_time_give_the_same_bits_as_one_after_the_other(trained: Path) -> None:
    result = salt(*TRAIN, "--run", "new", "--fold", "0,1", *JOBS, "--json")
    assert [one["fold"] for one in json.loads(result.stdout)] == [0, 1]
    for fold in (0, 1):
        alone, beside = (Path(f"runs/{run}/fold{fold}") for run in ("tiny", "new"))
        weights = "weights.safetensors"
        assert (beside / weights).read_bytes() == (alone / weights).read_bytes()
        log = RunFolder(Path("runs/new")).log(fold).read_text(encoding="utf-8")
        assert f"run new, fold {fold}: " in log
        assert "machine is taken" not in log
    assert not list(Path("runs/new").rglob("lease-*"))


def test_a_task_is_the_plain_command(trained: Path) -> None:
    run = RunFolder(Path("runs/tiny"))
    [task] = folds_module.fold_tasks(Workspace(), run, [0, 1, 2], "cpu", "tensorboard")
    assert " ".join(task.words) == (
        "train --run tiny --fold 2 --resume --data data --runs runs --folds folds/folds.csv "
        "--device cpu --log tensorboard"
    )
    assert task.command == [sys.executable, "-m", "kaggle_salt", *task.words]


def test_a_fold_that_fails_is_told_with_the_way_on(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Path("runs/new/logs/fold1.log")
    log.parent.mkdir(parents=True)
    log.write_text("$ salt\nerror: out of memory\nexpected: more\n", encoding="utf-8")
    started = in_place_of_processes(monkeypatch, 1, 2)
    refused(1, *TRAIN, "--run", "new", "--fold", "1,2", *JOBS, "--retries", 0,
            found=r"2 of 2 folds of run new failed: fold 1 after 1 try \(out of memory; see "
            r"runs/new/logs/fold1.log\); fold 2 after 1 try \(exit code 2; see runs/new/logs/fold",
            expected="every fold", then="salt train --run new --fold 1,2 --resume --config "
            "tiny.toml --jobs 2 --retries 0 --device cpu")  # fmt: skip
    assert [task.number for task in started] == [1, 2]


def test_finished_folds_are_not_launched(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = in_place_of_processes(monkeypatch)
    before = files_under(trained)
    result = salt("train", "--run", "tiny", "--fold", "0,1", *JOBS, "--json")
    assert [one["fold"] for one in json.loads(result.stdout)] == [0, 1]
    assert started == []
    assert files_under(trained) == before


def test_the_run_is_set_up_once_and_what_begins_anew_is_empty(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_place_of_processes(monkeypatch, 2, 2)
    call = ("train", "--run", "tiny", "--fold", "0,1", *JOBS, "--device", "cpu")
    salt(*call, "--overwrite", code=1)
    assert RunFolder(Path("runs/tiny")).claimed_folds() == []
    in_place_of_processes(monkeypatch, 2, 2)
    salt(*TRAIN, "--run", "new", "--fold", "0,1", *JOBS, "--epochs", 2, code=1)
    assert read_json(Path("runs/new/manifest.json"))["plan"]["asked"]["epochs"] == 2
    assert "# planned for 2 epochs a fold" in Path("runs/new/config.toml").read_text("utf-8")


def test_why_a_preset_was_taken_is_kept_by_those_who_train(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.test_remedies import tiny_is_what_suits

    tiny_is_what_suits(monkeypatch)
    in_place_of_processes(monkeypatch, 2, 2)
    salt("train", "--fold", "0,1", *JOBS, "--device", "cpu", code=1)
    manifest = Path("runs/quick/manifest.json")
    because = read_json(manifest)["chosen_because"]
    salt("train", "--run", "quick", "--fold", "0", "--device", "cpu")
    assert read_json(manifest)["chosen_because"] == because


@pytest.mark.parametrize(
    ("arguments", "found", "expected", "then"),
    [
        (["--jobs", "some"], "--jobs some", "auto, or a number", "--jobs auto"),
        ([*JOBS, "--rounds", "2"], "--rounds 2 for folds", "one round", "leave out --rounds"),
        ([*JOBS, "--log", "wandb"], "--log wandb", "tensorboard", "--log tensorboard"),
        ([*JOBS, "--fold", "7"], "no fold '7'", "some of 0, 1, 2", "--fold all"),
    ],
)
def test_what_cannot_be_launched_is_refused_first(
    trained: Path, arguments: list[str], found: str, expected: str, then: str
) -> None:
    before = files_under(trained)
    refused(2, *TRAIN, "--run", "new", *arguments, found=found, expected=expected, then=then)
    assert files_under(trained) == before


def test_a_notebook_launches_them_too(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = in_place_of_processes(monkeypatch, 2, 2)
    with pytest.raises(TrainingError, match="2 of 2 folds of run new failed"):
        train("data", config="tiny.toml", run="new", folds=[0, 1], jobs=2, device="cpu")
    assert [task.name for task in started] == ["fold 0", "fold 1"]
    [finished] = train("data", run="tiny", folds=0, jobs=2, device="cpu")
    assert finished.fold == 0


def test_minutes_are_of_this_machine(trained: Path) -> None:
    class Away(LocalEngine):
        elsewhere = True

    run, config = RunFolder(Path("runs/new")), tiny_config(Path())
    with pytest.raises(ConfigError, match="--minutes 5 for folds that other machines train"):
        folds_module.train_folds(
            Workspace(), run, config, Away(2, "cpu", 0), Watcher(Heard()), budget=Budget(5.0)
        )


def test_one_job_trains_in_this_process(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = in_place_of_processes(monkeypatch)
    for jobs in ("1", "auto"):
        salt("train", "--run", "tiny", "--fold", "0", "--jobs", jobs, "--device", "cpu")
    assert started == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_training_that_is_asked_to_end_keeps_its_state(
    trained: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    usual = ConsoleListener.epoch_starts
    begun: list[str] = []

    def epoch_starts(self: ConsoleListener, title: str, steps: int) -> None:
        begun.append(title)
        if len(begun) == 2:
            os.kill(os.getpid(), number)
        usual(self, title, steps)

    monkeypatch.setattr(ConsoleListener, "epoch_starts", epoch_starts)
    before = signal.getsignal(number)
    result = salt(*TRAIN, "--run", "half", code=code)
    assert re.search(r"interrupted; to go on: salt train .* --resume\n$", result.stderr)
    assert signal.getsignal(number) is before
    assert RunFolder(Path("runs/half")).fold(0).checkpoint.exists()
    assert not list(Path("runs/half").rglob("lease-*"))


def test_the_launcher_ends_its_folds_when_it_is_asked_to(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(task: Task, *_: object) -> subprocess.Popen[bytes]:
        sleep = "import os, sys, time; os.kill(int(sys.argv[1]), 15); time.sleep(60)"
        process = subprocess.Popen([sys.executable, "-S", "-c", sleep, str(os.getpid())])
        ended.append(process)
        return process

    ended: list[subprocess.Popen[bytes]] = []
    monkeypatch.setattr(local, "start_process", start)
    result = salt(*TRAIN, "--run", "new", "--fold", "0", *JOBS, code=143)
    assert (
        result.stderr.endswith(
            "interrupted; to go on: salt train --config tiny.toml --device cpu --run new --fold 0 "
            "--jobs 2 --resume\n"
        )
        or "--resume" in result.stderr.splitlines()[-1]
    )
    assert [process.poll() for process in ended] == [-signal.SIGTERM]


def test_a_view_has_a_row_for_each_fold(trained: Path) -> None:
    import io

    from rich.console import Console

    from kaggle_salt.cli.launch_view import TaskTable, view_of
    from kaggle_salt.launch.tasks import State

    listener = ConsoleListener()
    assert not isinstance(view_of(listener), TaskTable)
    shown = io.StringIO()
    listener.console = Console(file=shown, force_terminal=True, width=60, height=9)
    view = view_of(listener)
    tasks = folds_module.fold_tasks(Workspace(), RunFolder(Path("runs/new")), [0, 1], "cpu", None)
    with view:
        view.see(tasks[0], State("running", "GPU 0", 1), ["epoch 1  loss .5 " + "x" * 80])
        view.see(tasks[1], State("waiting", "GPU 1", 2), [])
        view.see(tasks[0], State("done", "GPU 0", 1, 0), [])
    last = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.getvalue()).split("\r")[-1]
    assert re.search(r"fold 0 +GPU 0 +done +epoch 1  loss .5 x+…", last)
    assert re.search(r"fold 1 +GPU 1 +waiting, try 2", last)
