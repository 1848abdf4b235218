"""Losses on logits, batched and in float32: cross-entropy, Dice, focal, the Lovász hinge.

Each is computed tile by tile, ``[B]``, before it is averaged: a mean over the tiles that have
salt is then a product with a mask, for which no GPU has to wait.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kaggle_salt.config.stage import LossConfig
from kaggle_salt.learning.lovasz import Phi, lovasz_of_tiles
from kaggle_salt.learning.outputs import Outputs

#: Logits and target ``[B, ...]`` to the loss of every tile, float32 ``[B]``.
_PerTile = Callable[[Tensor, Tensor], Tensor]


class Loss:
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
    """

    def __init__(self, config: LossConfig) -> None:
        self.config = config
        self._per_tile = _named(config)

    def __call__(self, outputs: Outputs, target: Tensor) -> Tensor:
        """The training loss of a batch.

        Args:
            outputs: With maps of logits float ``[B, 1, H, W]``.
            target: Of the same shape: bool, or from 0 to 1. Soft labels are taken as they are
                by ``bce`` and ``dice``; to the others a pixel above .5 is salt.

        Returns:
            Scalar float32.
        """
        config, per_tile = self.config, self._per_tile
        has_salt = _salt(target).flatten(1).any(dim=1)  # [B]
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

    def of_tiles(self, logits: Tensor, target: Tensor) -> Tensor:
        """The first term for each tile that it counts; a mean over batches needs their number.

        Args:
            logits: float ``[B, 1, H, W]``.
            target: bool or 0/1 of the same shape.

        Returns:
            float32 ``[K]``; K is B, or with ``ignore_empty`` the number of tiles with salt.
        """
        final = self._per_tile(logits, target)  # [B]
        return final[_salt(target).flatten(1).any(dim=1)] if self.config.ignore_empty else final


def make_loss(config: LossConfig) -> Loss:
    """See :class:`Loss`."""
    return Loss(config)


def _named(config: LossConfig) -> _PerTile:
    losses: dict[str, _PerTile] = {
        "bce": _cross_entropy,
        "dice": _dice,
        "focal": lambda f, y: _focal(f, _salt(y), config.gamma),
        "lovasz": lambda f, y: lovasz_of_tiles(f, _salt(y), config.phi, config.symmetric),
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
    per_tile = lovasz_of_tiles(logits, target, phi, symmetric)  # [B]
    if not ignore_empty:
        return per_tile.mean()
    return _mean_where(target.flatten(1).any(dim=1), per_tile)


def _mean_where(chosen: Tensor, per_tile: Tensor) -> Tensor:
    """Mean of ``per_tile [B]`` over the tiles ``chosen``, bool ``[B]``; 0 if there is none."""
    return (per_tile * chosen).sum() / chosen.sum().clamp(min=1)


def _salt(target: Tensor) -> Tensor:
    """Which pixels are salt rather than not, bool of the target's shape."""
    return target > 0.5


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
