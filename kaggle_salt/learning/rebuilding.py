"""The pretext ``masked``: a tile is rebuilt of which blocks are hidden and noise is added."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kaggle_salt.config.schema import InputConfig, PretextConfig
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.steps import Measured, Step

#: Keeps tiles of nearly one grey level from weighing more than all others together.
LEAST_VARIANCE = 0.1


class RebuildingStep(Step):
    """The whole network rebuilds a tile of which blocks are hidden and noise is added.

    Its one output, which will be logits, is the grey level meanwhile. The loss is taken where
    the input does not say it: on what is hidden, and with noise everywhere.

    Sources: He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, for blocks
    that are hidden; Vincent et al., "Extracting and Composing Robust Features with Denoising
    Autoencoders", ICML 2008.
    """

    def __init__(
        self, config: PretextConfig, network: nn.Module, framing: Framing, compute: Compute
    ) -> None:
        self.config, self.network = config, network
        self.framing, self.compute = framing, compute

    def loss(self, batch: Sequence[Tensor]) -> Tensor:
        """Of tiles uint8 ``[B, H, W]`` or ``[B, H, W, 3]``, alone in the batch."""
        [tiles] = batch
        inputs = self.framing.prepare(tiles)  # [B, C, S, T]
        spoilt, hidden = spoil(inputs, self.config)
        made = self.compute.forward(self.network, spoilt)  # [B, 1, S, T]
        counted = torch.ones_like(hidden) if self.config.noise else hidden
        return rebuilding_loss(made, grey_of(inputs, self.framing.config), counted)

    def measure(self, train_loss: float) -> Measured:
        return Measured({}, train_loss)


def spoil(inputs: Tensor, config: PretextConfig) -> tuple[Tensor, Tensor]:
    """Add noise to network inputs, and hide blocks: they become the mean grey.

    Args:
        inputs: float32 ``[B, C, S, T]``.
        config: How many blocks, and how much noise.

    Returns:
        The spoilt inputs, and where they are hidden, float32 ``[B, 1, S, T]`` of 0 and 1. In each
        tile as many blocks are hidden.
    """
    count, _, *shape = inputs.shape
    down, across = (max(round(config.blocks * side / min(shape)), 1) for side in shape)
    order = torch.rand(count, down * across, device=inputs.device).argsort(dim=1)
    blocks = (order < round(config.hidden * down * across)).float().view(count, 1, down, across)
    hidden = F.interpolate(blocks, size=shape, mode="nearest")
    noisy = inputs + config.noise * torch.randn_like(inputs) if config.noise else inputs
    return noisy * (1 - hidden), hidden


def grey_of(inputs: Tensor, config: InputConfig) -> Tensor:
    """The grey level in network inputs, float32 ``[B, 1, S, T]``; of colours the channels' mean."""
    if config.channels == "grey+depth":
        return inputs[:, :1]
    return inputs.mean(dim=1, keepdim=True)


def rebuilding_loss(made: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    """Mean squared error where it counts, in variances of the tile.

    1 is what the tile's own mean would get: seismic tiles differ tenfold in their contrast, and
    the strongest would be all that is learnt.

    Args:
        made: float32 ``[B, 1, S, T]``.
        wanted: The same.
        counted: Of 0 and 1, the same.

    Returns:
        Scalar float32.
    """
    variance = wanted.var(dim=(1, 2, 3), keepdim=True, correction=0) + LEAST_VARIANCE
    error = (made - wanted).square() / variance
    return (error * counted).sum() / counted.sum().clamp(min=1)
