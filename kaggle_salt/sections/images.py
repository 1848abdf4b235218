"""PNG, JPEG and TIFF files as sections, of 8 or 16 bits, grey or coloured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.pixels import (
    Pixels,
    is_coloured,
    read_pixels,
    to_coloured_tile,
    to_tile,
    without_equal_channels,
)
from kaggle_salt.errors import DataError
from kaggle_salt.sections.headers import ANOTHER_FILE, Header

#: Percentiles of an image's levels that become black and white when it is stretched.
STRETCH = (0.5, 99.5)

#: An image whose levels between these percentiles span less than this share of what its bits can
#: hold shows a network hardly any contrast.
FLAT = 1 / 16


@dataclass(frozen=True, eq=False)
class ImageSection:
    """A decoded picture: its formats cannot be read in part.

    Args:
        path: The file.
        levels: uint8 ``[H, W]``, or in colour ``[H, W, 3]``.
        flat: Whether it has hardly any contrast, see :data:`FLAT`.
    """

    path: Path
    levels: NDArray[np.uint8]
    flat: bool = False

    @property
    def height(self) -> int:
        return int(self.levels.shape[0])

    @property
    def width(self) -> int:
        return int(self.levels.shape[1])

    @property
    def coloured(self) -> bool:
        return is_coloured(self.levels)

    def rows(self, start: int, stop: int) -> NDArray[np.uint8]:
        return self.levels[start:stop]


def read_image(path: Path, header: Header, *, stretch: bool = False) -> ImageSection:
    """Decode a picture.

    Its levels are read as those of a competition's tiles are: 16 bits are rounded to 8 over their
    full range, and an alpha channel is ignored. Stretched, the levels at the percentiles
    :data:`STRETCH` of the picture become 0 and 255, and those between them go evenly.

    Args:
        path: The file.
        header: Of the file.
        stretch: Stretch its levels.

    Raises:
        DataError: It is truncated or damaged.
    """
    data = path.read_bytes()
    pixels = _decode_tiff(data, str(path)) if header.format == "TIFF" else _decode(data, str(path))
    low, high = np.percentile(pixels, STRETCH, method="nearest")
    flat = bool(pixels.dtype == np.uint16 and high - low < FLAT * np.iinfo(pixels.dtype).max)
    if stretch:
        return ImageSection(path, _stretched(pixels, int(low), int(high)))
    levels = to_coloured_tile(pixels) if is_coloured(pixels) else to_tile(pixels)
    return ImageSection(path, np.ascontiguousarray(levels), flat=flat)


def _decode(data: bytes, name: str) -> Pixels:
    try:
        return read_pixels(data, name)[0]
    except DataError as error:
        raise DataError(error.found, expected=error.expected, next_step=ANOTHER_FILE) from error


def _decode_tiff(data: bytes, name: str) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(
            f"{name} is damaged, or a kind of TIFF that cannot be read",
            expected="a TIFF of grey levels or colours",
            next_step=ANOTHER_FILE,
        )
    return without_equal_channels(pixels)


def _stretched(pixels: Pixels, low: int, high: int) -> NDArray[np.uint8]:
    """Levels from ``low`` to ``high`` over 0 to 255, those outside cut off."""
    every = np.arange(np.iinfo(pixels.dtype).max + 1)
    spread = (every - low) * (255 / max(1, high - low))
    table = np.clip(np.rint(spread), 0, 255).astype(np.uint8)
    levels: NDArray[np.uint8] = table[pixels]
    return levels
