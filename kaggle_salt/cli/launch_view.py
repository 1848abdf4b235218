"""Tasks side by side: a table that lives on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from rich.live import Live
from rich.table import Table
from rich.text import Text

from kaggle_salt.cli.console import ConsoleListener
from kaggle_salt.launch.following import Watcher
from kaggle_salt.launch.tasks import State, Task

STYLES = {"waiting": "dim", "running": "", "done": "green", "failed": "red"}


class TaskTable(Watcher):
    """Draws a row for each task: where it runs, how it stands, and what it said last."""

    def __init__(self, listener: ConsoleListener) -> None:
        super().__init__(listener)
        self._rows: dict[int, tuple[str, State, str]] = {}
        self._live = Live(console=listener.console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def see(self, task: Task, state: State, lines: Sequence[str]) -> None:
        _, before, said = self._rows.get(task.number, ("", None, ""))
        self._rows[task.number] = (task.name, state, lines[-1] if lines else said)
        if lines or state != before:
            self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False, expand=True)
        for _ in range(3):
            table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for name, state, said in self._rows.values():
            phase = f"{state.phase}, try {state.tries}" if state.tries > 1 else state.phase
            table.add_row(name, state.where, Text(phase, style=STYLES[state.phase]), Text(said))
        return table


def view_of(listener: ConsoleListener) -> Watcher:
    """What suits the screen, or the file in its place."""
    return TaskTable(listener) if listener.console.is_terminal else Watcher(listener)
