"""What a person sees: bars on a terminal, plain lines elsewhere, tables and short reports."""

from __future__ import annotations

import time
from typing import ClassVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from kaggle_salt.cli.remedies import complete
from kaggle_salt.errors import SaltError
from kaggle_salt.pipeline.lines import epoch_line
from kaggle_salt.pipeline.workspace import Listener
from kaggle_salt.pipeline.workspace import Progress as Callback


class ConsoleListener(Listener):
    """Draws bars with rate and time left, and prints one plain line an epoch."""

    #: A terminal has one bar, whoever drew it: left open, it would keep the cursor hidden.
    _bar: ClassVar[Progress | None] = None

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._task: TaskID | None = None

    def note(self, text: str) -> None:
        shown = text if text.startswith("$ ") else complete(text)  # $: what is being done
        self.console.print(Text(shown))

    def warn(self, text: str) -> None:
        self.console.print(Text("warning: " + complete(text), style="yellow"))

    def progress(self, title: str) -> Callback:
        started = time.monotonic()

        def update(done: int, total: int) -> None:
            if self._bar is None:
                self._open_bar(title, total)
            self._advance(done, rate=done / max(time.monotonic() - started, 1e-9), unit="tiles/s")
            if done >= total:
                self.close_bar()
                seconds = time.monotonic() - started
                self.note(f"{title}: {total} in {seconds:.1f} s")

        return update

    def epoch_starts(self, title: str, steps: int) -> None:
        self._open_bar(title, steps)
        self._epoch_started = time.monotonic()

    def steps_done(self, steps: int, loss: float) -> None:
        rate = steps / max(time.monotonic() - self._epoch_started, 1e-9)
        self._advance(steps, rate=rate, unit=f"steps/s  loss {loss:.4f}")

    def epoch_ends(self, row: dict[str, object], epochs_left: float) -> None:
        self.close_bar()
        self.note(epoch_line(row, epochs_left))

    def _open_bar(self, title: str, total: int) -> None:
        self.close_bar()
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            refresh_per_second=1,  # each takes a millisecond from the training, whose step waits
            disable=not self.console.is_terminal,
        )
        bar.start()
        self._task = bar.add_task(title, total=total, rate="")
        ConsoleListener._bar = bar

    def _advance(self, done: int, *, rate: float, unit: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, rate=f"{rate:.1f} {unit}")

    @staticmethod
    def close_bar() -> None:
        """Take the bar off the terminal, if there is one."""
        if ConsoleListener._bar is not None:
            ConsoleListener._bar.stop()
        ConsoleListener._bar = None

    def error(self, error: SaltError) -> None:
        """Say what was found, what was expected and what to do next."""
        self.close_bar()
        self.console.print(Text("error: " + error.found, style="bold red"))
        if error.expected:
            self.console.print(Text("expected: " + error.expected))
        if error.next_step:
            self.console.print(Text("next: " + error.next_step))
