"""The Lovász hinge, forward and backward, beside segmentation_models_pytorch's."""

from __future__ import annotations

from collections.abc import Callable

import segmentation_models_pytorch as smp
import torch
from torch import Tensor

from benchmarks.items import (
    Measurement,
    Setting,
    Target,
    item,
    require_equal,
)
from benchmarks.timing import in_turn, median_time
from kaggle_salt.learning.losses import lovasz_hinge

#: Input of the resnet34 preset.
SIDE = 128

#: Forward and backward passes that are timed at once: one alone is too short.
CALLS = 10

#: Margins of correct logits late in training: 95 % exceed 1, and so have no hinge loss.
MARGIN, SPREAD = 6.0, 3.04

#: Losses, and gradients as parts of the largest, may differ so much.
TOLERANCE = 1e-6

#: Logits and target, 0 or 1, both float ``[B, 1, H, W]``, to a scalar.
LossFunction = Callable[[Tensor, Tensor], Tensor]


@item("lovasz", "ms", Target(2.5), peer="smp LovaszLoss")
def lovasz(setting: Setting) -> Measurement:
    """Lovász hinge of 32 tiles of 128 pixels squared, late in training, with its gradient.

    Beside ``LovaszLoss("binary", per_image=True)``. Target: 2.5 times as fast.
    """
    logits, target = _late_in_training(setting)
    peer = smp_lovasz()
    our_loss, our_gradient = _loss_and_gradient(lovasz_hinge, logits, target)
    peers_loss, peers_gradient = _loss_and_gradient(peer, logits, target)
    difference = (our_gradient - peers_gradient).abs().max() / peers_gradient.abs().max()
    require_equal(float((our_loss - peers_loss).abs()) <= TOLERANCE, "losses", "LovaszLoss")
    require_equal(float(difference) <= TOLERANCE, "gradients", "LovaszLoss")
    return in_turn(
        _calls(lovasz_hinge, logits, target),
        _calls(peer, logits, target),
        setting.size.pairs,
        scales=(1000 / CALLS, 1000 / CALLS),
        equal=True,
    )


@item("lovasz-symmetric", "ms")
def lovasz_symmetric(setting: Setting) -> Measurement:
    """The same for the symmetric hinge with phi = elu, which no other library has."""

    def symmetric(logits: Tensor, target: Tensor) -> Tensor:
        return lovasz_hinge(logits, target, phi="elu", symmetric=True)

    logits, target = _late_in_training(setting)
    timed = median_time(_calls(symmetric, logits, target), setting.size.repeats)
    return Measurement(1000 * timed.ours / CALLS, details=timed.details)


def smp_lovasz() -> LossFunction:
    """The peer."""
    loss: LossFunction = smp.losses.LovaszLoss("binary", per_image=True)
    return loss


def _late_in_training(setting: Setting) -> tuple[Tensor, Tensor]:
    """Logits and target; a third of the tiles is empty, the others hold salt of any coverage.

    Where in a tile the salt lies makes no difference: the pixels are sorted.
    """
    draws = torch.Generator().manual_seed(0)
    batch, side = setting.size.batch, setting.size.input_side or SIDE
    coverage = (1.5 * torch.rand(batch, 1, 1, 1, generator=draws) - 0.5).clamp(min=0)
    target = (torch.rand(batch, 1, side, side, generator=draws) < coverage).float()
    margins = MARGIN + SPREAD * torch.randn(batch, 1, side, side, generator=draws)
    logits = (2 * target - 1) * margins
    return logits.to(setting.device), target.to(setting.device)


def _loss_and_gradient(loss: LossFunction, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


def _calls(loss: LossFunction, logits: Tensor, target: Tensor) -> Callable[[], None]:
    def call() -> None:
        for _ in range(CALLS):
            _loss_and_gradient(loss, logits, target)

    return call
