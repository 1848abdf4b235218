"""The ResNet U-Net of the competition's winners."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.encoders.resnet import ResNetEncoder
from torch import Tensor, nn

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks.blocks import (
    ConvNormAct,
    HypercolumnHead,
    ScSE,
    double,
    hypercolumn,
    resize,
)
from kaggle_salt.learning.networks.encoders import halve_once_less, stage_channels

elu = partial(nn.ELU, inplace=True)


class SaltResnet(nn.Module):
    """U-Net on a ResNet with scSE after every stage, an FPA centre and a hypercolumn.

    Args:
        encoder: A ResNet of smp's, as from
            :func:`kaggle_salt.learning.networks.encoders.make_encoder`. Input sides must be
            multiples of 32, or of 16 without the max-pool.
        decoder: How its levels rise: bilinear interpolation and two convolutions
            (``upsample``), or a transposed convolution beside a projected skip (``transposed``).
        keep_resolution: ``pool`` leaves the encoder's max-pool out, as the winners did.
        width: Channels of each decoder level.
        dropout: Share of the hypercolumn's maps dropped.

    Raises:
        ConfigError: The encoder is no ResNet of smp's.

    Source: ybabakhin/kaggle_salt_bes_phalanx, the 1st place.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: Literal["upsample", "transposed"] = "upsample",
        *,
        keep_resolution: Literal["none", "pool"] = "pool",
        width: int = 64,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        _check_encoder(encoder)
        halve_once_less(encoder, keep_resolution)
        self.encoder = encoder
        _, stem, *stages = stage_channels(encoder)
        self.gates = nn.ModuleList(ScSE(channels) for channels in stages)
        self.centre = FPA(stages[-1], 4 * width)
        # without the max-pool the stem's map is as large as the first stage's, and needs no level
        self.stem_is_skip = keep_resolution == "none"
        skips = [*stages[-2::-1], *([stem] if self.stem_is_skip else []), 0]
        below = [4 * width, *[width] * (len(skips) - 1)]
        level = UpsampledLevel if decoder == "upsample" else TransposedLevel
        self.levels = nn.ModuleList(
            level(inputs, skip, width) for inputs, skip in zip(below, skips, strict=True)
        )
        self.head = HypercolumnHead(width * len(skips), dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        *skips, x = self._encode(x)
        x = self.centre(x)
        outputs = []
        for level in self.levels:
            x = level(x, skips.pop() if skips else None)
            outputs.append(x)
        logits: Tensor = self.head(hypercolumn(outputs))
        return logits  # [B, 1, S, S]

    def _encode(self, x: Tensor) -> list[Tensor]:
        """The gated maps of the stages, each half as large as the one before."""
        for part in ("conv1", "bn1", "relu"):
            x = self.encoder.get_submodule(part)(x)
        maps = [x] if self.stem_is_skip else []
        x = self.encoder.get_submodule("maxpool")(x)
        for number, gate in enumerate(self.gates, start=1):
            x = gate(self.encoder.get_submodule(f"layer{number}")(x))
            maps.append(x)
        return maps


class FPA(nn.Module):
    """Feature pyramid attention, second version: a map weighed by what two coarser ones see.

    With a = conv5x5 of stride 2 (x) and b = conv3x3 of stride 2 (a), it gives
    conv1x1(x) * up(conv5x5(a) + up(conv3x3(b))) + conv1x1(mean of x). Norm and ELU follow each
    convolution but the last, which sees a single pixel.

    Source: Li, Xiong, An, Wang, "Pyramid attention network", BMVC 2018, as the 1st place
    shortened it.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.to_half = ConvNormAct(inputs, inputs, 5, stride=2, act=elu)
        self.to_quarter = ConvNormAct(inputs, inputs, 3, stride=2, act=elu)
        self.from_half = ConvNormAct(inputs, outputs, 5, act=elu)
        self.from_quarter = ConvNormAct(inputs, outputs, 3, act=elu)
        self.project = ConvNormAct(inputs, outputs, 1, act=elu)
        self.everywhere = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        half = self.to_half(x)
        quarter = self.from_quarter(self.to_quarter(half))
        attention = self.from_half(half) + resize(quarter, half.shape[-2:])
        out: Tensor = self.project(x) * resize(attention, x.shape[-2:]) + self.everywhere(x)
        return out  # [B, outputs, h, w]


class UpsampledLevel(nn.Module):
    """Bilinear x2, the skip beside it (channels 0: none), two convolutions, scSE."""

    def __init__(self, below: int, skip: int, width: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvNormAct(below + skip, width), ConvNormAct(width, width), ScSE(width)
        )

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="bilinear")
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        level: Tensor = self.convs(x)
        return level  # [B, width, 2h, 2w]


class TransposedLevel(nn.Module):
    """A transposed convolution and the projected skip, half the width each, then scSE.

    Where there is no skip (channels 0) the transposed convolution has the whole width.
    """

    def __init__(self, below: int, skip: int, width: int) -> None:
        super().__init__()
        projected = width // 2 if skip else 0
        self.lift = double(below, width - projected, kernel=2)
        self.project = nn.Conv2d(skip, projected, 1) if skip else nn.Identity()
        self.finish = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True), ScSE(width))

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = self.lift(x)
        if skip is not None:
            x = torch.cat([x, self.project(skip)], dim=1)
        level: Tensor = self.finish(x)
        return level  # [B, width, 2h, 2w]


def _check_encoder(encoder: nn.Module) -> None:
    if not isinstance(encoder, ResNetEncoder):
        raise ConfigError(
            f"salt-resnet cannot stand on a {type(encoder).__name__}",
            expected="a ResNet of smp's: resnet18, 34, 50, 101, 152 or a resnext",
            next_step="--set model.encoder=resnet34",
        )
