"""Losses on logits, batched and in float32: binary cross-entropy and the Lovász hinge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kaggle_salt.config import LossConfig

#: A training loss: logits ``[B, 1, H, W]`` and target ``[B, 1, H, W]`` to a scalar.
Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(config: LossConfig) -> Loss:
    """The loss that a stage's ``[stage.loss]`` table describes."""

    def lovasz(logits: Tensor, target: Tensor) -> Tensor:
        return lovasz_hinge(logits, target, phi=config.phi, symmetric=config.symmetric)

    def both(logits: Tensor, target: Tensor) -> Tensor:
        return 0.5 * (binary_cross_entropy(logits, target) + lovasz(logits, target))

    losses = {"bce": binary_cross_entropy, "lovasz": lovasz, "bce+lovasz": both}
    return losses[config.name]


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over all pixels of ``log(1 + exp(-f))`` for salt and ``log(1 + exp(f))`` for the rest.

    Args:
        logits: float ``[B, ...]``, any float type.
        target: bool or 0/1 of the same shape.

    Returns:
        Scalar float32.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), target.float())


def lovasz_hinge(
    logits: Tensor,
    target: Tensor,
    *,
    phi: Literal["relu", "elu"] = "relu",
    symmetric: bool = False,
    ignore_empty: bool = False,
) -> Tensor:
    """Lovász hinge: a convex surrogate of the Jaccard loss, per tile, averaged over tiles.

    For a tile with logits f and labels y the margin errors m = 1 - f(2y - 1) are sorted,
    largest first, and weighted with the increase g of the Jaccard loss as the pixels are
    counted as wrong one after another: loss = sum of phi(m) g.

    Args:
        logits: float ``[B, ...]``; everything behind B is one tile. Computed in float32,
            under autocast as well.
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
    with torch.autocast(logits.device.type, enabled=False):
        scores = logits.flatten(1).float()  # [B, P]
        labels = target.flatten(1).to(scores.dtype)  # [B, P]
        per_tile = _lovasz_per_tile(scores, labels, phi)  # [B]
        if symmetric:
            per_tile = 0.5 * (per_tile + _lovasz_per_tile(-scores, 1 - labels, phi))
        if not ignore_empty:
            return per_tile.mean()
        has_salt = labels.amax(dim=1)  # [B]
        return (per_tile * has_salt).sum() / has_salt.sum().clamp(min=1)


def _lovasz_per_tile(scores: Tensor, labels: Tensor, phi: str) -> Tensor:
    margins = 1 - scores * (2 * labels - 1)  # [B, P]
    margins, order = margins.sort(dim=1, descending=True)
    weights = _jaccard_increments(labels.gather(1, order))
    outer = F.elu(margins) + 1 if phi == "elu" else F.relu(margins)
    return (outer * weights).sum(dim=1)


def _jaccard_increments(labels: Tensor) -> Tensor:
    """How much each further wrong pixel adds to the Jaccard loss; ``[B, P]``, rows sum to 1."""
    salt_so_far = labels.cumsum(dim=1)
    salt = salt_so_far[:, -1:]
    rest_so_far = torch.arange(1, labels.shape[1] + 1, device=labels.device) - salt_so_far
    jaccard = 1 - (salt - salt_so_far) / (salt + rest_so_far)
    return torch.diff(jaccard, dim=1, prepend=torch.zeros_like(salt))
