"""Processes side by side on this machine: shares, retries, an end in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from kaggle_salt.errors import ConfigError
from kaggle_salt.launch import local
from kaggle_salt.launch.following import Tail, Watcher, follow, last_error
from kaggle_salt.launch.local import LocalEngine, count_jobs, make_slots
from kaggle_salt.launch.tasks import State, Task, appears, wait_while_owned
from tests.launch.scripts import PRELUDE, Looks, quick, script
from tests.test_lease import ELSEWHERE, leave
from tests.tiny import Heard


def engine(jobs: int = 2, retries: int = 2) -> LocalEngine:
    made = LocalEngine(jobs, "cpu", retries)
    quick(made)
    return made


def test_cores_are_divided_and_gpus_take_turns() -> None:
    two = make_slots(2, [], cores=5)
    assert [slot.name for slot in two] == ["2 threads", "2 threads"]
    assert two[0].environment["OMP_NUM_THREADS"] == two[0].environment["MKL_NUM_THREADS"] == "2"
    assert [slot.name for slot in make_slots(3, [], cores=2)] == ["1 thread"] * 3
    on_gpus = make_slots(3, ["0", "GPU-9a"], cores=12)
    assert [slot.name for slot in on_gpus] == ["GPU 0", "GPU GPU-9a", "GPU 0"]
    assert on_gpus[1].environment["CUDA_VISIBLE_DEVICES"] == "GPU-9a"
    assert on_gpus[1].environment["OMP_NUM_THREADS"] == "4"


def test_jobs_are_a_number_or_one_for_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_jobs("3", "cpu") == 3
    assert count_jobs("auto", "cpu") == 1
    monkeypatch.setattr(local, "visible_gpus", lambda device: ["0", "1"] * (device == "cuda"))
    assert count_jobs("auto", "cuda") == 2
    assert count_jobs("auto", "cuda:1") == 1
    for wrong in ("0", "-1", "many", "1.5", ""):
        with pytest.raises(ConfigError, match=r"(?s)--jobs.*auto, or a number above 0"):
            count_jobs(wrong, "cpu")


def test_each_task_has_its_share_and_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "usable_cores", lambda: 6)
    code = 'say(f"task {n} on " + os.environ["OMP_NUM_THREADS"]); print("result")'
    tasks = [script(tmp_path, n, f"n = {n}; {code}") for n in (0, 1, 4)]
    told = Heard()
    states = follow(engine(), tasks, Watcher(told))
    assert states == {n: State("done", "3 threads", 1, 0) for n in (0, 1, 4)}
    for n in (0, 1, 4):
        assert (tmp_path / f"logs/fold{n}.log").read_text(
            encoding="utf-8"
        ) == f"$ salt  # 3 threads\ntask {n} on 3\n"
        assert f"fold {n}: task {n} on 3" in told.notes
    assert "fold 4: is done" in told.notes


def test_a_single_task_has_all_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "usable_cores", lambda: 6)
    states = follow(engine(), [script(tmp_path, 0, "")], Looks())
    assert states[0].where == "6 threads"


def test_what_fails_is_tried_again_and_stops_no_other(tmp_path: Path) -> None:
    once = f"p = Path({str(tmp_path / 'tried')!r}); known = p.exists(); p.touch()\n"
    tasks = [
        script(tmp_path, 0, once + "if not known: os.kill(os.getpid(), signal.SIGKILL)"),
        script(tmp_path, 1, "say('error: no memory'); sys.exit(1)"),
        script(tmp_path, 2, "sys.exit(2)"),
        script(tmp_path, 3, "sys.exit(3)"),
        script(tmp_path, 4, ""),
    ]  # fmt: skip
    told = Heard()
    states = follow(engine(), tasks, Watcher(told))
    assert {n: (state.phase, state.tries, state.code) for n, state in states.items()} == {
        0: ("done", 2, 0),
        1: ("failed", 3, 1),
        2: ("failed", 1, 2),
        3: ("failed", 1, 3),
        4: ("done", 1, 0),
    }
    assert last_error(tasks[1].log) == "no memory"
    assert any(note.startswith("fold 1: begins, try 3 (") for note in told.notes)
    assert "fold 1: failed: exit code 1" in told.notes


WAITS = """
def end(*_):
    say("saved"); sys.exit(143)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, signal.SIG_IGN)
say("ready"); time.sleep(60)
"""


class Interrupts(Watcher):
    """Presses Ctrl-C once all tasks have begun their work."""

    def __init__(self, count: int) -> None:
        super().__init__(Heard())
        self.left = count

    def see(self, task: Task, state: State, lines: object) -> None:
        self.left -= "ready" in list(lines)  # type: ignore[call-overload]
        if not self.left:
            raise KeyboardInterrupt


def test_ctrl_c_ends_all_in_order(tmp_path: Path) -> None:
    tasks = [script(tmp_path, n, WAITS) for n in range(2)]
    waiting = script(tmp_path, 2, "")
    with pytest.raises(KeyboardInterrupt):
        follow(engine(), [*tasks, waiting], Interrupts(2))
    for task in tasks:
        assert task.log.read_text(encoding="utf-8").partition("\n")[2] == "ready\nsaved\n"
    assert not waiting.log.exists()


def test_what_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaggle_salt.launch.tasks.GRACE", 0.05)
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); say(os.getpid()); say('ready')"
    task = script(tmp_path, 0, f"{deaf}; time.sleep(60)")
    with pytest.raises(KeyboardInterrupt):
        follow(engine(1), [task], Interrupts(1))
    _, pid, _ = task.log.read_text(encoding="utf-8").splitlines()
    assert not psutil.pid_exists(int(pid))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child")
def test_a_task_ends_with_the_one_who_began_it(tmp_path: Path) -> None:
    code = f"""
import os, time
from pathlib import Path
from kaggle_salt.launch.tasks import Task, start_process
Task.command = {[sys.executable, "-S", "-c", PRELUDE + WAITS]!r}
there = Path({str(tmp_path)!r})
task = Task(0, "fold 0", (), there / "logs/fold0.log", there, there)
start_process(task, {{}}, 'here')
while "ready" not in task.log.read_text(): time.sleep(.02)
os.kill(os.getpid(), 9)
"""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    parent = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    log = tmp_path / "logs/fold0.log"
    while "saved" not in log.read_text(encoding="utf-8"):
        time.sleep(0.02)


def test_a_tail_is_what_was_added_in_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    missing = Tail(log)
    assert missing.lines() == []
    log.write_bytes(b"old\n")
    tail = Tail(log)
    with log.open("ab") as file:
        file.write(b"Lov")
        file.flush()
        assert tail.lines() == []
        file.write("ász\nhal".encode())
    assert tail.lines() == ["Lovász"]
    assert missing.lines() == ["old", "Lovász"]
    assert last_error(tmp_path / "none.log") == last_error(log) == ""
    log.write_text("$ salt\nerror: a\nnext: b\n", encoding="utf-8")
    assert last_error(log) == "a"
    log.write_text("$ salt\nerror: a\n$ salt\nkilled\n", encoding="utf-8")
    assert last_error(log) == ""


def test_who_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "fold0"
    wait_while_owned(folder)
    leave(folder, ELSEWHERE, silent=1000)
    wait_while_owned(folder)
    leave(folder, ELSEWHERE)
    wait_while_owned(folder, patience=0)
    assert appears(folder, patience=0)
    assert not appears(tmp_path / "none", patience=0)
