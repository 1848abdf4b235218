"""What people use instead, each made to answer the question that ours answers.

``*_scores`` give the mean score of some tiles at some levels, ``*_runs`` the run-length strings
of some masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import rlemasklib
import segmentation_models_pytorch as smp
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco
from torch import Tensor
from torchmetrics.functional.segmentation import mean_iou

#: Rounded as a quotient is: an IoU that equals one of them does not exceed it.
IOU_THRESHOLDS = np.arange(10, 20) / 20


def histogram2d_scores(
    truth: NDArray[np.bool_], probabilities: NDArray[np.uint8], levels: Sequence[int]
) -> list[float]:
    """The classic kernel: for each level and tile a histogram of two bins by two, and IoU from it.

    Args:
        truth: bool ``[N, H, W]``.
        probabilities: uint8 ``[N, H, W]``.
        levels: A pixel is salt when its value exceeds the level.

    Returns:
        Mean score at each level.
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


def numpy_scores(
    truth: NDArray[np.bool_], probabilities: NDArray[np.uint8], levels: Sequence[int]
) -> list[float]:
    """The same as :func:`histogram2d_scores`, all tiles of a level at once."""
    scores = []
    for level in levels:
        predicted = probabilities > level  # [N, H, W]
        intersection = np.count_nonzero(truth & predicted, axis=(1, 2))
        union = np.count_nonzero(truth | predicted, axis=(1, 2))
        iou = np.where(union == 0, 1, intersection / np.maximum(union, 1))  # [N]
        scores.append(float(np.mean(iou[:, np.newaxis] > IOU_THRESHOLDS)))
    return scores


def smp_scores(
    truth: NDArray[np.bool_], probabilities: NDArray[np.uint8], levels: Sequence[int]
) -> list[float]:
    """The same with segmentation_models_pytorch's ``get_stats`` and ``iou_score``."""
    target, values = _with_channel(truth).long(), _with_channel(probabilities)  # [N, 1, H, W]
    scores = []
    for level in levels:
        stats = smp.metrics.get_stats((values > level).long(), target, mode="binary")
        iou = smp.metrics.iou_score(*stats, reduction="none", zero_division=1.0)  # [N, 1]
        scores.append(_mean_score(iou))
    return scores


def torchmetrics_scores(
    truth: NDArray[np.bool_], probabilities: NDArray[np.uint8], levels: Sequence[int]
) -> list[float]:
    """The same with torchmetrics' ``mean_iou``, which knows the IoU of every tile of a batch."""
    target, values = _with_channel(truth), _with_channel(probabilities)  # [N, 1, H, W]
    scores = []
    for level in levels:
        iou = mean_iou(values > level, target, num_classes=1, per_class=True)  # [N, 1]
        scores.append(_mean_score(torch.where(iou < 0, 1, iou)))  # -1: both masks are empty
    return scores


def _with_channel(array: NDArray[np.bool_] | NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(array)[:, None]


def _mean_score(iou: Tensor) -> float:
    """Mean score of tiles with these IoUs, float32 ``[N, 1]``."""
    return float((iou > torch.arange(10, 20) / 20).double().mean())


def numpy_runs(masks: NDArray[np.bool_]) -> list[str]:
    """The classic kernel: where a mask with a zero before and behind it changes.

    Args:
        masks: bool ``[N, H, W]``.

    Returns:
        Kaggle's run-length string of each mask.
    """
    texts = []
    for mask in masks:
        pixels = np.concatenate([[0], mask.T.ravel(), [0]])
        runs = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
        runs[1::2] -= runs[::2]
        texts.append(" ".join(str(number) for number in runs))
    return texts


def pycocotools_runs(masks: NDArray[np.bool_]) -> list[str]:
    """The same with pycocotools, whose strings are then unpacked into numbers."""
    column_major = np.asfortranarray(masks.transpose(1, 2, 0).view(np.uint8))  # [H, W, N]
    return [_kaggle_string(_unpacked(rle["counts"])) for rle in coco.encode(column_major)]


def rlemasklib_runs(masks: NDArray[np.bool_]) -> list[str]:
    """The same with rlemasklib, which gives the numbers."""
    encoded = rlemasklib.encode(masks, compressed=False, batch_first=True)
    return [_kaggle_string(rle["ucounts"].tolist()) for rle in encoded]


def _unpacked(packed: Iterable[int]) -> list[int]:
    """The run lengths in COCO's string.

    A number is written in groups of five bits, the lowest first, each as a character from "0"
    on; the sixth bit says that more follow, the highest bit of the last group is the sign. From
    the fourth number on it is the difference from the number before the last.
    """
    counts: list[int] = []
    value = shift = 0
    for character in packed:
        group = character - 48
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    return counts


def _kaggle_string(counts: Sequence[int]) -> str:
    """Kaggle's string of runs of background and salt in turn, background first."""
    words, pixel = [], 1
    for background, salt in zip(counts[::2], counts[1::2], strict=False):  # background may end it
        pixel += background
        words += [str(pixel), str(salt)]
        pixel += salt
    return " ".join(words)
