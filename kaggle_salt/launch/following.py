"""Tasks followed from their start to their end, by their states and their logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kaggle_salt.launch.tasks import BEGINS, PLACE, Engine, State, Task
from kaggle_salt.pipeline.workspace import Listener

#: Bytes at the end of a log in which its last error is looked for.
END_OF_LOG = 20_000


class Watcher:
    """Sees how tasks stand and what they say; this one passes it on in plain lines.

    Args:
        listener: Told a line for each line of a log.
    """

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self._seen: dict[int, State] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open here."""

    def see(self, task: Task, state: State, lines: Sequence[str]) -> None:
        """Look at a task.

        Args:
            task: One of those followed.
            state: How it stands.
            lines: What its log has got since the last look.
        """
        before = self._seen.get(task.number, State("waiting"))
        if state.tries > before.tries:
            again = f", try {state.tries}" if state.tries > 1 else ""
            self.listener.note(f"{task.name}: begins{again} ({state.where})")
        for line in lines:
            self.listener.note(f"{task.name}: {line}")
        if state.ended and not before.ended:
            how = "is done" if state.phase == "done" else f"failed: {state.ending}"
            self.listener.note(f"{task.name}: {how}")
        self._seen[task.number] = state


def follow(engine: Engine, tasks: Sequence[Task], watcher: Watcher) -> dict[int, State]:
    """Start tasks and look at them until all have ended.

    Args:
        engine: Runs them.
        tasks: At least one.
        watcher: Shows how they stand.

    Returns:
        How each ended, by its number.

    Raises:
        KeyboardInterrupt: As it comes; the engine has been let go then.
    """
    tails = {task.number: Tail(task.log) for task in tasks}
    try:
        with watcher:
            if said := engine.start(tasks):
                watcher.listener.note(said)
            while True:
                states = engine.poll()
                for task in tasks:
                    watcher.see(task, states[task.number], tails[task.number].lines())
                if all(states[task.number].ended for task in tasks):
                    return dict(states)
                time.sleep(engine.every)
    finally:
        if said := engine.stop():
            watcher.listener.note(said)


@dataclass(frozen=True)
class Failure:
    """A task that was not done, and how it ended."""

    task: Task
    state: State

    def __str__(self) -> str:
        tries = f"{self.state.tries} tries" if self.state.tries > 1 else "1 try"
        why = last_error(self.task.log) or self.state.ending
        return f"{self.task.name} after {tries} ({why}; see {self.task.log})"


def failures(engine: Engine, tasks: Sequence[Task], watcher: Watcher) -> dict[int, Failure]:
    """Have tasks done, if there are any, and give those that failed, by their numbers.

    Args:
        engine: Runs them.
        tasks: Of which none stops another.
        watcher: Shows how they stand.
    """
    states = follow(engine, tasks, watcher) if tasks else {}
    ended = [Failure(task, states[task.number]) for task in tasks]
    return {one.task.number: one for one in ended if one.state.phase != "done"}


def told(failed: Sequence[Failure], total: int, what: str) -> str:
    """What failed, in words.

    Args:
        failed: At least one.
        total: How many there are, those that were done before included.
        what: They are.
    """
    return f"{len(failed)} of {total} {what} failed: {'; '.join(map(str, failed))}"


class Tail:
    """What is added to a text file from now on.

    Args:
        path: The file; it may come later.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = path.stat().st_size if path.exists() else 0

    def lines(self) -> list[str]:
        """What was said since the last call, in whole lines."""
        return [line for line in self.all_lines() if not line.startswith(BEGINS)]

    def all_lines(self) -> list[str]:
        """The same, with the lines of what was begun."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                added = file.read()
        except FileNotFoundError:
            return []
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        return whole.decode("utf-8", "replace").splitlines()


def begun_on(log: Path) -> Callable[[], list[str]]:
    """Where a task is begun from now on: a function that gives all places so far, by its log."""
    tail, places = Tail(log), list[str]()

    def look() -> list[str]:
        begun = [line for line in tail.all_lines() if line.startswith(BEGINS)]
        places.extend(line.rpartition(PLACE)[2] for line in begun)
        return places

    return look


def last_error(log: Path) -> str:
    """What a log says went wrong in the last try; empty where it says nothing of the kind."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - END_OF_LOG))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        if line.startswith("error: "):
            return line.removeprefix("error: ")
        if line.startswith(BEGINS):
            break
    return ""
