from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kaggle_salt.pipeline.health import crowding
from kaggle_salt.pipeline.health.crowding import crowd
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage import lease
from kaggle_salt.storage.lease import Holder
from tests.test_lease import DEAD, ELSEWHERE, leave
from tests.tiny import Heard, tiny_config


@contextmanager
def other(folder: Path, threads: str) -> Iterator[int]:
    """A process that holds a folder's lease, told to take so many threads."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    told = {**environment, **({"OMP_NUM_THREADS": threads} if threads else {})}
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", "input(0)"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=told,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.read(1) == b"0"  # its environment can be read from here on
    began = lease._began(process.pid)
    mine = Holder.this_process()
    folder.mkdir(parents=True)
    leave(folder, Holder(mine.host, mine.machine, process.pid, began, mine.since, "t"))
    try:
        yield process.pid
    finally:
        process.communicate(b"\n")
        process.wait()


@pytest.mark.parametrize(("told", "taken"), [("1", ""), ("2", "2 of its 2"), ("", "2 of its 2")])
def test_threads_are_added_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, taken: str
) -> None:
    monkeypatch.setattr(crowding, "usable_cores", lambda: 2)
    with other(tmp_path / "a/fold3", told) as pid:
        found = crowd(tmp_path, threads=1)
        if taken:
            assert found.startswith(f"the machine is taken: process {pid} with {taken} cores, and")
            assert found.endswith("--jobs 2")
        else:
            assert found == ""
        assert crowd(tmp_path, threads=2)
    assert crowd(tmp_path, threads=2) == ""


def test_only_others_that_live_here_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowding, "usable_cores", lambda: 1)
    (tmp_path / "a").mkdir()
    leave(tmp_path / "a/fold0", DEAD)
    leave(tmp_path / "a/fold1", ELSEWHERE)
    leave(tmp_path / "b", Holder.this_process())
    assert crowd(tmp_path / "none", threads=8) == crowd(tmp_path, threads=8) == ""


def test_a_training_on_a_machine_that_is_taken_says_so(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowding, "usable_cores", lambda: 1)
    run, told = RunFolder(Path("runs/new")), Heard()
    config = tiny_config(Path(), "stage.*.epochs=1")
    with other(Path("runs/away/fold0"), "1"):
        train(Workspace(), run, config, device="cpu", listener=told)
        train(Workspace(), run, config, device="cpu", listener=told)  # finished: nothing to warn of
    assert [text.partition(":")[0] for text in told.warnings] == ["the machine is taken"]
