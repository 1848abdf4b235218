"""From tile size to network size and exactly back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kaggle_salt.config import InputConfig
from kaggle_salt.errors import ConfigError

#: Mean and standard deviation of ImageNet's pixels, by channel; their means serve grey input.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Framing:
    """Fits tiles to a network's input and maps of that size back to tiles.

    ``pad`` repeats the border (by reflection or by its edge) and keeps every pixel; where the
    size has room for several tiles, each pixel first becomes a square of them, as in the 1st
    place's 101 to 202 to 256. ``resize`` interpolates bilinearly. With ``shrink`` above 1 the
    network sees the framed tile at a fraction of its size, and its output is interpolated back,
    so that loss and metric are always taken on the tile's own pixels.

    Args:
        tile_shape: (height, width) of a tile, in pixels.
        config: Size, mode, border and channels.
        shrink: Whole number by which the network's input is smaller than ``config.size``.

    Raises:
        ConfigError: The tile does not fit into the size, or the size cannot be shrunk so.
    """

    tile_shape: tuple[int, int]
    config: InputConfig
    shrink: int = 1

    def __post_init__(self) -> None:
        size, (height, width) = self.config.size, self.tile_shape
        if self.config.framing == "pad" and max(height, width) > size:
            raise ConfigError(
                f"tiles of {height}x{width} cannot be padded to {size}x{size}",
                expected=f"a size of at least {max(height, width)}",
                next_step=f"--set input.size={-(-max(height, width) // 32) * 32}, "
                "or --set input.framing=resize",
            )
        if size % self.shrink:
            raise ConfigError(
                f"an input of {size} pixels cannot be shrunk {self.shrink} times",
                expected="a size that is a multiple of the stage's shrink",
                next_step=f"--set input.size={-(-size // self.shrink) * self.shrink}, "
                "or --set stage.NAME.shrink=1",
            )
        reach = max(self._padding) if self.config.framing == "pad" else 0
        if self.config.border == "reflect" and reach >= self._zoom * min(height, width):
            raise ConfigError(
                f"tiles of {height}x{width} are too small to be reflected by {reach} pixels",
                expected="a border narrower than the tile",
                next_step="--set input.border=edge, or a smaller input.size",
            )

    @property
    def network_size(self) -> int:
        """Side of what the network sees, in pixels."""
        return self.config.size // self.shrink

    @property
    def _zoom(self) -> int:
        """Side of the square that a pixel becomes before padding: 2 at 256 px, 4 at 512."""
        alone = -(-max(self.tile_shape) // 32) * 32  # the size that networks take a tile in
        return max(1, self.config.size // alone)

    @property
    def _padding(self) -> tuple[int, int, int, int]:
        """(left, right, top, bottom); the odd pixel goes to the right and the bottom."""
        vertical, horizontal = (self.config.size - self._zoom * side for side in self.tile_shape)
        left, top = horizontal // 2, vertical // 2
        return left, horizontal - left, top, vertical - top

    def prepare(self, tiles: Tensor) -> Tensor:
        """Normalise and frame grey tiles, on whatever device they are.

        Args:
            tiles: uint8 ``[B, H, W]``.

        Returns:
            float32 ``[B, C, S, S]``: grey, about zero mean and unit variance; the same with the
            statistics of ImageNet's three channels; or grey, the row's depth in the tile (0 at
            the top, 1 at the bottom), and their product.
        """
        grey = tiles[:, None].float() / 255  # [B, 1, H, W]
        if self.config.channels == "grey3":
            # number by number: a tensor made of them here would have to wait for a GPU
            statistics = zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)
            channels = [(grey - mean) / std for mean, std in statistics]
            return self.frame(torch.cat(channels, dim=1))  # [B, 3, S, S]
        framed = self.frame((grey - sum(IMAGENET_MEAN) / 3) / (sum(IMAGENET_STD) / 3))
        if self.config.channels == "grey":
            return framed  # [B, 1, S, S]
        depth = torch.linspace(0, 1, framed.shape[-2], device=tiles.device)
        depth = depth[:, None].expand_as(framed)  # [B, 1, S, S]
        return torch.cat([framed, depth, framed * depth], dim=1)

    def frame(self, maps: Tensor) -> Tensor:
        """Fit maps of tile size to the network.

        Args:
            maps: float ``[B, C, H, W]``.

        Returns:
            float ``[B, C, S, S]``, S = :attr:`network_size`.
        """
        if self.config.framing == "resize":
            size = (self.network_size, self.network_size)
            return F.interpolate(maps, size=size, mode="bilinear", antialias=self.shrink > 1)
        if self._zoom > 1:
            maps = F.interpolate(maps, scale_factor=self._zoom, mode="nearest")
        mode = {"reflect": "reflect", "edge": "replicate"}[self.config.border]
        padded = F.pad(maps, self._padding, mode=mode)
        return F.avg_pool2d(padded, self.shrink) if self.shrink > 1 else padded

    def unframe(self, maps: Tensor) -> Tensor:
        """Bring maps of network size back to tiles; the exact inverse of :meth:`frame` for pad.

        (To float32's rounding where pixels became squares: it takes their mean.)

        Args:
            maps: float ``[B, C, S, S]``.

        Returns:
            float ``[B, C, H, W]``.
        """
        if self.config.framing == "resize":
            return F.interpolate(maps, size=self.tile_shape, mode="bilinear")
        if self.shrink > 1:
            maps = F.interpolate(maps, scale_factor=self.shrink, mode="bilinear")
        left, _, top, _ = self._padding
        height, width = (self._zoom * side for side in self.tile_shape)
        maps = maps[..., top : top + height, left : left + width]
        return F.avg_pool2d(maps, self._zoom) if self._zoom > 1 else maps
