"""Long work told in plain lines, for notebooks, logs, and wherever no bar can be drawn."""

from __future__ import annotations

import time
from collections.abc import Callable

from kaggle_salt.pipeline.workspace import Listener, Progress

#: Seconds of silence after which unfinished work says how far it is.
PATIENCE = 20.0


class WarningLines(Listener):
    """Says warnings, and nothing else.

    Args:
        say: Takes a line of text.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def warn(self, text: str) -> None:
        self._say(f"warning: {text}")


class Lines(WarningLines):
    """Says a line for each epoch, and one now and then for what takes long.

    Args:
        say: Takes a line of text.
        patience: Seconds of silence after which unfinished work says how far it is.
    """

    def __init__(self, say: Callable[[str], None], *, patience: float = PATIENCE) -> None:
        super().__init__(say)
        self._patience = patience
        self._spoke = time.monotonic()
        self._epoch, self._steps = "", 0

    def note(self, text: str) -> None:
        self._say(text)
        self._spoke = time.monotonic()

    def progress(self, title: str) -> Progress:
        started = self._spoke = time.monotonic()

        def update(done: int, total: int) -> None:
            if done >= total:
                self.note(f"{title}: {total} in {time.monotonic() - started:.1f} s")
            elif self._is_overdue():
                self.note(f"{title}: {done} of {total}")

        return update

    def epoch_starts(self, title: str, steps: int) -> None:
        self._epoch, self._steps = title, steps
        self._spoke = time.monotonic()

    def steps_done(self, steps: int, loss: float) -> None:
        if steps < self._steps and self._is_overdue():
            self.note(f"{self._epoch}: {steps} of {self._steps} steps, loss {loss:.4f}")

    def epoch_ends(self, row: dict[str, object], epochs_left: float) -> None:
        self.note(epoch_line(row, epochs_left))

    def _is_overdue(self) -> bool:
        return time.monotonic() - self._spoke >= self._patience


def epoch_line(row: dict[str, object], epochs_left: float) -> str:
    """What an epoch gave, and how long the rest will take.

    Args:
        row: Its line of the history.
        epochs_left: The rest of the training, in such epochs.
    """
    seconds = float(str(row["seconds"]))
    validated = ""  # a pretraining has nothing to validate by
    if "score" in row:
        validated = f"validation {row['val_loss']:.4f}  score {row['score']:.4f}  "
    skipped = f"{row['skipped']} steps skipped  " if row.get("skipped") else ""
    return (
        f"epoch {row['epoch']:>3}  {row['stage']:<12} loss {row['train_loss']:.4f}  "
        f"{validated}{skipped}{seconds:.1f} s  about {_duration(epochs_left * seconds)} left"
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
