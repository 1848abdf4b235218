"""Out-of-fold scores of folds, runs and their blend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.folds import TYPE
from kaggle_salt.competition.mask_types import TYPES
from kaggle_salt.competition.postprocess import STEPS, Postprocessing, TileContext
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.ensembling.histograms import TileHistograms, count_tiles
from kaggle_salt.ensembling.thresholds import score_at
from kaggle_salt.pipeline.blending.mosaic_rules import Mosaic
from kaggle_salt.pipeline.workspace import Listener
from kaggle_salt.predictions import Predictions

#: Mean score of the masks that a step knows from which on the step is taken unasked: what good
#: networks reach.
BORNE_OUT = 0.8


@dataclass(frozen=True)
class ScoreRow:
    """One line of the score table, out of fold; ``interval`` belongs to ``at_half``."""

    name: str
    tiles: int
    at_half: float
    interval: tuple[float, float]
    at_decision: float


@dataclass(frozen=True)
class TypeRow:
    """How well masks of one type come out under the rule; ``interval`` belongs to ``score``."""

    type: str
    tiles: int
    score: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Truth:
    """Masks, folds and types of the training tiles, looked up by id, and the steps to judge."""

    masks: NDArray[np.bool_]
    row_of: Mapping[str, int]
    fold_of: Mapping[str, int]
    post: Postprocessing = field(default_factory=Postprocessing)
    type_of: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, competition: Competition, table: pd.DataFrame, post: Postprocessing | None = None
    ) -> Truth:
        """The truth of a competition under a fold table; ``post`` is of its training tiles."""
        row_of = {tile: row for row, tile in enumerate(competition.ids)}
        ids = table["id"].tolist()
        fold_of = dict(zip(ids, table["fold"].tolist(), strict=True))
        type_of = dict(zip(ids, table[TYPE].tolist(), strict=True))
        return cls(competition.masks, row_of, fold_of, post or Postprocessing(), type_of)

    def count(self, predicted: Predictions) -> TileHistograms:
        """Histograms of the predicted tiles, in their order."""
        masks, post = self.masks_of(predicted.ids), self.post_of(predicted.ids)
        return count_tiles(masks, predicted.probabilities, post)

    def masks_of(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Masks of some tiles, bool ``[N, H, W]``."""
        return self.masks[self._rows(ids)]

    def post_of(self, ids: Sequence[str]) -> Postprocessing:
        """The steps that will be applied to some tiles."""
        return self.post.take(self._rows(ids))

    def folds(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Fold number of some tiles, int64 ``[N]``."""
        return np.array([self.fold_of[tile] for tile in ids], dtype=np.int64)

    def types(self, ids: Sequence[str]) -> NDArray[np.str_]:
        """Type of mask of some tiles, str ``[N]``."""
        return np.array([self.type_of[tile] for tile in ids], dtype=np.str_)

    def _rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        return np.array([self.row_of[tile] for tile in ids], dtype=np.int64)


def choose_postprocessing(
    given: Sequence[str] | None,
    competition: Competition,
    listener: Listener,
    mosaic: Mosaic | None = None,
) -> Postprocessing:
    """The steps after threshold and area: those given, or those the training tiles bear out.

    A step is borne out where it knows the masks of some training tiles, and what it knows scores
    :data:`BORNE_OUT` or more. One that depends on what was predicted is never chosen unasked,
    nor one that looks at neighbours without a table of mosaics.

    Args:
        given: Names of steps, in order; None leaves the choice to the training tiles.
        competition: The training tiles.
        listener: Told what the tiles say.
        mosaic: A table of mosaics, for steps that look at neighbours.

    Raises:
        ConfigError: There is no such step, one comes twice, or one needs mosaics.
    """
    around = mosaic.neighbourhood if mosaic else None
    tiles = TileContext(competition.ids, competition.images, around)
    if given is not None:
        return Postprocessing.of(given, tiles, competition.masks)
    candidates = [
        name
        for name, step in STEPS.items()
        if step.settles is not None and (mosaic is not None or not step.of_neighbours)
    ]
    borne_out = []
    for name, tenths in Postprocessing.of(candidates, tiles, competition.masks).settled.items():
        known = tenths[tenths >= 0]
        if not len(known):
            continue
        score = known.mean() / 10
        verdict = "taken" if score >= BORNE_OUT else "left out"
        listener.note(
            f"step {name} ({STEPS[name].what}): {verdict}, it scores {score:.3f} on the "
            f"{len(known)} such training tiles"
        )
        if score >= BORNE_OUT:
            borne_out.append(name)
    return Postprocessing.of(borne_out, tiles, competition.masks)


def score_table(
    runs: Mapping[str, Predictions],
    blended: TileHistograms,
    truth: Truth,
    rule: Rule,
) -> list[ScoreRow]:
    """Score every fold, every run where there are several, and the blend.

    Args:
        runs: Out-of-fold predictions of each run.
        blended: Histograms of their blend.
        truth: Masks and folds.
        rule: The rule chosen on the blend.
    """
    rows = []
    several = len(runs) > 1
    for run, predicted in runs.items():
        histograms, folds = truth.count(predicted), truth.folds(predicted.ids)
        for fold in np.unique(folds).tolist():
            name = f"{run}, fold {fold}"
            rows.append(_score_row(name, histograms.take(folds == fold), rule))
        if several:
            rows.append(_score_row(f"{run}, all its folds", histograms, rule))
    last = "blend" if several else f"{next(iter(runs))}, all its folds"
    return [*rows, _score_row(last, blended, rule)]


def type_table(
    blended: TileHistograms,
    types: NDArray[np.str_],
    rule: Rule,
    names: Sequence[str] = TYPES,
) -> tuple[TypeRow, ...]:
    """Score the masks of each type: where the score is earned, and where it is lost.

    Args:
        blended: N tiles, out of fold.
        types: Their types, str ``[N]``.
        rule: The rule chosen on them.
        names: All types, in order; other sorts of tiles can be scored as well.

    Returns:
        A row for each type that there is, in the order of ``names``.
    """
    rows = []
    for name in names:
        if (of_type := types == name).any():
            found = score_at(blended.take(of_type), rule)
            rows.append(TypeRow(name, int(of_type.sum()), found.score, found.interval))
    return tuple(rows)


def missing_folds(trained: Sequence[int], table: pd.DataFrame) -> tuple[int, ...]:
    """Folds of the table that are not among the trained ones."""
    return tuple(sorted(set(table["fold"].tolist()) - set(trained)))


def _score_row(name: str, histograms: TileHistograms, rule: Rule) -> ScoreRow:
    half, chosen = score_at(histograms), score_at(histograms, rule)
    return ScoreRow(name, len(histograms), half.score, half.interval, chosen.score)
