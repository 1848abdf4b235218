"""Pairs of tiles put together: which tile lies in which row and column of which mosaic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kaggle_salt.competition.mosaic_borders import LEAST_SCORE, STEPS, Borders, Pairs

#: A pair that stands alone is believed above this score and below this quality.
SURE_SCORE, SURE_QUALITY = 0.5, 0.75
#: Borders that come to touch must reach this mean, and none may be below the other.
LEAST_MEAN, LEAST_ANY = LEAST_SCORE, -0.1

#: Row and column.
Cell = tuple[int, int]


class Link(NamedTuple):
    """A pair that is believed; sorted, the surest come first.

    Args:
        alone: It is not part of a closed loop.
        quality: See :class:`kaggle_salt.competition.mosaic_borders.Pairs`.
        step: Which of :data:`kaggle_salt.competition.mosaic_borders.STEPS`.
        first: Row of the tile on the left, or above.
        second: Row of the tile on the right, or below.
    """

    alone: bool
    quality: float
    step: int
    first: int
    second: int


def believed(rightwards: Pairs, downwards: Pairs) -> list[Link]:
    """The pairs to build with: those in a closed loop of four, and those that are sure by score.

    A loop is closed where right of the tile below is the same tile as below the tile on the
    right: four pairs that were found each for itself agree, and need not be as good.

    Args:
        rightwards: The mutual bests of the first of the steps.
        downwards: Those of the second.

    Returns:
        In the order in which they are to be built with.
    """
    both = (rightwards, downwards)
    in_loop = set(
        _loops(*(dict(zip(p.first.tolist(), p.second.tolist(), strict=True)) for p in both))
    )
    links = []
    for step, pairs in enumerate(both):
        rows = zip(*(column.tolist() for column in pairs), strict=True)
        for first, second, score, quality in rows:
            closed = (step, first) in in_loop
            if closed or (score > SURE_SCORE and quality < SURE_QUALITY):
                links.append(Link(not closed, quality, step, first, second))
    return sorted(links)


def _loops(right_of: dict[int, int], below: dict[int, int]) -> Iterator[tuple[int, int]]:
    """Step and first tile of each pair that is part of a closed loop of four."""
    for tile, right in right_of.items():
        if tile in below and right in below:
            under = below[tile]
            if right_of.get(under) == below[right]:
                yield from ((0, tile), (0, under), (1, tile), (1, right))


def lay_out(links: Sequence[Link], borders: Borders) -> list[dict[Cell, int]]:
    """Build mosaics from pairs, the first ones first.

    A link joins the two mosaics of its tiles as they are. It is passed over where two tiles would
    lie in one cell, or where the borders that come to touch are unlike each other.

    Args:
        links: In their order.
        borders: Of all tiles.

    Returns:
        For each mosaic of two tiles or more which tile lies in which cell; the least row and
        column are 0.
    """
    table = _Table(borders)
    for link in links:
        table.join(link)
    return [_from_zero(mosaic) for mosaic in table.mosaics if len(mosaic) > 1]


def _from_zero(mosaic: dict[Cell, int]) -> dict[Cell, int]:
    top, left = min(row for row, _ in mosaic), min(column for _, column in mosaic)
    return {(row - top, column - left): tile for (row, column), tile in mosaic.items()}


def touching(mosaic: dict[Cell, int]) -> Iterator[tuple[int, int, int]]:
    """Step, first and second tile of all that lie beside each other."""
    for (row, column), tile in sorted(mosaic.items()):
        for step, (down, right) in enumerate(STEPS):
            other = mosaic.get((row + down, column + right))
            if other is not None:
                yield step, tile, other


class _Table:
    """The mosaics so far: at first each tile is one of its own."""

    def __init__(self, borders: Borders) -> None:
        self.borders = borders
        self.mosaics: list[dict[Cell, int]] = [{(0, 0): tile} for tile in range(len(borders))]
        self.home = list(range(len(borders)))  # which mosaic a tile is in
        self.cell: list[Cell] = [(0, 0)] * len(borders)

    def join(self, link: Link) -> None:
        """Put the mosaics of two tiles together, the smaller to the larger, if they fit."""
        kept, moved = self.home[link.first], self.home[link.second]
        if kept == moved:
            return
        (row, column), (down, right) = self.cell[link.first], STEPS[link.step]
        there = self.cell[link.second]
        by = (row + down - there[0], column + right - there[1])
        if len(self.mosaics[moved]) > len(self.mosaics[kept]):
            kept, moved, by = moved, kept, (-by[0], -by[1])
        shifted = {
            (row + by[0], column + by[1]): tile
            for (row, column), tile in self.mosaics[moved].items()
        }
        if not self._fits(shifted, self.mosaics[kept]):
            return
        self.mosaics[kept] |= shifted
        self.mosaics[moved] = {}
        for cell, tile in shifted.items():
            self.home[tile], self.cell[tile] = kept, cell

    def _fits(self, shifted: dict[Cell, int], kept: dict[Cell, int]) -> bool:
        if not shifted.keys().isdisjoint(kept):
            return False
        scores = list(self._scores_of_joints(shifted, kept))
        return min(scores) >= LEAST_ANY and sum(scores) / len(scores) >= LEAST_MEAN

    def _scores_of_joints(self, shifted: dict[Cell, int], kept: dict[Cell, int]) -> Iterator[float]:
        for (row, column), tile in shifted.items():
            for step, (down, right) in enumerate(STEPS):
                after = kept.get((row + down, column + right))
                before = kept.get((row - down, column - right))
                if after is not None:
                    yield self.borders.score(step, tile, after)
                if before is not None:
                    yield self.borders.score(step, before, tile)
