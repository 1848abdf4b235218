"""The search for the rule that turns probabilities into masks.

The rule itself stands in :mod:`kaggle_salt.competition.decision`. The search is exact: it
judges every level together with every minimum area that changes a mask, on masks as the steps
that follow will leave them.

The highest score is that of a jagged surface: a few tiles make the difference between one level
and the next, and on other tiles another peak is the highest. So the search takes what changes
least among all that the tiles cannot tell from the best: the one-standard-error rule (Breiman et
al., *Classification and Regression Trees*, 1984), on paired differences. What such a choice earns
on tiles that it has not seen is said by :func:`cross_fitted_score`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from kaggle_salt.competition.decision import LEVELS, PLAIN_RULE, Rule
from kaggle_salt.competition.metric import scores_from_counts
from kaggle_salt.ensembling.bootstrap import bootstrap_interval
from kaggle_salt.ensembling.histograms import TileHistograms, count_tiles
from kaggle_salt.ensembling.surface import Surface, blank_tenths
from kaggle_salt.errors import DataError

#: Parts that the tiles are dealt into when there is only one fold to cross-fit on.
RANDOM_PARTS = 5


@dataclass(frozen=True)
class Decision:
    """A rule, and what it earns.

    Args:
        rule: How probabilities become masks.
        score: Mean competition score of the tiles it was measured on, 0 to 1.
        interval: 95 % bootstrap interval of ``score`` over the tiles.
    """

    rule: Rule
    score: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class CrossFit:
    """What a searched rule earns on tiles that had no part in the search.

    Args:
        score: Mean competition score of all tiles, each under the rule chosen without its
            part, 0 to 1.
        interval: 95 % bootstrap interval of ``score`` over the tiles.
        decisions: For each part, the decision chosen on the other parts, with its score there.
    """

    score: float
    interval: tuple[float, float]
    decisions: Mapping[int, Decision]


def search(truth: NDArray[np.bool_], probabilities: NDArray[np.uint8]) -> Decision:
    """Find the level and the minimum area to decide by, as :func:`best_decision` chooses them.

    Args:
        truth: bool ``[N, H, W]``; may be memory-mapped.
        probabilities: uint8 ``[N, H, W]``, probability = value / 255; may be memory-mapped.

    Raises:
        DataError: There is no tile, or the arrays are not of these types and one shape.
    """
    return best_decision(count_tiles(truth, probabilities))


def best_decision(histograms: TileHistograms) -> Decision:
    """Find the level and the minimum area to decide by.

    In question are those that lose less than one standard error against the highest score of all:
    with the tenths of a score that each tile loses, those whose sum is 0, or has a square below
    the sum of the squares. Among them the choice falls as near as it can to changing nothing:
    first the smallest minimum area, then the level nearest to 127, then the lower of two levels
    as near.

    The steps that follow are those that the histograms know of; each counts as it will be
    applied, but for one that has to be applied to be judged: level and minimum area are chosen
    without it, and the score is with it.

    Score and interval are those of the very tiles that chose, and so a little too high;
    :func:`cross_fitted_score` has the honest ones.

    Raises:
        DataError: There is no tile.
    """
    if not len(histograms):
        raise DataError("there are no tiles to choose a threshold on", expected="at least one")
    level, min_area = Surface.of(histograms).choose()
    return score_at(histograms, Rule(level, min_area, histograms.post.steps))


def score_at(histograms: TileHistograms, rule: Rule = PLAIN_RULE) -> Decision:
    """Measure a given rule.

    Returns:
        The rule with its mean score and interval on these tiles.

    Raises:
        DataError: There is no tile, or the histograms do not know a step of the rule.
    """
    scores = tile_scores(histograms, rule)
    return Decision(rule, float(scores.mean()), bootstrap_interval(scores))


def cross_fitted_score(histograms: TileHistograms, parts: ArrayLike) -> CrossFit:
    """Score the search itself: each part under the rule chosen on the other parts.

    Args:
        histograms: N tiles.
        parts: int ``[N]``, the part each tile belongs to: its fold. Where all tiles are of one
            fold they are dealt into five random parts instead, the same at every call.

    Raises:
        DataError: There are fewer than two tiles, or not one part number for each.
    """
    numbers = cross_fit_parts(parts, len(histograms))
    decisions = cross_fitted_decisions(histograms, numbers)
    scores = np.empty(len(histograms))
    for part, decision in decisions.items():
        held_out = numbers == part
        scores[held_out] = tile_scores(histograms.take(held_out), decision.rule)
    return CrossFit(float(scores.mean()), bootstrap_interval(scores), decisions)


def cross_fitted_decisions(
    histograms: TileHistograms, parts: NDArray[np.integer]
) -> dict[int, Decision]:
    """For each part, the decision chosen on the other parts.

    Args:
        histograms: N tiles.
        parts: int ``[N]``, at least two different numbers; see :func:`cross_fit_parts`.
    """
    return {
        part: best_decision(histograms.take(parts != part)) for part in np.unique(parts).tolist()
    }


def cross_fit_parts(parts: ArrayLike, tiles: int) -> NDArray[np.integer]:
    """The parts to cross-fit on: those given, or random ones where they are all the same.

    Args:
        parts: int ``[N]``, the fold of each tile.
        tiles: N.

    Returns:
        int ``[N]``, at least two different numbers; the same at every call.

    Raises:
        DataError: There are fewer than two tiles, or not one part number for each.
    """
    numbers = np.asarray(parts)
    if numbers.shape != (tiles,) or not np.issubdtype(numbers.dtype, np.integer):
        raise DataError(f"parts: {numbers.dtype} {list(numbers.shape)}", expected=f"int [{tiles}]")
    if tiles < 2:
        raise DataError(f"{tiles} tiles cannot be cross-fitted", expected="at least two tiles")
    if np.unique(numbers).size > 1:
        return numbers
    return np.random.default_rng(0).permutation(np.arange(tiles) % RANDOM_PARTS)


def curve(histograms: TileHistograms, rule: Rule = PLAIN_RULE) -> pd.DataFrame:
    """Score at every level, for the threshold-versus-score picture.

    Args:
        histograms: The tiles.
        rule: Its minimum area and steps count, not its level; a step that has to be applied to
            be judged is left out.

    Returns:
        256 rows by ascending level, columns ``threshold`` (0 to 1) and ``score`` (0 to 1).
    """
    total = np.zeros(LEVELS, dtype=np.int64)
    settled = histograms.settled_by(rule.steps)[:, np.newaxis]
    for chunk, part in histograms.parts():
        blank = blank_tenths(part)[:, np.newaxis]
        tenths = np.where(part.predicted_area < rule.min_area, blank, part.tenths)  # [n, 256]
        total += np.where(settled[chunk] < 0, tenths, settled[chunk]).sum(axis=0, dtype=np.int64)
    thresholds = np.arange(LEVELS) / (LEVELS - 1)
    return pd.DataFrame({"threshold": thresholds, "score": total / len(histograms) / 10})


def tile_scores(histograms: TileHistograms, rule: Rule = PLAIN_RULE) -> NDArray[np.float64]:
    """Competition score of each tile under a given rule.

    Returns:
        float64 ``[N]``, each 0, .1, ..., 1.

    Raises:
        DataError: The histograms do not know a step of the rule.
    """
    if histograms.post.must_apply(rule.steps):
        return histograms.scores_by_applying(rule)
    above = slice(rule.level + 1, None)
    intersection = histograms.inside[:, above].sum(axis=1)
    predicted_area = intersection + histograms.outside[:, above].sum(axis=1)
    kept = predicted_area >= rule.min_area
    scores = scores_from_counts(intersection * kept, histograms.truth_area, predicted_area * kept)
    settled = histograms.settled_by(rule.steps)
    return np.where(settled < 0, scores, settled / 10)
