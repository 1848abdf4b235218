"""What is launched, how it stands, and what an engine has to do."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from kaggle_salt.storage.lease import BEAT_EVERY, DEAD_AFTER, owner

#: Variables that say how many threads the libraries of a process take.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
)  # fmt: skip

#: Exit codes that no retry mends: a configuration or data that cannot be used, and a person's
#: Ctrl-C.
FINAL_CODES = (2, 3, 130)

#: What the line of a log begins with that says what was begun.
BEGINS = "$ "
#: And what stands before the place where it runs, as a shell's comment.
PLACE = "  # "

#: Seconds that a process has to save its state after it was asked to end.
GRACE = 60.0

#: Seconds until a file that another machine wrote is seen here.
LATE = 60.0

#: From Linux's ``prctl.h``: the signal to be sent when the parent dies.
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Task:
    """A command line, to be run until it succeeds.

    It must be one that goes on where it was when it is run again.

    Args:
        number: Tells it from the others; the last part of the log's name, before its suffix.
        name: What a person calls it.
        words: The command after ``salt``.
        log: Where its notes are added.
        done: The file that is there once it is done.
        folder: What it owns while it runs; see :mod:`kaggle_salt.storage.lease`.
    """

    number: int
    name: str
    words: tuple[str, ...]
    log: Path
    done: Path
    folder: Path

    @property
    def command(self) -> list[str]:
        """To be run by the Python that asks."""
        return [sys.executable, "-m", "kaggle_salt", *self.words]

    @property
    def told(self) -> str:
        """As a person would type it."""
        return shlex.join(["salt", *self.words])


@dataclass(frozen=True)
class State:
    """How a task stands.

    Args:
        phase: What it does.
        where: Which device or machine does it.
        tries: How often it was begun.
        code: How it ended last: an exit code, or minus the number of a signal; None where it
            has not ended, or nobody knows.
    """

    phase: Literal["waiting", "running", "done", "failed"]
    where: str = ""
    tries: int = 0
    code: int | None = None

    @property
    def ended(self) -> bool:
        return self.phase in ("done", "failed")

    @property
    def ending(self) -> str:
        """How it ended last, in words."""
        if self.code is None:
            return "it was lost"
        return f"signal {-self.code}" if self.code < 0 else f"exit code {self.code}"


class Engine(Protocol):
    """Runs tasks, and each again that a retry may mend."""

    @property
    def every(self) -> float:
        """Seconds between two looks."""

    @property
    def elsewhere(self) -> bool:
        """Whether other machines may do the work."""

    @property
    def at_once(self) -> int | None:
        """How many tasks run at a time; None for as many as there is room for."""

    def start(self, tasks: Sequence[Task]) -> str:
        """Take up tasks; at once, or as there is room.

        Returns:
            What a person is to know of it, if there is something.
        """

    def poll(self) -> Mapping[int, State]:
        """How each task stands, by its number."""

    def stop(self) -> str:
        """Let go of all: called once in the end, however that comes.

        Returns:
            What a person is to know of what goes on; empty where nothing does.
        """


def threads_environment(threads: int) -> dict[str, str]:
    """The variables that give a process its share of the cores."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


def start_process(
    task: Task, environment: Mapping[str, str], place: str
) -> subprocess.Popen[bytes]:
    """Run a task's command beside this process, its notes in its log.

    It has a process group of its own, so that a Ctrl-C reaches it by this process alone, which
    ends it in order; on Linux it is asked to end, too, if this process dies.

    Args:
        task: What to run; relative paths are those of the current folder.
        environment: Variables beside those of this process.
        place: What does it, for the log.
    """
    task.log.parent.mkdir(parents=True, exist_ok=True)
    with task.log.open("ab") as log:
        log.write(f"{BEGINS}{task.told}{PLACE}{place}\n".encode())
        log.flush()
        return subprocess.Popen(
            task.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # its results are in files
            stderr=log,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            process_group=0,
            preexec_fn=_end_with_parent(),
        )


def wait_while_owned(folder: Path, patience: float = DEAD_AFTER + BEAT_EVERY) -> None:
    """Wait until a folder's owner is known to be dead, as one whose machine was lost will be.

    Args:
        folder: What a task is to own.
        patience: Seconds after which an owner that still shows signs of life will not go.
    """
    until = time.monotonic() + patience
    while owner(folder) and time.monotonic() < until:
        time.sleep(1.0)


def appears(path: Path, patience: float = LATE) -> bool:
    """Whether a file is there, or will be seen soon: another machine may have written it."""
    until = time.monotonic() + patience
    while not (there := path.exists()) and time.monotonic() < until:
        time.sleep(0.5)
    return there


def end_processes(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask processes to save their state and end; kill those that do not."""
    try:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(GRACE)
    except subprocess.TimeoutExpired:
        pass
    finally:
        for process in processes:
            process.kill()
            process.wait()


@functools.cache
def _end_with_parent() -> Callable[[], None] | None:
    """What a child does between fork and exec; None where the system has nothing of the kind."""
    if platform.system() != "Linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork
    return lambda: prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
