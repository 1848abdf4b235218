"""A call of ``salt`` in a process forked for it, which is killed at one of its file operations."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

#: Signals that ask for an end.
END_SIGNALS = (signal.SIGINT, signal.SIGTERM)

#: What Python tells an audit hook before it touches a file; ``open`` only where it writes.
EVENTS = {
    "open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod", "os.utime",
    "os.truncate", "shutil.rmtree", "mmap.__new__",
}  # fmt: skip

#: Functions of ``os`` that touch a file and are told to no hook.
UNTOLD = ("fsync", "posix_fallocate")

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Plan:
    """How a call is disturbed.

    Args:
        operation: Before which of its file operations, counted from 1; None: at an instant.
        signals: What is sent to it then, one after the other; none: it is left in peace.
    """

    operation: int | None = None
    signals: tuple[signal.Signals, ...] = ()


class _Counter:
    """Counts file operations in a folder, and sends the signals of a plan before one of them."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.root, self.plan, self.count = str(folder), plan, 0

    def hook(self, event: str, given: tuple[Any, ...]) -> None:
        if event not in EVENTS:
            return
        if event == "open" and not (isinstance(given[2], int) and given[2] & _WRITES):
            return
        if event != "mmap.__new__" and not self._inside(given[0]):
            return
        self.step()

    def _inside(self, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return os.path.abspath(os.fsdecode(path)).startswith(self.root)

    def step(self) -> None:
        self.count += 1
        if self.count == self.plan.operation:
            first, *others = self.plan.signals
            try:
                os.kill(os.getpid(), first)
            finally:  # while the first is on its way
                for number in others:
                    os.kill(os.getpid(), number)

    def counted(self, usual: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            self.step()
            return usual(*given)

        return call


def call_salt(words: Sequence[str], folder: Path, plan: Plan, said: int, counted: int) -> NoReturn:
    """Be a call of ``salt``: in a forked process, of which nothing comes back.

    Args:
        words: What stands after ``salt``.
        folder: The current folder.
        plan: How it is disturbed.
        said: Descriptor that takes what it says.
        counted: Descriptor that takes the number of its file operations.
    """
    code = 70
    try:
        for number in END_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        _say_to(said)
        os.chdir(folder)
        counter = _Counter(folder.resolve(), plan)
        for name in UNTOLD:
            setattr(os, name, counter.counted(getattr(os, name)))
        sys.addaudithook(counter.hook)
        code = _salt(words)
        os.write(counted, str(counter.count).encode())
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _say_to(descriptor: int) -> None:
    """Let all that is said go to a file, whatever the test runner had done with it."""
    for number in (1, 2):
        os.dup2(descriptor, number)
    sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))


def _salt(words: Sequence[str]) -> int:
    from kaggle_salt.__main__ import main

    sys.argv = ["salt", *words]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def go_round(calls: Sequence[Sequence[str]], way: int, folder: Path, told: int) -> NoReturn:
    """Make many calls in one process, and tell after each way what it holds.

    Args:
        calls: What stands after ``salt`` in each.
        way: Calls of a way.
        folder: The current folder.
        told: Descriptor that takes a line for each way: descriptors, and MiB of memory.
    """
    code = 1
    try:
        os.chdir(folder)
        with open(os.devnull, "w") as nowhere:
            _say_to(nowhere.fileno())
        for number, words in enumerate(calls, start=1):
            if _salt(words):
                raise RuntimeError(f"salt {' '.join(words)}")
            if not number % way:
                gc.collect()
                descriptors = len(os.listdir("/proc/self/fd"))
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                row = f"{descriptors} {pages * os.sysconf('SC_PAGESIZE') / 2**20:.1f}\n"
                os.write(told, row.encode())
        code = 0
    finally:
        os._exit(code)
