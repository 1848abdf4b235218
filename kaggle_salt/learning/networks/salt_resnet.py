"""The ResNet U-Nets of the 1st place's second author, in the two forms that its repository has."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.encoders.resnet import ResNetEncoder
from torch import Tensor, nn

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks.blocks import ConvNormAct, ScSE, double, hypercolumn, resize
from kaggle_salt.learning.networks.encoders import stage_channels

elu = partial(nn.ELU, inplace=True)

#: scSE as the source has it: a sixteenth of the channels in the decoder, a quarter in the
#: encoder, and no bias in the spatial gate.
decoder_gate = partial(ScSE, reduction=16, spatial_bias=False)
encoder_gate = partial(ScSE, reduction=4, spatial_bias=False)


class SaltResnet(nn.Module):
    """U-Net on a ResNet without its max-pool: scSE, an FPA centre and a hypercolumn.

    The centre's map is pooled; four levels of transposed convolutions rise from it, and the
    first of them has the encoder's own last map beside it.

    Args:
        encoder: A ResNet of smp's, as from
            :func:`kaggle_salt.learning.networks.encoders.make_encoder`. Its max-pool is left out.
        stem: ``halving`` keeps the encoder's first convolution, 7x7 with stride 2; a fifth,
            bilinear level then leads to full size (version 4, the first stage's). ``full`` puts
            a 3x3 convolution of stride 1 in its place, which starts at random (version 5, the
            third stage's). Input sides must be multiples of 32, or of 16 with ``full``.
        width: Channels of each decoder level.
        dropout: Share of the hypercolumn's maps dropped: none in version 4, .4 in version 5.

    Raises:
        ConfigError: The encoder is no ResNet of smp's.

    Source: ybabakhin/kaggle_salt_bes_phalanx, the 1st place, ``phalanx/unet_model.py``. What
    differs stands in docs/systems.md.
    """

    def __init__(
        self,
        encoder: nn.Module,
        stem: Literal["halving", "full"] = "halving",
        *,
        width: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check_encoder(encoder)
        _, first, *stages = stage_channels(encoder)
        encoder.maxpool = nn.Identity()
        if stem == "full":
            channels = stage_channels(encoder)[0]
            encoder.conv1 = nn.Conv2d(channels, first, 3, padding=1, bias=False)
        self.encoder = encoder
        self.gates = nn.ModuleList(encoder_gate(channels) for channels in stages)
        self.centre = nn.Sequential(FPA(stages[-1], 4 * width), nn.MaxPool2d(2))
        below = [4 * width, width, width, width]
        self.levels = nn.ModuleList(
            TransposedLevel(inputs, skip, width)
            for inputs, skip in zip(below, stages[::-1], strict=True)
        )
        self.top = BilinearLevel(width) if stem == "halving" else None
        hidden = width if stem == "halving" else width // 2
        self.head = nn.Sequential(
            nn.Dropout2d(dropout),
            nn.Conv2d(width * (4 if self.top is None else 5), hidden, 3, padding=1),
            elu(),
            nn.Conv2d(hidden, 1, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        maps = self.encode(x)
        x = self.centre(maps[-1])
        outputs = []
        for level, skip in zip(self.levels, reversed(maps), strict=True):
            x = level(x, skip)
            outputs.append(x)
        if self.top is not None:
            outputs.append(self.top(x))
        logits: Tensor = self.head(hypercolumn(outputs))
        return logits  # [B, 1, S, S]

    def encode(self, x: Tensor) -> list[Tensor]:
        """The gated maps of the four stages, each half as large as the one before."""
        for part in ("conv1", "bn1", "relu"):
            x = self.encoder.get_submodule(part)(x)
        maps = []
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
        self.everywhere = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, outputs, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        half = self.to_half(x)
        quarter = self.from_quarter(self.to_quarter(half))
        attention = self.from_half(half) + resize(quarter, half.shape[-2:])
        out: Tensor = self.project(x) * resize(attention, x.shape[-2:]) + self.everywhere(x)
        return out  # [B, outputs, h, w]


class TransposedLevel(nn.Module):
    """A transposed 2x2 convolution and the projected skip, half the width each, then scSE."""

    def __init__(self, below: int, skip: int, width: int) -> None:
        super().__init__()
        self.lift = double(below, width // 2, kernel=2)
        self.project = nn.Conv2d(skip, width // 2, 1, bias=False)
        self.finish = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(inplace=True), decoder_gate(width)
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        level: Tensor = self.finish(torch.cat([self.lift(x), self.project(skip)], dim=1))
        return level  # [B, width, 2h, 2w]


class BilinearLevel(nn.Module):
    """Bilinear x2, two 3x3 convolutions (the first to half the width), scSE; no skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvNormAct(width, width // 2, act=elu),
            ConvNormAct(width // 2, width, act=elu),
            decoder_gate(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        level: Tensor = self.convs(F.interpolate(x, scale_factor=2, mode="bilinear"))
        return level  # [B, width, 2h, 2w]


def _check_encoder(encoder: nn.Module) -> None:
    if not isinstance(encoder, ResNetEncoder):
        raise ConfigError(
            f"salt-resnet cannot stand on a {type(encoder).__name__}",
            expected="a ResNet of smp's: resnet18, 34, 50, 101, 152 or a resnext",
            next_step="--set model.encoder=resnet34",
        )
