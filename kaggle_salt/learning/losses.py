"""Losses on logits, batched and in float32: cross-entropy, Dice, focal, the Lovász hinge.

Each is computed tile by tile, ``[B]``, before it is averaged: a mean over the tiles that have
salt is then a product with a mask, for which no GPU has to wait.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kaggle_salt.config import LossConfig
from kaggle_salt.learning.outputs import Outputs

#: A training loss: a network's outputs and the target ``[B, 1, H, W]`` to a scalar.
Loss = Callable[[Outputs, Tensor], Tensor]

Phi = Literal["relu", "elu"]

#: Logits and target ``[B, ...]`` to the loss of every tile, float32 ``[B]``.
_PerTile = Callable[[Tensor, Tensor], Tensor]


def make_loss(config: LossConfig) -> Loss:
    """The loss that a stage's ``[stage.loss]`` table describes.

    With L the loss called ``config.name`` ("a+b" is the mean of both) and L+ its mean over the
    tiles that have salt (0 if none has)::

        L(logits) + side_weight * (sum of L+(side) over the side outputs)
                  + nonempty_weight * L+(nonempty)
                  + empty_weight * BCE(has_salt, whether the tile has salt)

    The first term is L+ too with ``ignore_empty``. What a network has no head for falls away;
    in evaluation mode all but the first term do.

    Two of the competition's best losses are settings of this formula, both with the symmetric
    Lovász hinge (phi = elu) as L:

    * 4th place (SeuTao): L(logits) + .5 L+(nonempty) + .05 BCE, no side outputs.
    * 9th place (tugstugi/pytorch-saltnet): L(logits) + .1 sum of L+(side) + .05 BCE, no branch
      for tiles with salt.

    Args:
        config: The table. Its weights default to those above.

    Returns:
        A function of outputs, with maps of logits float ``[B, 1, H, W]``, and of the target,
        bool or 0/1 of the same shape, to a scalar float32.
    """
    per_tile = _named(config)

    def loss(outputs: Outputs, target: Tensor) -> Tensor:
        has_salt = target.flatten(1).any(dim=1)  # [B]
        final = per_tile(outputs.logits, target)  # [B]
        total = _mean_where(has_salt, final) if config.ignore_empty else final.mean()
        for side in outputs.sides:
            total = total + config.side_weight * _mean_where(has_salt, per_tile(side, target))
        if outputs.nonempty is not None:
            nonempty = per_tile(outputs.nonempty, target)  # [B]
            total = total + config.nonempty_weight * _mean_where(has_salt, nonempty)
        if outputs.has_salt is not None:
            empty = binary_cross_entropy(outputs.has_salt[:, None], has_salt[:, None])
            total = total + config.empty_weight * empty
        return total

    return loss


def _named(config: LossConfig) -> _PerTile:
    losses: dict[str, _PerTile] = {
        "bce": _cross_entropy,
        "dice": _dice,
        "focal": partial(_focal, gamma=config.gamma),
        "lovasz": partial(_lovasz, phi=config.phi, symmetric=config.symmetric),
    }
    parts = [losses[name] for name in config.name.split("+")]
    return lambda f, y: torch.stack([part(f, y) for part in parts]).mean(dim=0)


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over all pixels of ``log(1 + exp(-f))`` for salt and ``log(1 + exp(f))`` for the rest.

    Args:
        logits: float ``[B, ...]``, any float type.
        target: bool or 0/1 of the same shape.

    Returns:
        Scalar float32.
    """
    return _cross_entropy(logits, target).mean()


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Soft Dice loss, per tile, averaged over tiles.

    With p = sigmoid(f) it is 1 - (2 sum(p y) + 1) / (sum(p) + sum(y) + 1). The ones keep it
    defined on an empty tile, where it falls with sum(p).

    Args:
        logits: float ``[B, ...]``, any float type; everything behind B is one tile.
        target: bool or 0/1 of the same shape.

    Returns:
        Scalar float32 in [0, 1).

    Source: Milletari, Navab, Ahmadi, "V-Net", 3DV 2016, there with squares in the denominator.
    """
    return _dice(logits, target).mean()


def focal_loss(logits: Tensor, target: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Cross-entropy that counts easy pixels less: mean over all pixels of -(1 - p)^gamma log p.

    p is the probability given to the pixel's right class; the two classes weigh the same.

    Args:
        logits: float ``[B, ...]``, any float type.
        target: bool or 0/1 of the same shape.
        gamma: How little easy pixels count; 0 is plain cross-entropy.

    Returns:
        Scalar float32.

    Source: Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", ICCV 2017.
    """
    return _focal(logits, target, gamma).mean()


def lovasz_hinge(
    logits: Tensor,
    target: Tensor,
    *,
    phi: Phi = "relu",
    symmetric: bool = False,
    ignore_empty: bool = False,
) -> Tensor:
    """Lovász hinge: a convex surrogate of the Jaccard loss, per tile, averaged over tiles.

    For a tile with logits f and labels y the margin errors m = 1 - f(2y - 1) are sorted,
    largest first, and weighted with the increase g of the Jaccard loss as the pixels are
    counted as wrong one after another: loss = sum of phi(m) g.

    Args:
        logits: float ``[B, ...]``, any float type; everything behind B is one tile.
        target: bool or 0/1 of the same shape.
        phi: ``relu`` is the paper's; ``elu`` means elu(m) + 1, which keeps a gradient for
            pixels beyond the margin.
        symmetric: Mean of the loss and of the loss of (-f, 1 - y). On an empty tile the plain
            loss gives a gradient to one pixel only; the mirrored term reaches all of them.
        ignore_empty: Average over the tiles that have salt; 0 if there is none.

    Returns:
        Scalar float32.

    Source: Berman, Rannen Triki, Blaschko, "The Lovász-Softmax loss", CVPR 2018, algorithm 1.
    """
    per_tile = _lovasz(logits, target, phi, symmetric)  # [B]
    if not ignore_empty:
        return per_tile.mean()
    return _mean_where(target.flatten(1).any(dim=1), per_tile)


def _mean_where(chosen: Tensor, per_tile: Tensor) -> Tensor:
    """Mean of ``per_tile [B]`` over the tiles ``chosen``, bool ``[B]``; 0 if there is none."""
    return (per_tile * chosen).sum() / chosen.sum().clamp(min=1)


def _flat(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float32 ``[B, P]``."""
    return logits.flatten(1).float(), target.flatten(1).float()


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    f, y = _flat(logits, target)  # [B, P]
    return F.binary_cross_entropy_with_logits(f, y, reduction="none").mean(dim=1)


def _dice(logits: Tensor, target: Tensor) -> Tensor:
    f, y = _flat(logits, target)  # [B, P]
    p = f.sigmoid()
    return 1 - (2 * (p * y).sum(dim=1) + 1) / (p.sum(dim=1) + y.sum(dim=1) + 1)


def _focal(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    f, y = _flat(logits, target)  # [B, P]
    margin = f * (2 * y - 1)
    # (1 - p)^gamma through its logarithm: as a power it has no gradient where 1 - p rounds to 0
    factor = (gamma * F.logsigmoid(-margin)).exp()
    return -(factor * F.logsigmoid(margin)).mean(dim=1)


def _lovasz(logits: Tensor, target: Tensor, phi: Phi, symmetric: bool) -> Tensor:
    f, y = _flat(logits, target)  # [B, P]
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
