"""What neighbours' masks are worth: the steps that look at them, judged on the training tiles.

At submission a test tile may have any training tile beside it. So in all judgements here a
training tile is told by all other training tiles, whatever their folds, and never by itself:
leave-one-out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.neighbourhood import Neighbourhood, read_mosaics
from kaggle_salt.competition.postprocess import STEPS, Postprocessing, TileContext
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.ensembling.bootstrap import bootstrap_interval
from kaggle_salt.ensembling.histograms import TileHistograms
from kaggle_salt.ensembling.thresholds import tile_scores
from kaggle_salt.errors import DataError
from kaggle_salt.pipeline.workspace import Listener
from kaggle_salt.storage.files import file_hash

#: Name of the row of all steps together.
TOGETHER = "together"


@dataclass(frozen=True)
class LeftOut:
    """How well a step that looks at neighbours tells masks that are left out.

    Args:
        step: Its name.
        what: What it does.
        tiles: Training tiles whose masks it tells, each from the masks of others.
        score: Mean competition score of what it tells; None where there is no tile.
        test_tiles: Test tiles whose masks it tells.
    """

    step: str
    what: str
    tiles: int
    score: float | None
    test_tiles: int


@dataclass(frozen=True)
class Gain:
    """What a step that looks at neighbours adds to a rule, out of fold.

    Args:
        step: Its name, or :data:`TOGETHER`.
        tiles: Out-of-fold tiles whose masks it tells.
        without: Mean score of these tiles without it; None where there is none.
        score: Their mean score with it.
        gain: Of the mean score of all out-of-fold tiles.
        interval: 95 % bootstrap interval of ``gain`` over the tiles.
        test_tiles: Test tiles whose masks it tells.
    """

    step: str
    tiles: int
    without: float | None
    score: float | None
    gain: float
    interval: tuple[float, float]
    test_tiles: int


@dataclass(frozen=True, eq=False)
class Mosaic:
    """A table of mosaics that was given: its file, the file's hash, and what lies where."""

    path: Path
    hash: str
    neighbourhood: Neighbourhood

    @classmethod
    def open(cls, path: Path, competition: Competition) -> Mosaic:
        """Read a table, and make sure that it is about these tiles.

        Raises:
            DataError: It is missing, no such table, or about other tiles.
        """
        table = read_mosaics(path, [*competition.ids, *competition.test_ids])
        row_of = {tile: row for row, tile in enumerate(competition.ids)}
        return cls(path, file_hash(path), Neighbourhood(table, row_of, competition.masks))

    def as_json(self, gains: tuple[Gain, ...]) -> dict[str, Any]:
        """What an ensemble's document says of it."""
        return {
            "file": str(self.path),
            "hash": self.hash,
            "rules": [asdict(gain) for gain in gains],
        }


def judge_steps(
    mosaic: Mosaic | None,
    counted: TileHistograms,
    rule: Rule,
    competition: Competition,
    listener: Listener,
) -> tuple[Gain, ...]:
    """What each step of a rule that looks at neighbours adds, and all of them together.

    The tiles that a step tells had no say in the rule's level and area: their scores are the
    same at every one.

    Args:
        mosaic: The table of mosaics.
        counted: The out-of-fold tiles, which know of the steps.
        rule: The rule.
        competition: Its test tiles.
        listener: Warned of a step that loses.

    Returns:
        Nothing where the rule has no such step.
    """
    steps = [name for name in rule.steps if STEPS[name].of_neighbours]
    if mosaic is None or not steps:
        return ()
    test = _told(tiles_to_submit(competition, mosaic.neighbourhood), steps)
    rows = [_gain(name, (name,), counted, rule, test) for name in steps]
    for row in rows:
        if row.gain < 0:
            others = [f"--post {name}" for name in rule.steps if name != row.step]
            listener.warn(
                f"the step {row.step} loses {-row.gain:.4f} out of fold; without it: "
                f"{' '.join(others) or '--post none'}"
            )
    return (*rows, _gain(TOGETHER, tuple(steps), counted, rule, test))


def told_mosaic(
    told: Mapping[str, Any] | None, competition: Competition, again: str
) -> Neighbourhood | None:
    """The neighbourhood of an ensemble that was made with a table of mosaics.

    Args:
        told: What the ensemble's document says of the table; None without any.
        competition: The tiles.
        again: The command that makes the ensemble again.

    Raises:
        DataError: The table is missing, or is not the one that the ensemble was made with.
    """
    if told is None:
        return None
    mosaic = Mosaic.open(Path(told["file"]), competition)
    if mosaic.hash != told["hash"]:
        raise DataError(
            f"{mosaic.path} has changed since the ensemble was made",
            expected="the table of mosaics that its rule was judged with",
            next_step=again,
        )
    return mosaic.neighbourhood


def tiles_to_submit(competition: Competition, neighbourhood: Neighbourhood | None) -> TileContext:
    """What steps may look at of the test tiles."""
    return TileContext(competition.test_ids, competition.test_images, neighbourhood)


def leave_one_out(competition: Competition, neighbourhood: Neighbourhood) -> tuple[LeftOut, ...]:
    """Judge every step that looks at neighbours, without a network."""
    steps = [name for name, step in STEPS.items() if step.of_neighbours]
    tiles = TileContext(competition.ids, competition.images, neighbourhood)
    judged = Postprocessing.of(steps, tiles, competition.masks).settled
    test = _told(tiles_to_submit(competition, neighbourhood), steps)
    rows = []
    for name in steps:
        tenths = judged[name][judged[name] >= 0]
        score = float(tenths.mean()) / 10 if len(tenths) else None
        rows.append(LeftOut(name, STEPS[name].what, len(tenths), score, int(test[name].sum())))
    return tuple(rows)


def _told(tiles: TileContext, steps: list[str]) -> dict[str, NDArray[np.bool_]]:
    """For each step the tiles whose masks it tells, bool ``[N]``."""
    return {
        name: settles(tiles).tiles for name in steps if (settles := STEPS[name].settles) is not None
    }


def _gain(
    name: str,
    steps: tuple[str, ...],
    counted: TileHistograms,
    rule: Rule,
    test: Mapping[str, NDArray[np.bool_]],
) -> Gain:
    left = replace(rule, steps=tuple(step for step in rule.steps if step not in steps))
    before, after = tile_scores(counted, left), tile_scores(counted, rule)
    told = counted.settled_by(steps) >= 0
    return Gain(
        step=name,
        tiles=int(told.sum()),
        without=float(before[told].mean()) if told.any() else None,
        score=float(after[told].mean()) if told.any() else None,
        gain=float((after - before).mean()),
        interval=bootstrap_interval(after - before),
        test_tiles=int(np.any([test[step] for step in steps], axis=0).sum()),
    )
