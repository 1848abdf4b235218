"""A small residual U-Net that two CPU cores can train in minutes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kaggle_salt.learning.networks.blocks import (
    ConvNormAct,
    EmptyHead,
    ScSE,
    SideHeads,
    resize,
    with_dense_gradient,
)
from kaggle_salt.learning.outputs import Outputs


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the second starts at zero, so does the branch."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = ConvNormAct(inputs, outputs, stride=stride)
        self.second = ConvNormAct(outputs, outputs, act=None)
        nn.init.zeros_(self.second[1].weight)  # type: ignore[arg-type]
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            projection = ConvNormAct(inputs, outputs, kernel=1, act=None)
            self.shortcut = nn.Sequential(nn.AvgPool2d(stride, ceil_mode=True), projection)
        elif inputs != outputs:
            self.shortcut = ConvNormAct(inputs, outputs, kernel=1, act=None)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.shortcut(x), inplace=True)


class Compact(nn.Module):
    """Residual encoder at half resolution, light decoder with scSE, summed hypercolumn.

    The stem halves the resolution once and nothing is pooled before the first stage, as the
    best solutions of the competition do with their encoders; the last convolution predicts
    four logits for each position, which are laid out as 2x2 pixels.

    Args:
        channels: Input channels.
        widths: Channels of the encoder's stages; each stage after the first halves the size.
        depths: Residual blocks of each stage.
        decoder: Channels of the decoder's stages, from the bottom up.
        hypercolumn: Channels to which every decoder output is projected before they are summed.
        deep_supervision: In training, each map of the decoder but the last, the encoder's own
            last among them, has logits of its own.
        empty_head: As :class:`kaggle_salt.learning.networks.unet.SmpUnet` has it.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        depths: Sequence[int] = (2, 2, 2, 2),
        decoder: Sequence[int] = (64, 48, 32),
        hypercolumn: int = 24,
        *,
        deep_supervision: bool = False,
        empty_head: bool = False,
    ) -> None:
        super().__init__()
        self.stem = ConvNormAct(channels, widths[0], kernel=5, stride=2)
        inputs = [widths[0], *widths[:-1]]
        self.encoder = nn.ModuleList(
            _stage(i, o, depth, stride=1 if level == 0 else 2)
            for level, (i, o, depth) in enumerate(zip(inputs, widths, depths, strict=True))
        )
        below = [widths[-1], *decoder[:-1]]
        self.decoder = nn.ModuleList(
            nn.Sequential(ConvNormAct(b + skip, o), ConvNormAct(o, o), ScSE(o))
            for b, skip, o in zip(below, widths[-2::-1], decoder, strict=True)
        )
        maps = (widths[-1], *decoder)
        self.project = nn.ModuleList(nn.Conv2d(c, hypercolumn, 1) for c in maps)
        self.empty_head: EmptyHead | None = None
        seen = hypercolumn
        if empty_head:
            branch = _pixel_head(hypercolumn)
            self.empty_head = EmptyHead(widths[-1], branch, width=hypercolumn)
            seen += hypercolumn
        self.side_heads = SideHeads(maps[:-1] if deep_supervision else ())
        self.fuse = _pixel_head(seen)

    def forward(self, x: Tensor) -> Tensor | Outputs:
        x = self.stem(x)  # [B, w0, S/2, S/2]
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        full = skips[0].shape[-2:]
        maps = [x]
        column = resize(self.project[0](x), full)
        for stage, project, skip in zip(self.decoder, self.project[1:], skips[-2::-1], strict=True):
            x = with_dense_gradient(F.interpolate(x, size=skip.shape[-2:], mode="nearest"))
            x = stage(torch.cat([x, skip], dim=1))
            maps.append(x)
            column = column + resize(project(x), full)  # [B, hypercolumn, S/2, S/2]
        nonempty = has_salt = None
        if self.empty_head is not None:
            column, nonempty, has_salt = self.empty_head(maps[0], column)
        logits: Tensor = self.fuse(column)  # [B, 1, S, S]
        if not self.training or (self.empty_head is None and not self.side_heads):
            return logits
        sides = self.side_heads(maps, logits.shape[-2:])
        return Outputs(logits, sides, nonempty, has_salt)


def _stage(inputs: int, outputs: int, depth: int, stride: int) -> nn.Sequential:
    first = ResidualBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(ResidualBlock(outputs, outputs, 1) for _ in range(depth - 1)))


def _pixel_head(column: int) -> nn.Sequential:
    """Four logits for each position of the hypercolumn, laid out as 2x2 pixels."""
    return nn.Sequential(
        nn.BatchNorm2d(column),
        nn.ReLU(inplace=True),
        ConvNormAct(column, 32),
        nn.Conv2d(32, 4, 1),
        nn.PixelShuffle(2),
    )
