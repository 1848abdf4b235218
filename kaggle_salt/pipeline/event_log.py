"""``salt train --log``: what follows a training also writes it down for another tool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kaggle_salt.errors import ConfigError, nearest
from kaggle_salt.learning.event_log import EventLog, require_tensorboard
from kaggle_salt.pipeline.workspace import Listener, Progress
from kaggle_salt.runs import FoldFolder

#: Tools that can be written for.
LOGS = ("tensorboard",)


@contextmanager
def logged(listener: Listener, log: str | None) -> Iterator[Listener]:
    """While the block runs, a listener that also writes events; the one given without a log.

    Args:
        listener: Told all the same.
        log: One of :data:`LOGS`, or None.

    Raises:
        ConfigError: There is no such log, or its package is not installed.
    """
    if log is None:
        yield listener
        return
    require_log(log)  # before any training
    writing = _Logged(listener)
    try:
        yield writing
    finally:
        writing.close()


def require_log(log: str | None) -> None:
    """Refuse a log that nothing can write.

    Raises:
        ConfigError: There is no such log, or its package is not installed.
    """
    if log is None:
        return
    if log not in LOGS:
        raise ConfigError(
            f"--log {log}", expected=nearest(log, LOGS), next_step="--log tensorboard"
        )
    require_tensorboard()


class _Logged(Listener):
    """Tells another listener, and keeps the events of the fold that is trained."""

    def __init__(self, told: Listener) -> None:
        self._told = told
        self._fold: FoldFolder | None = None
        self._log: EventLog | None = None

    def note(self, text: str) -> None:
        self._told.note(text)

    def warn(self, text: str) -> None:
        self._told.warn(text)

    def progress(self, title: str) -> Progress:
        return self._told.progress(title)

    def fold_starts(self, folder: FoldFolder) -> None:
        self._told.fold_starts(folder)
        self.close()
        self._fold = folder
        self._update()

    def epoch_starts(self, title: str, steps: int) -> None:
        self._told.epoch_starts(title, steps)

    def steps_done(self, steps: int, loss: float) -> None:
        self._told.steps_done(steps, loss)

    def epoch_ends(self, row: dict[str, object], epochs_left: float) -> None:
        self._told.epoch_ends(row, epochs_left)
        self._update()

    def close(self) -> None:
        if self._log:
            self._log.close()
        self._log = None

    def _update(self) -> None:
        """Before the first epoch there is no history, and the fold's folder may go again."""
        if self._fold and self._fold.history.exists():
            self._log = self._log or EventLog(self._fold)
            self._log.update()
