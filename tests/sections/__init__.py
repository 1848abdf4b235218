"""A section whose tiles are known, cut up: what an assembler should put together again."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

#: Row and column.
Cell = tuple[int, int]


def draw_section(
    height: int, width: int, *, seed: int = 0, coloured: bool = False
) -> NDArray[np.uint8]:
    """A smooth random field, uint8 ``[height, width]`` or ``[height, width, 3]``."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), 2.0)
        for _ in range(3 if coloured else 1)
    ]
    levels = [128 + 45 * layer / layer.std() for layer in layers]
    section = np.stack(levels, axis=-1) if coloured else levels[0]
    return np.clip(np.rint(section), 0, 255).astype(np.uint8)


def cut(section: NDArray[np.uint8], height: int, width: int) -> dict[Cell, NDArray[np.uint8]]:
    """The tiles of a section by row and column."""
    return {
        (row, column): section[row * height :, column * width :][:height, :width]
        for row in range(section.shape[0] // height)
        for column in range(section.shape[1] // width)
    }


def shuffled(
    tiles: Mapping[Cell, NDArray[np.uint8]], *, seed: int = 1
) -> tuple[list[str], NDArray[np.uint8], dict[str, Cell]]:
    """Ids, tiles ``[N, H, W]`` and where each was, in an order that says nothing."""
    cells = list(tiles)
    np.random.default_rng(seed).shuffle(cells)
    ids = [f"t{number:03d}" for number in range(len(cells))]
    return ids, np.stack([tiles[cell] for cell in cells]), dict(zip(ids, cells, strict=True))
