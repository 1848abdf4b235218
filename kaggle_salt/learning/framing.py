"""From tile size to network size and exactly back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kaggle_salt.config.schema import InputConfig
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.channels import channels_of

#: By how much networks make their input smaller: five halvings.
REDUCTION = 32


@dataclass(frozen=True)
class Framing:
    """Fits tiles to a network's input and maps of that size back to tiles.

    ``pad`` repeats the border (by reflection or by its edge) and keeps every pixel; where the
    size has room for several tiles, each pixel first becomes a square of them, as in the 1st
    place's 101 to 202 to 256. ``resize`` interpolates bilinearly. With ``shrink`` above 1 the
    network sees the framed tile at a fraction of its size, and its output is interpolated back,
    so that loss and metric are always taken on the tile's own pixels.

    ``config.size`` is the side of a square input. Of tiles that are no squares the shorter side
    becomes so large; the longer one grows at the same scale, and the network sees as much of it
    as can be halved as often as the shorter side (5 times at most): ``resize`` takes the nearest
    such size, ``pad`` the next that holds the tile. So every tile keeps its proportions.

    Args:
        tile_shape: (height, width) of a tile, in pixels.
        config: Size, mode, border and channels.
        shrink: Whole number by which the network's input is smaller than the framed tile.

    Raises:
        ConfigError: The tile does not fit into the size, or the size cannot be shrunk so.
    """

    tile_shape: tuple[int, int]
    config: InputConfig
    shrink: int = 1

    def __post_init__(self) -> None:
        size, (height, width) = self.config.size, self.tile_shape
        shorter = min(height, width)
        if self.config.framing == "pad" and shorter > size:
            raise ConfigError(
                f"tiles of {height}x{width} cannot be padded to {size}x{size}",
                expected=f"a size of at least {shorter}",
                next_step=f"--set input.size={-(-shorter // 32) * 32}, "
                "or --set input.framing=resize",
            )
        if size % self.shrink:
            raise ConfigError(
                f"an input of {size} pixels cannot be shrunk {self.shrink} times",
                expected="a size that is a multiple of the stage's shrink",
                next_step=f"--set input.size={-(-size // self.shrink) * self.shrink}, "
                "or --set stage.NAME.shrink=1",
            )
        left, right, top, bottom = self._padding if self.config.framing == "pad" else (0, 0, 0, 0)
        reach = [max(top, bottom) - self._zoom * height, max(left, right) - self._zoom * width]
        if self.config.border == "reflect" and max(reach) >= 0:
            raise ConfigError(
                f"tiles of {height}x{width} are too small to be reflected by "
                f"{max(left, right, top, bottom)} pixels",
                expected="a border narrower than the tile",
                next_step="--set input.border=edge, or a smaller input.size",
            )

    @property
    def network_shape(self) -> tuple[int, int]:
        """(height, width) of what the network sees, in pixels."""
        height, width = self._framed_shape
        return height // self.shrink, width // self.shrink

    @property
    def _framed_shape(self) -> tuple[int, int]:
        """(height, width) of a framed tile before it is shrunk."""
        size, shorter = self.config.size, min(self.tile_shape)
        step = self.shrink * math.gcd(size // self.shrink, REDUCTION)

        def side(pixels: int) -> int:
            if pixels == shorter:
                return size
            if self.config.framing == "resize":
                return max(round(pixels * size / shorter / step) * step, size)
            return max(-(-self._zoom * pixels // step) * step, size)

        height, width = self.tile_shape
        return side(height), side(width)

    @property
    def _zoom(self) -> int:
        """Side of the square that a pixel becomes before padding: 2 at 256 px, 4 at 512."""
        alone = -(-min(self.tile_shape) // 32) * 32  # the size that networks take a tile in
        return max(1, self.config.size // alone)

    @property
    def _padding(self) -> tuple[int, int, int, int]:
        """(left, right, top, bottom); the odd pixel goes to the right and the bottom."""
        sides = zip(self._framed_shape, self.tile_shape, strict=True)
        vertical, horizontal = (framed - self._zoom * side for framed, side in sides)
        left, top = horizontal // 2, vertical // 2
        return left, horizontal - left, top, vertical - top

    def prepare(self, tiles: Tensor) -> Tensor:
        """Normalise and frame tiles, on whatever device they are.

        The depth of ``grey+depth`` belongs to the tile's rows, 0 at its top and 1 at its bottom,
        and is framed like its pixels: a row that padding repeats has its own depth again.

        Args:
            tiles: uint8 ``[B, H, W]``, or in colour ``[B, H, W, 3]``.

        Returns:
            float32 ``[B, C, S, T]``, (S, T) = :attr:`network_shape`; the channels as
            :func:`kaggle_salt.learning.channels.describe` has them.
        """
        framed = self.frame(channels_of(tiles, self.config.channels))
        if self.config.channels != "grey+depth":
            return framed  # [B, 1 or 3, S, T]
        product = framed[:, :1] * framed[:, 1:]
        return torch.cat([framed, product], dim=1)  # [B, 3, S, T]

    def frame(self, maps: Tensor) -> Tensor:
        """Fit maps of tile size to the network.

        Args:
            maps: float ``[B, C, H, W]``.

        Returns:
            float ``[B, C, S, T]``, (S, T) = :attr:`network_shape`.
        """
        if self.config.framing == "resize":
            shape = self.network_shape
            # otherwise what is finer than the network's pixels would show as a pattern of its own
            smaller = any(new < old for new, old in zip(shape, self.tile_shape, strict=True))
            return F.interpolate(maps, size=shape, mode="bilinear", antialias=smaller)
        if self._zoom > 1:
            maps = F.interpolate(maps, scale_factor=self._zoom, mode="nearest")
        mode = {"reflect": "reflect", "edge": "replicate"}[self.config.border]
        padded = F.pad(maps, self._padding, mode=mode)
        return F.avg_pool2d(padded, self.shrink) if self.shrink > 1 else padded

    def unframe(self, maps: Tensor) -> Tensor:
        """Bring maps of network size back to tiles; the exact inverse of :meth:`frame` for pad.

        (To float32's rounding where pixels became squares: it takes their mean.)

        Args:
            maps: float ``[B, C, S, T]``.

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
