"""A residual decoder on the Xception encoder."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from kaggle_salt.learning.networks.blocks import PreActivationBlock, double
from kaggle_salt.learning.networks.encoders import stage_channels

leaky_relu = partial(nn.LeakyReLU, 0.1, inplace=True)


class XceptionUnet(nn.Module):
    """U-Net with Xception going down, transposed convolutions and residual blocks going up.

    Args:
        encoder: As from :func:`kaggle_salt.learning.networks.encoders.make_encoder`. Input
            sides must be multiples of 32.
        widths: Channels of the middle and of the five decoder levels, from the bottom up.
        dropout: Share of values dropped after each skip.

    Source: LiuYuqing14/Salt-Image-Segmentation, model 3; the encoder is Chollet's, CVPR 2017.
    """

    def __init__(
        self,
        encoder: nn.Module,
        widths: Sequence[int] = (512, 256, 128, 64, 32, 16),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        skips = [*stage_channels(encoder)[-2:0:-1], 0]  # the last level is above all maps
        self.middle = _level(stage_channels(encoder)[-1], widths[0])
        self.lift = nn.ModuleList(double(b, a) for b, a in itertools.pairwise(widths))
        self.up = nn.ModuleList(
            nn.Sequential(nn.Dropout(dropout), _level(width + skip, width))
            for width, skip in zip(widths[1:], skips, strict=True)
        )
        self.head = nn.Conv2d(widths[-1], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        _, *skips, last = self.encoder(x)
        x = self.middle(last)
        for lift, level in zip(self.lift, self.up, strict=True):
            x = lift(x)
            if skips:
                x = torch.cat([x, skips.pop()], dim=1)
            x = level(x)
        logits: Tensor = self.head(x)
        return logits  # [B, 1, S, S]


def _level(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        PreActivationBlock(outputs, act=leaky_relu),
        PreActivationBlock(outputs, act=leaky_relu),
        leaky_relu(),
    )
