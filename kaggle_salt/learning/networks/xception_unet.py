"""A residual decoder on the Xception encoder."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import torch
from segmentation_models_pytorch.encoders.xception import XceptionEncoder
from torch import Tensor, nn

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks.blocks import PreActivationBlock, double

leaky_relu = partial(nn.LeakyReLU, 0.1, inplace=True)

#: What comes after the last map that is used: the exit flow's second half.
_EXIT = ("conv3", "bn3", "relu3", "conv4", "bn4")

#: Blocks whose map is taken before they pool it, and its channels: from 1/2 to 1/16 of the size.
_SKIPS = {"block1": 128, "block2": 256, "block3": 728, "block12": 1024}


class XceptionUnet(nn.Module):
    """U-Net with Xception going down, transposed convolutions and residual blocks going up.

    The skips are what Xception's strided blocks (2, 3, 4 and 13 of the paper) hold before they
    pool; what comes after the last of them is cut off. Its leaky map, pooled once more, is the
    middle's input.

    Args:
        encoder: smp's ``xception``, as from
            :func:`kaggle_salt.learning.networks.encoders.make_encoder`. Input sides must be
            multiples of 32.
        widths: Channels of the middle and of the five decoder levels, from the bottom up.
        dropout: Share of values dropped after each skip; half of it before the last convolution.

    Raises:
        ConfigError: The encoder is not smp's Xception.

    Source: LiuYuqing14/Salt-Image-Segmentation, ``encoder_Xception.py``; the encoder is
    Chollet's, CVPR 2017. What differs stands in docs/systems.md.
    """

    def __init__(
        self,
        encoder: nn.Module,
        widths: Sequence[int] = (512, 256, 128, 64, 32, 16),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not isinstance(encoder, XceptionEncoder):
            raise ConfigError(
                f"xception-unet cannot stand on a {type(encoder).__name__}",
                expected="smp's Xception",
                next_step="--set model.encoder=xception",
            )
        _cut_exit(encoder)
        self.encoder = encoder
        skips = [*list(_SKIPS.values())[::-1], 0]  # the last level is above all maps
        self.leak = nn.LeakyReLU(0.1)
        self.middle = nn.Sequential(
            nn.MaxPool2d(2), nn.Dropout(dropout), _level(_SKIPS["block12"], widths[0])
        )
        self.lift = nn.ModuleList(double(b, a) for b, a in itertools.pairwise(widths))
        self.up = nn.ModuleList(
            nn.Sequential(nn.Dropout(dropout), _level(width + skip, width))
            for width, skip in zip(widths[1:], skips, strict=True)
        )
        self.head = nn.Sequential(nn.Dropout(dropout / 2), nn.Conv2d(widths[-1], 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        *skips, last = self.encode(x)
        skips.append(self.leak(last))
        x = self.middle(skips[-1])
        for lift, level in zip(self.lift, self.up, strict=True):
            x = lift(x)
            if skips:
                x = torch.cat([x, skips.pop()], dim=1)
            x = level(x)
        logits: Tensor = self.head(x)
        return logits  # [B, 1, S, S]

    def encode(self, x: Tensor) -> list[Tensor]:
        """The maps before the pools of four blocks, 1/2 to 1/16 of the size."""
        for part in ("conv1", "bn1", "relu1", "conv2", "bn2", "relu2"):
            x = self.encoder.get_submodule(part)(x)
        maps = []
        for number in range(1, 13):
            block = self.encoder.get_submodule(f"block{number}")
            if f"block{number}" not in _SKIPS:
                x = block(x)
                continue
            *before, pool = block.rep
            maps.append(nn.Sequential(*before)(x))
            if number < 12:
                x = pool(maps[-1]) + block.skipbn(block.skip(x))
        return maps


def _cut_exit(encoder: nn.Module) -> None:
    """Take away the layers whose output nobody asks for."""
    for name in _EXIT:
        delattr(encoder, name)
    last = encoder.get_submodule("block12")
    del last.skip, last.skipbn


def _level(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        PreActivationBlock(outputs),
        PreActivationBlock(outputs),
        leaky_relu(),
    )
