"""Every level with every minimum area: what each pair earns, and which the tiles can tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.decision import DEFAULT_LEVEL, LEVELS
from kaggle_salt.ensembling.histograms import TileHistograms

#: In place of a minimum area: none of the level is in question.
NONE = -1


@dataclass(frozen=True, eq=False)
class Surface:
    """What every level and minimum area earns, from the masks' areas.

    A tile that a step settles earns the same at every level, emptied or not.

    Args:
        areas: int32 ``[256, N]``, pixels of the mask at each level.
        tenths: int8 ``[256, N]``, ten times its score.
        blank: int8 ``[N]``, ten times the score of an empty mask.
    """

    areas: NDArray[np.int32]
    tenths: NDArray[np.int8]
    blank: NDArray[np.int8]

    @classmethod
    def of(cls, histograms: TileHistograms) -> Self:
        """From the tiles' histograms, with their steps."""
        areas = np.empty((LEVELS, len(histograms)), dtype=np.int32)
        tenths = np.empty((LEVELS, len(histograms)), dtype=np.int8)
        blank = blank_tenths(histograms)
        for chunk, part in histograms.parts():
            areas[:, chunk] = part.predicted_area.T
            tenths[:, chunk] = part.tenths.T
        settled = histograms.settled_by(histograms.post.steps)
        rows = np.flatnonzero(settled >= 0)
        areas[:, rows], tenths[:, rows], blank[rows] = 0, settled[rows], settled[rows]
        return cls(areas, tenths, blank)

    def choose(self) -> tuple[int, int]:
        """The level and the minimum area that change least, of those that are in question."""
        totals, at_best = self._best_of_levels()
        min_areas = np.full(LEVELS, NONE, dtype=np.int64)
        for level in range(LEVELS):
            kept = at_best - self.tenths[level]
            emptied = at_best - self.blank
            least = totals.max() - totals[level]  # that is lost, at any minimum area
            most = np.maximum(kept * kept, emptied * emptied).sum()  # that squares come to
            if least == 0 or least * least < most:
                lost = self._by_min_area(level, kept, emptied)
                squares = self._by_min_area(level, kept * kept, emptied * emptied)
                in_question = (lost == 0) | (lost * lost < squares)
                min_areas[level] = in_question.argmax() if in_question.any() else NONE
        return _least_change(min_areas)

    def _best_of_levels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What the best minimum area of each level earns, and each tile's tenths at the best."""
        totals, min_areas = np.empty((2, LEVELS), dtype=np.int64)
        for level in range(LEVELS):
            earned = self._by_min_area(level, self.tenths[level], self.blank)
            min_areas[level] = earned.argmax()  # the least of those that are equally good
            totals[level] = earned[min_areas[level]]
        level, min_area = _least_change(np.where(totals == totals.max(), min_areas, NONE))
        stays = self.areas[level] >= min_area
        return totals, np.where(stays, self.tenths[level], self.blank).astype(np.int64)

    def _by_min_area(
        self, level: int, kept: NDArray[np.integer], emptied: NDArray[np.integer]
    ) -> NDArray[np.int64]:
        """Sum over the tiles at every minimum area, of one number if a mask stays, else of another.

        What emptying the masks of each area would change is added up over the areas.

        Returns:
            int64: at [0] nothing is emptied, at [k] are the masks of fewer than k pixels.
        """
        # whole numbers, and exact as floats
        change_of_area = np.bincount(self.areas[level], weights=emptied - kept)
        changes = np.concatenate([[0.0], np.cumsum(change_of_area)])
        return np.int64(kept.sum(dtype=np.int64)) + changes.astype(np.int64)


def blank_tenths(histograms: TileHistograms) -> NDArray[np.int8]:
    """Ten times the score of an empty prediction for each tile, int8 ``[N]``."""
    return np.where(histograms.truth_area == 0, 10, 0).astype(np.int8)


def _least_change(min_areas: NDArray[np.int64]) -> tuple[int, int]:
    """The level with the smallest minimum area, then nearest to one half, then lower; its area."""
    levels = np.flatnonzero(min_areas != NONE)
    first = np.lexsort((levels, np.abs(levels - DEFAULT_LEVEL), min_areas[levels]))[0]
    return int(levels[first]), int(min_areas[levels[first]])
