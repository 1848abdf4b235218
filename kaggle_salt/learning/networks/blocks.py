"""Small parts that several networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU (left out with ``act=False``)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, act: bool = True
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        if act:
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class ScSE(nn.Module):
    """Concurrent spatial and channel squeeze-and-excitation: x times (channel + spatial gate).

    Source: Roy, Navab, Wachinger, MICCAI 2018 (arXiv 1803.02579).
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(channels // reduction, 4)
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
        )
        self.spatial = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.channel(x)) + torch.sigmoid(self.spatial(x))
        return x * gate  # [B, C, h, w]
