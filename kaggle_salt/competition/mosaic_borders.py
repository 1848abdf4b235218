"""What the four borders of a tile look like, and whose border goes on in whose.

Two tiles cut from one section lie beside each other if the one's last lines, drawn on, look like
the other's first lines, and like those of no other tile. Depth says nothing: that of neighbours
is hardly correlated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.pixels import LUMINANCE
from kaggle_salt.errors import DataError
from kaggle_salt.predictions import blocks

Lines = NDArray[np.float32]
Numbers = NDArray[np.int64]

#: The two ways to lie beside each other, as steps of (row, column): to the right, and below.
STEPS = ((0, 1), (1, 0))

#: A border line whose grey levels differ by no more than this says nothing.
FLAT_RANGE = 4
#: Principal components in which neighbours are searched, and candidates that are scored in full:
#: the best and the second best.
COMPONENTS, CANDIDATES = 40, 2
#: Below this score nothing is a pair, not even in a closed loop.
LEAST_SCORE = 0.35
#: Tiles that are compared with all others at once: their products stay in the processor's cache.
BLOCK = 64


@dataclass(frozen=True, eq=False)
class Borders:
    """Borders of N tiles, each a line of length 1 and mean 0, or all zeros where it is flat.

    A score is the product of two of them: 1 if they are alike but for brightness and contrast.

    Args:
        ends: The right and the lower border, float32 ``[N, H]`` and ``[N, W]``.
        starts: The left and the upper border, likewise.
        flat: bool ``[N]``, tiles that show nothing on any border.
    """

    ends: tuple[Lines, Lines]
    starts: tuple[Lines, Lines]
    flat: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.flat)

    def take(self, rows: Numbers) -> Borders:
        """The borders of some tiles, in this order."""
        right, below = (lines[rows] for lines in self.ends)
        left, above = (lines[rows] for lines in self.starts)
        return Borders((right, below), (left, above), self.flat[rows])

    def score(self, step: int, first: int, second: int) -> float:
        """How well ``second`` goes on where ``first`` ends, -1 to 1, in a step of :data:`STEPS`."""
        return float(self.ends[step][first] @ self.starts[step][second])


class Pairs(NamedTuple):
    """Tiles that are each other's best neighbour in one of :data:`STEPS`.

    Args:
        first: Row of the tile on the left, or above.
        second: Row of the tile on the right, or below.
        score: How alike the borders are, float64, above :data:`LEAST_SCORE` to 1.
        quality: sqrt((1 - best) / (1 - second best)) of the worse side, float64: near 0 if no
            other tile would do, 1 if another does as well.
    """

    first: Numbers
    second: Numbers
    score: NDArray[np.float64]
    quality: NDArray[np.float64]


def read_borders(*stacks: NDArray[np.uint8]) -> Borders:
    """Describe the borders of all tiles.

    A border is drawn on by one pixel, ``2 * e0 - e1`` of its outermost lines, so that slanting
    layers meet; its mean is taken away and its length made 1.

    Args:
        stacks: uint8 ``[N, H, W]`` or ``[N, H, W, 3]`` each, of one tile size; of colours the
            luminance counts. May be memory-mapped.

    Raises:
        DataError: Tiles are less than two pixels high or wide.
    """
    height, width = stacks[0].shape[1:3]
    if min(height, width) < 2:
        raise DataError(
            f"tiles of {height}x{width} pixels have no borders to compare",
            expected="two pixels at least, either way",
        )
    # a stack of no tiles has no block, but borders of a length
    parts = [
        _of_block(stack[block])
        for stack in stacks
        for block in (blocks(stack) if len(stack) else [slice(0)])
    ]
    right, below, left, above, flat = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Borders((right, below), (left, above), flat)


def _of_block(tiles: NDArray[np.uint8]) -> tuple[Lines, Lines, Lines, Lines, NDArray[np.bool_]]:
    """Right, lower, left and upper border of some tiles, and which are flat all around."""
    lines, ranges = [], []
    for outer, inner in (
        (tiles[:, :, -1], tiles[:, :, -2]), (tiles[:, -1], tiles[:, -2]),
        (tiles[:, :, 0], tiles[:, :, 1]), (tiles[:, 0], tiles[:, 1]),
    ):  # fmt: skip
        edge = _grey(outer)
        lines.append(_unit(2 * edge - _grey(inner)))
        ranges.append(np.ptp(edge, axis=1))
    right, below, left, above = lines
    flat = np.max(ranges, axis=0) <= FLAT_RANGE
    return right, below, left, above, np.asarray(flat)


def _grey(line: NDArray[np.uint8]) -> Lines:
    """Grey levels, float32 ``[N, L]``, of ``[N, L]`` or ``[N, L, 3]``."""
    levels = line.astype(np.float32)
    return levels if levels.ndim == 2 else levels @ np.array(LUMINANCE, np.float32)


def _unit(lines: Lines) -> Lines:
    centred = lines - lines.mean(axis=1, keepdims=True)
    return _of_length_one(centred)


def _of_length_one(lines: Lines) -> Lines:
    lengths = np.linalg.norm(lines, axis=1, keepdims=True)
    # what is left of a constant line is rounding, not a shape
    scaled = np.divide(lines, lengths, out=np.zeros_like(lines), where=lengths > 1e-3)
    return np.asarray(scaled, dtype=np.float32)


def mutual_bests(borders: Borders, step: int) -> Pairs:
    """Tiles that are each other's best neighbour, and score above :data:`LEAST_SCORE`.

    Args:
        borders: Of the tiles.
        step: Which of :data:`STEPS`.

    Returns:
        The pairs, by ascending ``first``; ``first`` and ``second`` name each tile once at most.
    """
    ends, starts = borders.ends[step], borders.starts[step]
    if len(ends) < 2:
        nothing = np.zeros(0)
        return Pairs(nothing.astype(np.int64), nothing.astype(np.int64), nothing, nothing)
    axes = _principal_axes(ends, starts)
    # near 1 all that counts is the angle: what the axes leave out must not count as unlike
    ends_few, starts_few = _of_length_one(ends @ axes), _of_length_one(starts @ axes)
    rows = np.arange(len(ends))
    best, scores = _nearest_two(rows, (ends_few, ends), (starts_few, starts))
    likely = rows[scores[:, 0] > LEAST_SCORE]
    wanted = np.unique(best[likely])  # only these need to be asked for their own best
    back, back_scores = _nearest_two(wanted, (starts_few, starts), (ends_few, ends))
    place = np.searchsorted(wanted, best[likely])
    mutual = back[place] == likely
    first, place = likely[mutual], place[mutual]
    score = scores[first, 0]
    rival = np.maximum(scores[first, 1], back_scores[place, 1])
    return Pairs(first, best[first], score, _quality(score, rival))


def _quality(score: NDArray[np.float64], rival: NDArray[np.float64]) -> NDArray[np.float64]:
    """sqrt((1 - score) / (1 - rival)); 1 where the rival is perfect too."""
    missing, rival_missing = np.maximum(1 - score, 0), np.maximum(1 - rival, 0)
    ratio = np.divide(missing, rival_missing, out=np.ones_like(missing), where=rival_missing > 0)
    return np.asarray(np.sqrt(np.minimum(ratio, 1)))


def _principal_axes(ends: Lines, starts: Lines) -> Lines:
    """The directions in which border lines differ most, float32 ``[L, components]``."""
    _, vectors = np.linalg.eigh(ends.T @ ends + starts.T @ starts)
    return np.ascontiguousarray(vectors[:, ::-1][:, :COMPONENTS])


def _nearest_two(
    rows: Numbers, ask: tuple[Lines, Lines], answer: tuple[Lines, Lines]
) -> tuple[Numbers, NDArray[np.float64]]:
    """The best neighbour of some tiles, and the scores of their best and second best.

    Args:
        rows: The tiles that ask.
        ask: Their side's lines of all tiles, in few components and in full.
        answer: The opposite side's, likewise.

    Returns:
        int64 ``[n]``, and float64 ``[n, 2]``.
    """
    few, full = answer
    best = np.empty(len(rows), dtype=np.int64)
    scores = np.empty((len(rows), CANDIDATES))
    for block, found in _candidates(rows, ask[0], few):
        products = np.einsum("nl,ncl->nc", ask[1][rows[block]], full[found])
        order = np.argsort(-products, axis=1, kind="stable")
        best[block] = np.take_along_axis(found, order, axis=1)[:, 0]
        scores[block] = np.take_along_axis(products, order, axis=1)
        own = found == rows[block, None]  # of two tiles: there is no second but the tile itself
        scores[block][np.take_along_axis(own, order, axis=1)] = -1
    return best, scores


def _candidates(rows: Numbers, ask: Lines, answer: Lines) -> Iterator[tuple[slice, Numbers]]:
    """For each block of ``rows`` the most alike of all other tiles, int64 ``[n, CANDIDATES]``."""
    turned = np.ascontiguousarray(answer.T)
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        alike = ask[rows[block]] @ turned  # [n, N]
        each = np.arange(len(alike))
        alike[each, rows[block]] = -2  # no tile is its own neighbour
        found = np.empty((len(alike), CANDIDATES), dtype=np.int64)
        for number in range(CANDIDATES):
            found[:, number] = alike.argmax(axis=1)
            alike[each, found[:, number]] = -3
        yield block, found
