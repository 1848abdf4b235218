"""The competition's score: mean precision over ten IoU thresholds, one object per tile.

A tile scores the share of the thresholds .50, .55, ..., .95 that its intersection over union
strictly exceeds. Two empty masks score 1; exactly one empty mask scores 0.

The comparison ``intersection / union > k / 20`` is made in integers, so that an IoU that
equals a threshold is never rounded past it.

Source: https://www.kaggle.com/c/tgs-salt-identification-challenge/overview/evaluation
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_salt.competition.masks import Masks, as_bool
from kaggle_salt.errors import DataError


@dataclass(frozen=True)
class Agreement:
    """How well predicted masks agree with the true ones, in three ways.

    Args:
        score: The competition's, 0 to 1.
        accuracy: Share of all pixels that are alike, 0 to 1. Where most pixels are without salt
            it is high for predicting nothing.
        iou: Mean of intersection over union, 0 to 1, over the tiles with salt in the true mask
            or the predicted one; 0 for a tile with salt in one alone. Two empty masks have no
            union and do not count; nan where all tiles are such.
    """

    score: float
    accuracy: float
    iou: float


def agreement(truth: Masks, predicted: Masks) -> Agreement:
    """Measure score, pixel accuracy and mean IoU of a set of tiles.

    Args:
        truth: bool ``[N, H, W]``, or uint8 of 0 and 1.
        predicted: The same.

    Raises:
        DataError: There are no tiles, or the two are not masks of one shape.
    """
    shared, true_area, predicted_area = _counts(truth, predicted)
    scores = scores_from_counts(shared, true_area, predicted_area)
    mean_score = _mean(scores)
    union = true_area + predicted_area - shared
    some = union > 0
    return Agreement(
        score=mean_score,
        accuracy=1 - float((union - shared).sum()) / np.size(truth),
        iou=float((shared[some] / union[some]).mean()) if some.any() else float("nan"),
    )


def score(truth: Masks, predicted: Masks) -> float:
    """Score a set of tiles as the leaderboard does.

    Args:
        truth: bool ``[N, H, W]``, or uint8 of 0 and 1.
        predicted: The same.

    Returns:
        Mean of the tile scores, 0 to 1.

    Raises:
        DataError: There are no tiles, or the two are not masks of one shape.
    """
    return _mean(image_scores(truth, predicted))


def image_scores(truth: Masks, predicted: Masks) -> NDArray[np.float64]:
    """Score each tile.

    Args:
        truth: bool ``[N, H, W]``, or uint8 of 0 and 1.
        predicted: The same.

    Returns:
        float64 ``[N]``, each 0, .1, ..., 1.

    Raises:
        DataError: The two are not masks of one shape ``[N, H, W]``.
    """
    return scores_from_counts(*_counts(truth, predicted))


def scores_from_counts(
    intersection: ArrayLike, truth_area: ArrayLike, predicted_area: ArrayLike
) -> NDArray[np.float64]:
    """Score tiles whose pixels were already counted.

    Args:
        intersection: Salt pixels in both masks; integers of any shape.
        truth_area: Salt pixels in the true mask; broadcasts with the others.
        predicted_area: Salt pixels in the predicted mask; broadcasts with the others.

    Returns:
        float64 of the broadcast shape, each 0, .1, ..., 1.
    """
    shared = np.asarray(intersection, dtype=np.int64)
    truth = np.asarray(truth_area, dtype=np.int64)
    predicted = np.asarray(predicted_area, dtype=np.int64)
    union = truth + predicted - shared
    # For whole numbers 20 * shared > k * union means k <= (20 * shared - 1) // union, so the
    # quotient says at once how many of k = 10, ..., 19 hold. No intersection gives -1.
    highest = (20 * shared - 1) // np.maximum(union, 1)
    passed = np.clip(highest - 9, 0, 10)
    scores: NDArray[np.float64] = np.where(union == 0, 10, passed) / 10
    return scores


def _counts(
    truth: Masks, predicted: Masks
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Salt pixels of each tile in both masks, in the true one, and in the predicted one."""
    truth, predicted = as_bool(truth, "true masks"), as_bool(predicted, "predicted masks")
    if truth.shape != predicted.shape:
        raise DataError(
            f"predicted masks are {list(predicted.shape)}",
            expected=f"{list(truth.shape)}, as the true",
        )
    return _areas(truth & predicted), _areas(truth), _areas(predicted)


def _mean(scores: NDArray[np.float64]) -> float:
    if not scores.size:
        raise DataError("there are no tiles to score", expected="at least one tile")
    return float(scores.mean())


def _areas(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    areas: NDArray[np.int64] = np.count_nonzero(masks, axis=(1, 2))
    return areas
