"""Tasks that are over in a moment: a few lines of Python in place of a training."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kaggle_salt.launch import local, ray_engine
from kaggle_salt.launch.following import Watcher
from kaggle_salt.launch.tasks import Engine, State, Task
from kaggle_salt.pipeline.workspace import Listener
from tests.tiny import Salt

#: Seconds after which a training is taken to be stuck.
STUCK = 600.0

#: What a script begins with; ``say`` adds a line to its log.
PRELUDE = """
import os, signal, sys, time
from pathlib import Path
def say(text):
    print(text, file=sys.stderr, flush=True)
"""


@dataclass(frozen=True)
class Script(Task):
    """A task that runs a script of Python, in place of ``salt``."""

    code: str = ""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-S", "-c", PRELUDE + self.code]


def script(folder: Path, number: int, code: str) -> Script:
    """A task of the scripts' folder: its log is ``logs/fold<n>.log``, it makes ``done<n>``."""
    log, done = folder / "logs" / f"fold{number}.log", folder / f"done{number}"
    return Script(number, f"fold {number}", (), log, done, folder / f"fold{number}", code)


class Looks(Watcher):
    """Remembers the states that a task went through."""

    def __init__(self, listener: Listener | None = None) -> None:
        super().__init__(listener or Listener())
        self.states: dict[int, list[State]] = {}

    def see(self, task: Task, state: State, lines: object) -> None:
        seen = self.states.setdefault(task.number, [])
        if state not in seen[-1:]:
            seen.append(state)


def in_place_of_processes(patch: pytest.MonkeyPatch, *endings: int | None) -> list[Task]:
    """Let each process end at once with the next of these exit codes, -9 for one that is killed.

    Where there is none, or no more, the command is given in this process: a start takes seconds.

    Returns:
        The tasks that were begun, as they come.
    """
    begun: list[Task] = []

    def start(task: Task, *_: object) -> subprocess.Popen[bytes]:
        begun.append(task)
        code = endings[len(begun) - 1] if len(begun) <= len(endings) else None
        if code is None:
            code = Salt(task.words).exit_code
        return ended(code)

    patch.setattr(local, "start_process", start)
    patch.setattr(ray_engine, "start_process", start)
    return begun


def ended(code: int) -> subprocess.Popen[bytes]:
    """A process that is over at once with an exit code; below 0 it kills itself by a signal."""
    how = f"import os; os.kill(os.getpid(), {-code}) if {code} < 0 else os._exit({code})"
    return subprocess.Popen([sys.executable, "-S", "-c", how])


def quick(engine: Engine) -> Engine:
    """Look often: the scripts are short."""
    engine.every = 0.02  # type: ignore[misc]
    return engine


def until(there: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Wait until something is so, while a process runs."""
    started = time.monotonic()
    while not there():
        assert process.poll() is None, "the training ended first"
        assert time.monotonic() - started < STUCK
        time.sleep(0.1)
