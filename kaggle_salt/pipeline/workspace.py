"""Where a competition's files lie, and who is told how the work goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from kaggle_salt.competition.tiles import Competition
from kaggle_salt.runs import FoldFolder

#: What stands before the name of an ensemble where a run has the same.
ENSEMBLE = "ensemble/"

#: Called with (done, total).
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Workspace:
    """Folders and files that the commands share; the defaults are those of the command line.

    A path given as text becomes one.
    """

    data: Path = Path("data")
    runs: Path = Path("runs")
    folds: Path = Path("folds/folds.csv")
    submissions: Path = Path("submissions")

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, Path(getattr(self, field.name)))

    @classmethod
    def under(cls, folder: str | Path) -> Workspace:
        """The default layout inside ``folder``."""
        default = cls()
        return cls(
            data=folder / default.data,
            runs=folder / default.runs,
            folds=folder / default.folds,
            submissions=folder / default.submissions,
        )

    @property
    def ensembles(self) -> Path:
        return self.runs / "ensemble"

    def known_names(self) -> set[str]:
        """Names of the runs and ensembles that are there, to offer the nearest of."""
        places = ("*/config.toml", "*/manifest.json", "ensemble/*/ensemble.json")
        return {path.parent.name for place in places for path in self.runs.glob(place)}

    def trained_runs(self) -> list[str]:
        """Names of the runs with a finished fold; the one whose fold was finished last is last."""
        summaries = self.runs.glob("*/fold*/fold.json")
        by_time = sorted(summaries, key=lambda path: path.stat().st_mtime)
        latest_first = dict.fromkeys(path.parent.parent.name for path in reversed(by_time))
        return list(latest_first)[::-1]

    def open(self, listener: Listener) -> Competition:
        """Open the competition's tiles, decoding them on the first time."""
        competition = Competition.open(self.data, progress=listener.progress("decoding tiles"))
        for note in competition.notes:
            listener.note(note)
        return competition


class Listener:
    """Follows the work and says nothing; the command line's own prints and draws bars."""

    def note(self, text: str) -> None:
        """Take note of something worth knowing."""

    def warn(self, text: str) -> None:
        """Take note of something that may be wrong."""

    def progress(self, title: str) -> Progress:
        """Give the callback of one piece of work."""
        return lambda done, total: None

    def fold_starts(self, folder: FoldFolder) -> None:
        """A fold is taken up, or was finished before."""

    def epoch_starts(self, title: str, steps: int) -> None:
        """An epoch of so many optimiser steps begins."""

    def steps_done(self, steps: int, loss: float) -> None:
        """So many steps of the epoch are behind, with this mean loss."""

    def epoch_ends(self, row: dict[str, object], epochs_left: float) -> None:
        """The epoch is over; ``row`` is its line of the history, the rest in such epochs."""
