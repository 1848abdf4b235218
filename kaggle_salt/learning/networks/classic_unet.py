"""The classic U-Net of the competition's first public kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kaggle_salt.learning.networks.blocks import ConvNormAct, double


def _double_conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(ConvNormAct(inputs, outputs), ConvNormAct(outputs, outputs))


class ClassicUnet(nn.Module):
    """U-Net: conv-conv-pool downwards, transposed convolution and skip upwards.

    Args:
        channels: Input channels.
        widths: Channels of each level, from full resolution to the bottom. Input sides must be
            multiples of ``2 ** (len(widths) - 1)``.
        dropout: Share of values dropped after each pool and each skip.

    Source: Ronneberger, Fischer, Brox, MICCAI 2015, as adapted by H. Lamba's tutorial on this
    competition, whose blocks use one of their two convolutions by mistake; these use both.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        dropout: float = 0.05,
    ) -> None:
        super().__init__()
        inputs = [channels, *widths[:-1]]
        self.down = nn.ModuleList(_double_conv(i, o) for i, o in zip(inputs, widths, strict=True))
        self.pool = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(dropout))
        above, below = list(widths[-2::-1]), list(widths[:0:-1])
        self.lift = nn.ModuleList(double(b, a) for b, a in zip(below, above, strict=True))
        self.up = nn.ModuleList(_double_conv(2 * a, a) for a in above)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, convs in enumerate(self.down):
            x = convs(x if level == 0 else self.pool(x))
            skips.append(x)
        for lift, convs, skip in zip(self.lift, self.up, skips[-2::-1], strict=True):
            x = convs(self.drop(torch.cat([lift(x), skip], dim=1)))
        logits: Tensor = self.head(x)
        return logits  # [B, 1, S, S]
