"""A residual U-Net without an encoder of anyone else's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kaggle_salt.learning.networks.blocks import PreActivationBlock, double


class ResUnet(nn.Module):
    """U-Net whose levels are a convolution and two pre-activation residual blocks.

    Max-pools lead down, transposed 3x3 convolutions up, skips are concatenated.

    Args:
        channels: Input channels.
        widths: Channels of each level, from full resolution to the bottom. Input sides must be
            multiples of ``2 ** (len(widths) - 1)``.
        dropout: Share of values dropped after each pool and each skip; half of it after the
            first pool.

    Source: LiuYuqing14/Salt-Image-Segmentation, ``model_construct.py``, after the
    competition's public kernels.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        inputs = [channels, *widths[:-1]]
        self.down = nn.ModuleList(_level(i, o) for i, o in zip(inputs, widths, strict=True))
        self.pools = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), nn.Dropout(dropout if level else dropout / 2))
            for level in range(len(widths) - 1)
        )
        above, below = list(widths[-2::-1]), list(widths[:0:-1])
        self.lift = nn.ModuleList(double(b, a) for b, a in zip(below, above, strict=True))
        self.up = nn.ModuleList(nn.Sequential(nn.Dropout(dropout), _level(2 * a, a)) for a in above)
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = [self.down[0](x)]
        for pool, level in zip(self.pools, self.down[1:], strict=True):
            skips.append(level(pool(skips[-1])))
        x = skips.pop()
        for lift, level in zip(self.lift, self.up, strict=True):
            x = level(torch.cat([lift(x), skips.pop()], dim=1))
        logits: Tensor = self.head(x)
        return logits  # [B, 1, S, S]


def _level(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        PreActivationBlock(outputs),
        PreActivationBlock(outputs),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
