"""What goes wrong in a computation that is none of its own fault, in words that help."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import torch
from torch.utils.data import DataLoader

from kaggle_salt.errors import TrainingError, reason
from kaggle_salt.runs import TrainingFolder

#: What torch says of a loader process that died; it has no class of its own for that.
_DEAD_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")

#: What torch says where memory is short, in errors without a class of their own.
_SHORT_OF_MEMORY = ("can't allocate memory", "out of memory")


@contextmanager
def living_workers(loader: DataLoader[Any], folder: TrainingFolder) -> Iterator[None]:
    """Say which of a loader's processes died, and how the training goes on.

    Raises:
        TrainingError: One of them died in the block.
    """
    try:
        yield
    except RuntimeError as error:
        found = _DEAD_WORKER.search(str(error))
        if not found:
            raise
        raise TrainingError(
            _told_of(loader, int(found[1].split(",")[0])),
            expected="processes that live as long as the training: they die where memory, or what "
            "is shared of it (/dev/shm), runs out",
            next_step=f"go on: {folder.resumed}, with --set training.workers=0 added to do "
            "without such processes",
        ) from error


def quiet_worker(_: int) -> None:
    """Let a loader's process say nothing of a training that is gone; called as it begins.

    What is wrong with a batch reaches the training anyway. A thread that hands memory over is cut
    off in the middle where the training was killed, and there is nobody left to be told.
    """
    told = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, (ConnectionError, EOFError)):
            told(kind, error, trace)

    sys.excepthook = hook


def _told_of(loader: DataLoader[Any], pid: int) -> str:
    """Which process died, and of what."""
    workers = getattr(getattr(loader, "_iterator", None), "_workers", [])
    numbers = {worker.pid: number for number, worker in enumerate(workers, start=1)}
    number = numbers.get(pid)
    which = f"{number} of {len(workers)} " if number else ""
    code = workers[number - 1].exitcode if number else None
    how = ""
    if code is not None:
        how = f" by signal {signal.Signals(-code).name}" if code < 0 else f" with exit code {code}"
    return f"process {which}that loads batches (pid {pid}) died{how}"


@contextmanager
def enough_memory(batch_size: int, halve: Callable[[int], str]) -> Iterator[None]:
    """Say what to set to what where a device, or the machine, has too little memory.

    Args:
        batch_size: Tiles of a batch.
        halve: Gives the advice to take batches of a smaller size.

    Raises:
        TrainingError: There was too little in the block.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # of which torch's own is a child
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and not any(words in str(error) for words in _SHORT_OF_MEMORY):
            raise
        smaller = halve(batch_size // 2) if batch_size > 1 else "smaller tiles: a lower input.size"
        raise TrainingError(
            f"out of memory with batches of {batch_size} tiles: {reason(error)}",
            expected="room for a batch beside what else uses the device",
            next_step=f"{smaller}, or end what else uses the device",
        ) from error


def smaller_batches(folder: TrainingFolder) -> Callable[[int], str]:
    """The advice for a training that was begun: a new run, for this one keeps what it has."""
    return lambda size: (
        "a run with smaller batches: "
        + folder.variation("smaller", "--set", f"training.batch_size={size}")
    )


def set_batch_size(size: int) -> str:
    """The advice where the present call says how large batches are."""
    return f"--set training.batch_size={size}"
