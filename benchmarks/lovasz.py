"""The Lovász hinge, forward and backward, beside segmentation_models_pytorch's."""

from __future__ import annotations

from collections.abc import Callable

import segmentation_models_pytorch as smp
import torch
from torch import Tensor

from benchmarks.harness import Measurement, Setting, in_turn, item, require_equal
from kaggle_salt.learning.losses import lovasz_hinge

#: Input of the resnet34 preset, and passes that are timed at once: one alone is too short.
SIDE, CALLS = 128, 10

#: Margins of correct logits late in training: 95 % exceed 1, and so have no hinge loss.
MARGIN, SPREAD = 6.0, 3.04

#: Losses, and gradients as parts of the largest, may differ so much.
TOLERANCE = 1e-6

#: Logits and target, 0 or 1, both float ``[B, 1, H, W]``, to a scalar.
LossFunction = Callable[[Tensor, Tensor], Tensor]


def smp_lovasz() -> LossFunction:
    """The peer."""
    loss: LossFunction = smp.losses.LovaszLoss("binary", per_image=True)
    return loss


@item("lovasz", "ms", 2.5, peer="smp LovaszLoss")
def lovasz(setting: Setting) -> Measurement:
    """Lovász hinge of 32 tiles of 128 pixels squared, late in training, with its gradient."""
    logits, target = _late_in_training(setting)
    peer = smp_lovasz()
    our_loss, our_gradient = _loss_and_gradient(lovasz_hinge, logits, target)
    peers_loss, peers_gradient = _loss_and_gradient(peer, logits, target)
    difference = (our_gradient - peers_gradient).abs().max() / peers_gradient.abs().max()
    require_equal(float((our_loss - peers_loss).abs()) <= TOLERANCE, "losses", "LovaszLoss")
    require_equal(float(difference) <= TOLERANCE, "gradients", "LovaszLoss")

    def calls(loss: LossFunction) -> Callable[[], object]:
        return lambda: [_loss_and_gradient(loss, logits, target) for _ in range(CALLS)]

    to_ms = 1000 / CALLS
    return in_turn(calls(lovasz_hinge), calls(peer), setting.size.pairs, scales=(to_ms, to_ms))


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
