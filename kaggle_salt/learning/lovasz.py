"""The Lovász hinge, tile by tile, and the sort that it spends its time on."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

#: The hinge's outer function; ``elu`` means elu + 1.
Phi = Literal["relu", "elu"]


def lovasz_of_tiles(logits: Tensor, target: Tensor, phi: Phi, symmetric: bool) -> Tensor:
    """The loss of each tile; see :func:`kaggle_salt.learning.losses.lovasz_hinge`.

    Args:
        logits: float ``[B, ...]``, any float type; everything behind B is one tile.
        target: bool or 0/1 of the same shape.
        phi: The outer function.
        symmetric: Mean of the loss and of the loss of (-f, 1 - y).

    Returns:
        float32 ``[B]``.
    """
    f, y = logits.flatten(1).float(), target.flatten(1).float()  # [B, P]
    margins = 1 - f * (2 * y - 1)
    order = _largest_that_count(margins, phi)  # [B, K]
    labels, salt = y.gather(1, order), y.sum(dim=1, keepdim=True)  # [B, K], [B, 1]
    weights = _jaccard_increments(labels, salt)
    if symmetric:  # (-f, 1 - y) has the same margins, and so the same order
        weights = 0.5 * (weights + _jaccard_increments(1 - labels, y.shape[1] - salt))
    sorted_margins = margins.gather(1, order)
    outer = F.elu(sorted_margins) + 1 if phi == "elu" else F.relu(sorted_margins)
    return (outer * weights).sum(dim=1)


def _largest_that_count(margins: Tensor, phi: Phi) -> Tensor:
    """Where the margins that count are, the largest first, int64 ``[B, K]``.

    With relu only the positive ones count, late in training a small share, which is found
    faster than it is sorted. How many they are would make a GPU wait, so there all are sorted.
    """
    if phi == "relu" and margins.device.type == "cpu":
        positive = int((margins > 0).sum(dim=1).max())
        if positive < margins.shape[1] / 8:
            return margins.topk(max(positive, 1), dim=1).indices
    return largest_first(margins)


def _jaccard_increments(labels: Tensor, salt: Tensor) -> Tensor:
    """How much each further wrong pixel adds to the Jaccard loss.

    Args:
        labels: 0/1 ``[B, K]`` of the pixels in their order.
        salt: How many pixels of the whole tile are 1, ``[B, 1]``.

    Returns:
        float32 ``[B, K]``; a row of all the tile's pixels sums to 1.
    """
    salt_so_far = labels.cumsum(dim=1)
    rest_so_far = torch.arange(1, labels.shape[1] + 1, device=labels.device) - salt_so_far
    jaccard = 1 - (salt - salt_so_far) / (salt + rest_so_far)
    return torch.diff(jaccard, dim=1, prepend=torch.zeros_like(salt))


def largest_first(values: Tensor) -> Tensor:
    """Where the largest number of each row lies, the second largest, and so on.

    On a CPU it is a radix sort of the numbers' bits, 16 at a time, two to three times as fast
    as torch's sort on one or two cores. Elsewhere it is torch's.

    Args:
        values: float32 ``[B, P]``; where a NaN comes to stand is not said.

    Returns:
        int64 ``[B, P]``, the indices that sort each row in descending order. On a CPU equal
        numbers stay in the order they come in.
    """
    if values.device.type != "cpu":
        return values.argsort(dim=1, descending=True)
    bits = _ascending_bits(values.detach())
    low = _stable_order(bits.short())  # .short() keeps the lower half
    high = (bits >> 16).short().gather(1, low)
    return low.gather(1, _stable_order(high))


def _ascending_bits(values: Tensor) -> Tensor:
    """Integers, unsigned in int32, that ascend where the numbers descend; ``[B, P]`` both.

    A float's bits ascend with it if it is positive, and descend if it is negative, with the
    sign bit set.
    """
    bits = (values + 0).view(torch.int32)  # + 0 makes -0 a plain 0
    return torch.where(bits < 0, bits, bits ^ 0x7FFFFFFF)


def _stable_order(halves: Tensor) -> Tensor:
    """Argsort of rows of unsigned 16-bit numbers in int16; NumPy has a radix sort for those."""
    order = np.argsort(halves.numpy().view(np.uint16), axis=1, kind="stable")
    return torch.from_numpy(order)
