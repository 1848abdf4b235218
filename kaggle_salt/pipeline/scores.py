"""Out-of-fold scores of folds, runs and their blend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kaggle_salt.competition.tiles import Competition
from kaggle_salt.ensembling.histograms import TileHistograms, count_tiles
from kaggle_salt.ensembling.thresholds import Decision, score_at
from kaggle_salt.predictions import Predictions


@dataclass(frozen=True)
class ScoreRow:
    """One line of the score table, out of fold; ``interval`` belongs to ``at_half``."""

    name: str
    tiles: int
    at_half: float
    interval: tuple[float, float]
    at_decision: float


@dataclass(frozen=True)
class Truth:
    """Masks and fold numbers of the training tiles, looked up by id."""

    masks: NDArray[np.bool_]
    row_of: Mapping[str, int]
    fold_of: Mapping[str, int]

    @classmethod
    def of(cls, competition: Competition, table: pd.DataFrame) -> Truth:
        """The truth of a competition under a fold table."""
        row_of = {tile: row for row, tile in enumerate(competition.ids)}
        fold_of = dict(zip(table["id"].tolist(), table["fold"].tolist(), strict=True))
        return cls(competition.masks, row_of, fold_of)

    def count(self, predicted: Predictions) -> TileHistograms:
        """Histograms of the predicted tiles, in their order."""
        return count_tiles(self.masks_of(predicted.ids), predicted.probabilities)

    def masks_of(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Masks of some tiles, bool ``[N, H, W]``."""
        return self.masks[[self.row_of[tile] for tile in ids]]

    def folds(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Fold number of some tiles, int64 ``[N]``."""
        return np.array([self.fold_of[tile] for tile in ids], dtype=np.int64)


def score_table(
    runs: Mapping[str, Predictions],
    blended: TileHistograms,
    truth: Truth,
    decision: Decision,
) -> list[ScoreRow]:
    """Score every fold, every run where there are several, and the blend.

    Args:
        runs: Out-of-fold predictions of each run.
        blended: Histograms of their blend.
        truth: Masks and folds.
        decision: The decision chosen on the blend.
    """
    rows = []
    several = len(runs) > 1
    for run, predicted in runs.items():
        histograms, folds = truth.count(predicted), truth.folds(predicted.ids)
        for fold in np.unique(folds).tolist():
            name = f"{run}, fold {fold}"
            rows.append(_score_row(name, histograms.take(folds == fold), decision))
        if several:
            rows.append(_score_row(f"{run}, all its folds", histograms, decision))
    last = "blend" if several else f"{next(iter(runs))}, all its folds"
    return [*rows, _score_row(last, blended, decision)]


def missing_folds(trained: Sequence[int], table: pd.DataFrame) -> tuple[int, ...]:
    """Folds of the table that are not among the trained ones."""
    return tuple(sorted(set(table["fold"].tolist()) - set(trained)))


def _score_row(name: str, histograms: TileHistograms, decision: Decision) -> ScoreRow:
    half = score_at(histograms)
    chosen = score_at(histograms, decision.level, decision.min_area)
    return ScoreRow(name, len(histograms), half.score, half.interval, chosen.score)
