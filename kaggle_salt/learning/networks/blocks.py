"""Small parts that several networks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Makes an activation layer.
Activation = Callable[[], nn.Module]

relu: Activation = partial(nn.ReLU, inplace=True)

#: Axes of maps ``[B, C, h, w]`` as rows ``[B, h, w, C]``, and of those as maps again.
TO_ROWS, TO_MAPS = (0, 2, 3, 1), (0, 3, 1, 2)


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch normalisation, activation (left out with ``act=None``)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        act: Activation | None = relu,
    ) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        if act is not None:
            layers.append(act())
        super().__init__(*layers)


class PreActivationBlock(nn.Module):
    """Residual block whose branch is norm, activation, 3x3 convolution, twice.

    Source: He, Zhang, Ren, Sun, "Identity mappings in deep residual networks", ECCV 2016.
    """

    def __init__(self, channels: int, *, act: Activation = relu) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(channels),
            act(),
            ConvNormAct(channels, channels, act=act),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = x + self.branch(x)
        return total  # [B, C, h, w]


class ScSE(nn.Module):
    """Concurrent spatial and channel squeeze-and-excitation: x times (channel + spatial gate).

    Args:
        channels: Of the map.
        reduction: How much narrower the channel gate is inside, but never below 4 channels.
        spatial_bias: Give the spatial gate a bias.

    Source: Roy, Navab, Wachinger, MICCAI 2018 (arXiv 1803.02579).
    """

    def __init__(self, channels: int, reduction: int = 8, *, spatial_bias: bool = True) -> None:
        super().__init__()
        hidden = max(channels // reduction, 4)
        self.channel = nn.Sequential(
            _GlobalMean(),
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
        )
        self.spatial = nn.Conv2d(channels, 1, 1, bias=spatial_bias)

    def forward(self, x: Tensor) -> Tensor:
        channel, spatial = torch.sigmoid(self.channel(x)), torch.sigmoid(self.spatial(x))
        if not _is_channels_last(x):
            return x * (channel + spatial)  # [B, C, h, w]
        # the layout of a sum of [B, C, 1, 1] and [B, 1, h, w] would not be x's, and on a CPU a
        # product of two layouts takes ten times as long
        gate = channel.permute(TO_ROWS) + spatial.permute(TO_ROWS)  # [B, h, w, C]
        return x * gate.permute(TO_MAPS)  # [B, C, h, w]


class _GlobalMean(nn.Module):
    """Mean of each channel, ``[B, C, 1, 1]``; its gradient has the layout of the map."""

    def forward(self, x: Tensor) -> Tensor:
        if not _is_channels_last(x):
            return x.mean((2, 3), keepdim=True)
        return x.permute(TO_ROWS).mean((1, 2), keepdim=True).permute(TO_MAPS)


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


class HypercolumnHead(nn.Sequential):
    """Logits from a hypercolumn: dropout of whole maps, 3x3 convolution, 1x1 convolution."""

    def __init__(self, channels: int, hidden: int = 64, dropout: float = 0.1) -> None:
        super().__init__(
            nn.Dropout2d(dropout), ConvNormAct(channels, hidden), nn.Conv2d(hidden, 1, 1)
        )


class EmptyHead(nn.Module):
    """Whether a tile has salt at all, and the branch that segments the tiles that have.

    Args:
        channels: Of the encoder's last map.
        nonempty: From what the final head reads to logits.
        width: Of the feature, made of the mean of the last map, that tells empty tiles.
        dropout: Share of the mean's channels dropped.
    """

    def __init__(
        self, channels: int, nonempty: nn.Module, width: int = 64, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.width = width
        self.feature = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(channels, width),
            nn.ReLU(inplace=True),
        )
        self.has_salt = nn.Linear(width, 1)
        self.nonempty = nonempty

    def forward(self, last: Tensor, column: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """The column joined by the feature; in training the branch's logits; has salt ``[B]``."""
        feature = self.feature(last)  # [B, width]
        nonempty = self.nonempty(column) if self.training else None  # [B, 1, S, S]
        everywhere = feature[:, :, None, None].expand(-1, -1, *column.shape[-2:])
        seen = torch.cat([column, everywhere], dim=1)  # [B, C + width, S, S]
        return seen, nonempty, self.has_salt(feature).squeeze(1)


class SideHeads(nn.ModuleList):
    """Deep supervision: maps of the decoder get logits of their own, as large as the final ones.

    Args:
        channels: Of each map that has a head, in the decoder's order; none: nothing is supervised.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__(nn.Conv2d(c, 1, 1) for c in channels)

    def forward(self, maps: Sequence[Tensor], size: torch.Size) -> tuple[Tensor, ...]:
        """Of ``[B, Ci, hi, wi]`` each ``[B, 1, *size]``; maps beyond the last head have none."""
        pairs = zip(self, maps, strict=False)
        return tuple(resize(head(one), size) for head, one in pairs)


def hypercolumn(maps: Sequence[Tensor]) -> Tensor:
    """Bring all maps to the size of the last and stack their channels.

    Args:
        maps: float ``[B, Ci, hi, wi]`` each, from the lowest resolution to the highest.

    Returns:
        float ``[B, sum of Ci, h, w]``.

    Source: Hariharan, Arbeláez, Girshick, Malik, "Hypercolumns", CVPR 2015.
    """
    size = maps[-1].shape[-2:]
    enlarged = [with_dense_gradient(resize(x, size)) for x in maps[:-1]]
    return torch.cat([*enlarged, maps[-1]], dim=1)


def with_dense_gradient(x: Tensor) -> Tensor:
    """The same ``[B, C, h, w]``, before it is stacked with others behind an interpolation.

    Its gradient is copied out of the stack's, where other channels lie between. Of a gradient with
    gaps the bilinear interpolation's own takes four times as long on a CPU, the nearest pixel's
    ten times.
    """
    return _DenseGradient.apply(x) if x.requires_grad else x


class _DenseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:  # [B, C, h, w]
        (gradient,) = gradients
        channels_last = gradient.stride(1) == 1
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return gradient.contiguous(memory_format=layout)


def resize(x: Tensor, size: torch.Size) -> Tensor:
    """Interpolate ``[B, C, h, w]`` bilinearly to another size; the same size passes through."""
    return x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="bilinear")


def double(inputs: int, outputs: int, kernel: int = 3) -> nn.ConvTranspose2d:
    """A transposed convolution of stride 2 (kernel 2 or 3) that doubles the size exactly."""
    odd = kernel % 2
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride=2, padding=odd, output_padding=odd)
