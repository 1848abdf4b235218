"""A section of any size as overlapping tiles, and their predictions as one picture again.

Tiles lie evenly, so that the outermost ones end with the section, and each overlaps the next by
the share asked for or a little more. Where tiles overlap, their predictions are averaged under a
raised cosine: a tile counts most in its middle, and next to nothing at its border, where the
network sees least around a pixel. A section that is smaller than a tile is reflected to the size
of one, evenly on both sides, and its prediction is cut back.

It goes from top to bottom in strips of tiles. Of what is not finished there is one strip in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.errors import ConfigError

#: Share of a tile that the next one sees too.
OVERLAP = 0.5

#: Tiles that are predicted at once, at least, where there are so many.
TILES_AT_ONCE = 256


class Section(Protocol):
    """A picture of any size, read as it is needed.

    ``rows`` gives rows ``start`` to ``stop`` as uint8 ``[stop - start, width]``, of a coloured
    one ``[stop - start, width, 3]`` in red, green and blue.
    """

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def coloured(self) -> bool: ...

    def rows(self, start: int, stop: int) -> NDArray[np.uint8]: ...


AnySection = TypeVar("AnySection", bound=Section)


def spread(length: int, tile: int, overlap: float) -> NDArray[np.int64]:
    """Where tiles begin along a side.

    Args:
        length: Of the side, in pixels; at least that of a tile.
        tile: Side of a tile, in pixels.
        overlap: Share of a tile that the next one sees too, from 0 to below 1.

    Returns:
        First pixel of each tile, ascending; the first is 0, the last ``length - tile``.
    """
    stride = max(1, int(tile * (1 - overlap)))
    count = -(-(length - tile) // stride) + 1
    return np.rint(np.linspace(0, length - tile, count)).astype(np.int64)


def raised_cosine(tile: int) -> NDArray[np.float32]:
    """What each pixel along a tile's side counts, float32 ``[tile]``, positive."""
    middles = (np.arange(tile) + 0.5) / tile
    return (np.sin(np.pi * middles) ** 2).astype(np.float32)


@dataclass(frozen=True)
class Strip:
    """Some rows of a section's tiles.

    Args:
        tops: First row of each row of tiles.
        tiles: uint8 ``[N, h, w]`` or ``[N, h, w, 3]``, row of tiles by row of tiles.
        finished: All rows of the section above this one are finished once the strip is blended.
    """

    tops: NDArray[np.int64]
    tiles: NDArray[np.uint8]
    finished: int


@dataclass(frozen=True)
class Grid:
    """Where the tiles of a section lie.

    Args:
        shape: (height, width) of the section, in pixels.
        tile_shape: (height, width) of a tile, in pixels.
        overlap: Share of a tile that the next one sees too, in each direction.

    Raises:
        ConfigError: The overlap is not a share below 1.
    """

    shape: tuple[int, int]
    tile_shape: tuple[int, int]
    overlap: float = OVERLAP

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise ConfigError(
                f"tiles that overlap by {self.overlap:g}",
                expected="a share of their side from 0 to below 1",
                next_step=f"--overlap {OVERLAP}",
            )

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    @cached_property
    def tops(self) -> NDArray[np.int64]:
        """First row of each row of tiles, in the padded section."""
        return spread(max(self.shape[0], self.tile_shape[0]), self.tile_shape[0], self.overlap)

    @cached_property
    def lefts(self) -> NDArray[np.int64]:
        """First column of each tile of a row, in the padded section."""
        return spread(max(self.shape[1], self.tile_shape[1]), self.tile_shape[1], self.overlap)

    @cached_property
    def sources(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The section's row of each row of the padded section, and its column of each column."""
        rows, columns = map(_reflected, self.shape, self.tile_shape)
        return rows, columns

    @property
    def padded(self) -> bool:
        """Whether the section is smaller than a tile."""
        return any(side < tile for side, tile in zip(self.shape, self.tile_shape, strict=True))

    def strips(self, section: Section, tiles_at_once: int = TILES_AT_ONCE) -> Iterator[Strip]:
        """Cut a section of this shape, from top to bottom.

        Args:
            section: Where the pixels are.
            tiles_at_once: Tiles of a strip, at most; but it is one row of tiles at least.
        """
        height = self.tile_shape[0]
        at_once = max(1, tiles_at_once // len(self.lefts))
        for first in range(0, len(self.tops), at_once):
            tops = self.tops[first : first + at_once]
            pixels = self._read(section, int(tops[0]), int(tops[-1]) + height)
            after = self.tops[first + at_once : first + at_once + 1]
            finished = int(after[0]) if len(after) else len(self.sources[0])
            yield Strip(tops, self._cut(pixels, tops - tops[0]), finished)

    def _read(self, section: Section, start: int, stop: int) -> NDArray[np.uint8]:
        if not self.padded:
            return section.rows(start, stop)
        rows, columns = self.sources
        wanted = rows[start:stop]
        first = int(wanted.min())
        return section.rows(first, int(wanted.max()) + 1)[wanted - first][:, columns]

    def _cut(self, pixels: NDArray[np.uint8], tops: NDArray[np.int64]) -> NDArray[np.uint8]:
        height, width = self.tile_shape
        return np.stack([
            pixels[top : top + height, left : left + width] for top in tops for left in self.lefts
        ])  # fmt: skip


def _reflected(length: int, tile: int) -> NDArray[np.int64]:
    """Pixels of a side, those at its ends reflected until it is as long as a tile."""
    missing = max(0, tile - length)
    pixels = np.arange(length)
    return np.pad(pixels, (missing // 2, missing - missing // 2), mode="reflect")


class _Canvas:
    """Where the tiles of one section come together.

    Attributes:
        levels: uint8 ``[H, W]``, the section's probabilities; above the last strip blended.
    """

    def __init__(self, grid: Grid) -> None:
        self.levels = np.empty(grid.shape, dtype=np.uint8)
        self._grid = grid
        sides = [raised_cosine(side) for side in grid.tile_shape]
        self._window = np.outer(*sides)  # [h, w]
        self._weights = [  # what all tiles together count, along each side
            _sum_at(starts, side)
            for starts, side in zip((grid.tops, grid.lefts), sides, strict=True)
        ]
        self._start = 0  # the padded section's row that the sums begin with
        self._sums = np.zeros((0, len(self._weights[1])), dtype=np.float32)

    def blend(self, strip: Strip, levels: NDArray[np.uint8]) -> bool:
        """Add predictions of a strip, uint8 ``[N, h, w]``; tells whether it was the last."""
        height, width = self._grid.tile_shape
        unfinished = self._sums
        rows = int(strip.tops[-1]) + height - self._start
        sums = np.zeros((rows, unfinished.shape[1]), dtype=np.float32)
        sums[: len(unfinished)] = unfinished
        places = ((top - self._start, left) for top in strip.tops for left in self._grid.lefts)
        for tile, (top, left) in zip(levels, places, strict=True):
            sums[top : top + height, left : left + width] += tile * self._window
        self._finish(sums[: strip.finished - self._start], strip.finished)
        self._sums, self._start = sums[strip.finished - self._start :].copy(), strip.finished
        return strip.finished == len(self._weights[0])

    def _finish(self, sums: NDArray[np.float32], stop: int) -> None:
        """Turn the sums of the rows up to ``stop`` into levels, without what was reflected."""
        rows, columns = self._weights
        sums /= np.outer(rows[self._start : stop], columns)
        padding = [(len(all_) - own) // 2 for all_, own in
                   zip(self._weights, self.levels.shape, strict=True)]  # fmt: skip
        height, width = self.levels.shape
        top = padding[0] if self._start == 0 else 0
        kept = sums[top : top + height, padding[1] : padding[1] + width]
        self.levels[self._start : self._start + len(kept)] = np.rint(kept)


def _sum_at(starts: NDArray[np.int64], side: NDArray[np.float32]) -> NDArray[np.float32]:
    total = np.zeros(int(starts[-1]) + len(side), dtype=np.float32)
    for start in starts:
        total[start : start + len(side)] += side
    return total


def predict_sections(
    sections: Iterable[AnySection],
    tile_shape: tuple[int, int],
    predict: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    *,
    overlap: float = OVERLAP,
    tiles_at_once: int = TILES_AT_ONCE,
) -> Iterator[tuple[AnySection, NDArray[np.uint8]]]:
    """Predict sections one after the other; small ones together, so that batches are full.

    Args:
        sections: Taken when their turn comes.
        tile_shape: (height, width) of the tiles that are predicted, in pixels.
        predict: From tiles, uint8 ``[N, h, w]`` or ``[N, h, w, 3]``, to probabilities, uint8
            ``[N, h, w]``, probability = value / 255.
        overlap: See :class:`Grid`.
        tiles_at_once: Tiles that ``predict`` is given, at least, where there are so many.

    Yields:
        Each section, in order, with its probabilities: uint8 ``[H, W]``, the average of those of
        its tiles rounded to the nearest value. A section of one tile has the tile's own.
    """
    waiting: list[tuple[AnySection, _Canvas, Strip]] = []
    for section in sections:
        grid = Grid((section.height, section.width), tile_shape, overlap)
        canvas = _Canvas(grid)
        for strip in grid.strips(section, tiles_at_once):
            if waiting and waiting[0][2].tiles.ndim != strip.tiles.ndim:  # colours, or grey
                yield from _blend(waiting, predict)
                waiting = []
            waiting.append((section, canvas, strip))
            if sum(len(one.tiles) for _, _, one in waiting) >= tiles_at_once:
                yield from _blend(waiting, predict)
                waiting = []
    yield from _blend(waiting, predict)


def _blend(
    waiting: list[tuple[AnySection, _Canvas, Strip]],
    predict: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> Iterator[tuple[AnySection, NDArray[np.uint8]]]:
    """Predict strips, and give back the sections that are finished with them."""
    if not waiting:
        return
    tiles = [strip.tiles for _, _, strip in waiting]
    levels = predict(tiles[0] if len(tiles) == 1 else np.concatenate(tiles))
    start = 0
    for section, canvas, strip in waiting:
        end = start + len(strip.tiles)
        if canvas.blend(strip, levels[start:end]):
            yield section, canvas.levels
        start = end
