"""What a report tells, as plain values: ``pipeline`` gathers them, ``report.page`` shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kaggle_salt.competition.decision import Rule
from kaggle_salt.ensembling.calibration import Calibration
from kaggle_salt.ensembling.thresholds import CrossFit, Decision


@dataclass(frozen=True)
class Missing:
    """Something that is not there yet, and the command that brings it, if one does."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class FoldFacts:
    """How the training of one fold went, or goes.

    Args:
        run: Name of its run.
        fold: Its number.
        state: Whether it was trained to the end.
        epochs: Epochs that are done.
        planned: Epochs of all its stages.
        seconds: What they took.
        history: A row for each epoch, as ``history.csv`` has it; None without a usable one.
        score: Out of fold at threshold .5 with TTA; None while it is not finished.
        parameters: Of its network; None while it is not finished.
    """

    run: str
    fold: int
    state: Literal["finished", "half done", "not begun"]
    epochs: int
    planned: int
    seconds: float = 0.0
    history: pd.DataFrame | None = None
    score: float | None = None
    parameters: int | None = None


@dataclass(frozen=True)
class Recipe:
    """How a run was configured.

    Args:
        run: Its name.
        config: Its ``config.toml``, whole.
        stages: For each stage its name, epochs, loss, optimiser, rate, schedule and what is kept.
        told: What its manifest says of seed, machine and data, by what it is called.
        versions: Of the packages that can change a number.
    """

    run: str
    config: str
    stages: Sequence[Mapping[str, object]]
    told: Mapping[str, str]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Scored:
    """Some tiles, and how well they come out.

    Args:
        name: What they have in common.
        tiles: How many.
        score: Mean score, 0 to 1.
        interval: 95 % interval of ``score``.
        at_decision: Where ``score`` is that at .5, the score under the rule.
    """

    name: str
    tiles: int
    score: float
    interval: tuple[float, float]
    at_decision: float | None = None


@dataclass(frozen=True)
class Breakdown:
    """The score of every sort of tiles, the tiles being sorted in one way."""

    title: str
    about: str
    rows: Sequence[Scored]


@dataclass(frozen=True)
class AreaMap:
    """Mean score at every level with every one of some minimum areas.

    Args:
        areas: The minimum areas in pixels, ascending.
        scores: float64 ``[len(areas), 256]``.
    """

    areas: Sequence[int]
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class MemberFacts:
    """What a run is to an ensemble.

    Args:
        run: Its name.
        weight: Its share, 0 to 1.
        alone: Its own score, the decision cross-fitted.
        adds: What the ensemble loses without it.
        interval: 95 % interval of ``adds``, where it was measured.
    """

    run: str
    weight: float
    alone: float
    adds: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Gallery:
    """Tiles to look at, predicted out of fold.

    Args:
        images: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``.
        truths: bool ``[N, H, W]``.
        probabilities: uint8 ``[N, H, W]``, probability = value / 255.
        masks: bool ``[N, H, W]``, what the rule makes of them.
        table: A row for each: ``id``, ``fold``, ``score`` (0 to 1), ``coverage`` (0 to 1),
            ``depth`` (feet, nan where unknown), ``coverage_class`` and ``type`` (text), ``edges``
            (that cut its salt), ``truth``, ``predicted`` and ``hit`` (pixels), and ``borderline``
            (bool).
        left_out: Tiles beyond those here, for want of room.
    """

    images: NDArray[np.uint8]
    truths: NDArray[np.bool_]
    probabilities: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    table: pd.DataFrame
    left_out: int = 0


@dataclass(frozen=True, eq=False)
class Judged:
    """All that out-of-fold tiles say.

    Args:
        score: The one to quote: no tile had a part in the choice that it is scored under.
        interval: 95 % interval of ``score``.
        tiles: How many tiles.
        chosen: What was chosen without the tiles: the decision, or weights and decision.
        decision: The rule chosen on all tiles, and its score there.
        parts: The rules that ``score`` was measured with, by what was left out; may be empty.
        rows: Scores of each fold, each run and the blend.
        breakdowns: Scores by sort of tile.
        curve: Columns ``threshold`` and ``score``.
        areas: The map of threshold and minimum area.
        calibration: How far the probabilities can be believed.
        gallery: Tiles to look at.
    """

    score: float
    interval: tuple[float, float]
    tiles: int
    chosen: str
    decision: Decision
    parts: Mapping[int, Rule]
    rows: Sequence[Scored]
    breakdowns: Sequence[Breakdown]
    curve: pd.DataFrame
    areas: AreaMap
    calibration: Calibration
    gallery: Gallery


@dataclass(frozen=True, eq=False)
class Facts:
    """All of a report.

    Args:
        name: Of the run or ensemble.
        kind: Which of them it is.
        about: What it is, in a few words each.
        missing: What is not there yet.
        caveats: Why the score may be too high; a sentence each.
        folds: Every fold of every run.
        judged: None where no fold is finished.
        members: The runs of an ensemble of several.
        recipes: The configuration of each run that has one.
    """

    name: str
    kind: Literal["run", "ensemble"]
    about: Sequence[str]
    missing: Sequence[Missing]
    caveats: Sequence[str]
    folds: Sequence[FoldFacts]
    judged: Judged | None
    members: Sequence[MemberFacts]
    recipes: Sequence[Recipe]


def rules_of(honest: CrossFit) -> dict[int, Rule]:
    """The rule chosen without each part."""
    return {part: found.rule for part, found in honest.decisions.items()}
