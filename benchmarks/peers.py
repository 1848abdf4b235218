"""What people use instead, each made to answer the question that ours answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import rlemasklib
from numpy.typing import NDArray

#: Rounded as a quotient is: an IoU that equals one of them does not exceed it.
IOU_THRESHOLDS = np.arange(10, 20) / 20


def histogram2d_scores(
    truth: NDArray[np.bool_], probabilities: NDArray[np.uint8], levels: Sequence[int]
) -> list[float]:
    """The classic kernel: a histogram of two bins by two for each level and tile, IoU from it.

    Args:
        truth: Masks ``[N, H, W]``.
        probabilities: Likewise, 0 to 255.
        levels: What a pixel must exceed to be salt.

    Returns:
        The tiles' mean score at each level.
    """
    tiles = list(zip(truth, probabilities, strict=True))
    return [
        float(np.mean([_histogram2d_score(mask, values > level) for mask, values in tiles]))
        for level in levels
    ]


def _histogram2d_score(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """A tile's score, the background treated as one more object and then left out.

    The kernels let ``histogram2d`` find the range of the values, and so misjudge a mask with
    one value only; here the range is given.
    """
    labels, found = truth.astype(np.int32), predicted.astype(np.int32)
    intersection = np.histogram2d(labels.ravel(), found.ravel(), bins=2, range=[[0, 1], [0, 1]])[0]
    area_true = np.histogram(labels, bins=2, range=(0, 1))[0][:, np.newaxis]
    area_found = np.histogram(found, bins=2, range=(0, 1))[0][np.newaxis]
    union = area_true + area_found - intersection
    intersection, union = intersection[1:, 1:], union[1:, 1:]
    intersection[intersection == 0] = 1e-9
    union[union == 0] = 1e-9
    iou = intersection / union
    precisions = []
    for threshold in IOU_THRESHOLDS:
        matches = iou > threshold
        hits = np.sum(np.sum(matches, axis=1) == 1)
        wrong = np.sum(np.sum(matches, axis=0) == 0)
        missed = np.sum(np.sum(matches, axis=1) == 0)
        precisions.append(hits / (hits + wrong + missed))
    return float(np.mean(precisions))


def rlemasklib_runs(masks: NDArray[np.bool_]) -> list[str]:
    """Kaggle's strings of masks ``[N, H, W]``.

    Made of the lengths of background and salt in turn, background first.
    """
    texts = []
    for encoded in rlemasklib.encode(masks, compressed=False, batch_first=True):
        counts, words, pixel = encoded["ucounts"].tolist(), [], 1
        for background, salt in zip(counts[::2], counts[1::2], strict=False):
            pixel += background
            words += [str(pixel), str(salt)]
            pixel += salt
        texts.append(" ".join(words))
    return texts
