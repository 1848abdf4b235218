"""One pass over the pixels, from which every threshold can be judged.

A stored probability has only 256 values, so for each tile it is enough to know how often each
value occurs inside and outside the true mask. Sums over the values above a level then give
the intersection and the predicted area at that level, for all levels at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.decision import LEVELS, Rule
from kaggle_salt.competition.metric import image_scores, scores_from_counts
from kaggle_salt.competition.postprocess import Postprocessing, Rows
from kaggle_salt.errors import DataError
from kaggle_salt.predictions import blocks

#: Pixels counted at once: their bin numbers (8 bytes each) stay in the processor's cache, and
#: in memory that is used again. From 2 MB on the system hands out fresh pages: 3 times the time.
_CHUNK_PIXELS = 2**16

#: Tiles judged at once, at all levels: some 10 kB each, which stay in the processor's cache.
_PART_TILES = 64


@dataclass(frozen=True, eq=False)
class _Pixels:
    """Truth and probabilities that were counted, both ``[N, H, W]``."""

    truth: NDArray[np.bool_]
    probabilities: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class TileHistograms:
    """How often each stored value occurs in each tile, inside and outside its true mask.

    Args:
        inside: int32 ``[N, 256]``, pixels of the true mask.
        outside: int32 ``[N, 256]``, the other pixels.
        post: The steps that will follow, and what is known of them.
        pixels: What was counted, kept only where a step has to be applied to be judged.
    """

    inside: NDArray[np.int32]
    outside: NDArray[np.int32]
    post: Postprocessing = field(default_factory=Postprocessing)
    pixels: _Pixels | None = None

    def __len__(self) -> int:
        return len(self.inside)

    def take(self, rows: Rows) -> TileHistograms:
        """Histograms of some of the tiles.

        Args:
            rows: Row numbers, or bool ``[N]``.
        """
        pixels = self.pixels
        if pixels is not None:
            pixels = _Pixels(pixels.truth[rows], pixels.probabilities[rows])
        return TileHistograms(self.inside[rows], self.outside[rows], self.post.take(rows), pixels)

    def settled_by(self, steps: Sequence[str]) -> NDArray[np.int8]:
        """Ten times the scores that some of the steps settle at every level, int8 ``[N]``.

        Returns:
            -1 for the other tiles.

        Raises:
            DataError: A step is not among those that these tiles were asked about.
        """
        return self.post.settled_by(steps, len(self))

    def scores_by_applying(self, rule: Rule) -> NDArray[np.float64]:
        """Score of each tile under a rule with a step that has to be applied, float64 ``[N]``."""
        assert self.pixels is not None, "kept for such a step"
        masks = rule.apply(self.pixels.probabilities, self.post.tiles)
        return image_scores(self.pixels.truth, masks)

    def parts(self) -> Iterator[tuple[slice, TileHistograms]]:
        """Some tiles at a time, without a copy: which they are, and their histograms.

        What is worked out for all levels is several times the size of the histograms.
        """
        for chunk in blocks(self.inside, self.outside, tiles_at_once=_PART_TILES):
            yield chunk, TileHistograms(self.inside[chunk], self.outside[chunk])

    @cached_property
    def truth_area(self) -> NDArray[np.int64]:
        """Pixels of each true mask, int64 ``[N]``."""
        area: NDArray[np.int64] = self.inside.sum(axis=1, dtype=np.int64)
        return area

    @cached_property
    def intersection(self) -> NDArray[np.int32]:
        """Pixels of the true mask with ``value > level``, int32 ``[N, 256]``."""
        return _count_above(self.inside)

    @cached_property
    def predicted_area(self) -> NDArray[np.int32]:
        """Pixels with ``value > level``, int32 ``[N, 256]``."""
        return _count_above(self.inside + self.outside)

    @cached_property
    def tenths(self) -> NDArray[np.int8]:
        """Ten times the score of each tile at each level, int8 ``[N, 256]``, 0 to 10.

        Every score is a whole number of tenths. Kept as integers they add up exactly, so that
        two decisions of equal merit are seen to be equal.
        """
        tenths = np.empty(self.inside.shape, dtype=np.int8)
        for chunk, part in self.parts():
            truth_area = part.truth_area[:, np.newaxis]
            scores = scores_from_counts(part.intersection, truth_area, part.predicted_area)
            tenths[chunk] = np.rint(10 * scores)
        return tenths


def count_tiles(
    truth: NDArray[np.bool_],
    probabilities: NDArray[np.uint8],
    post: Postprocessing | None = None,
) -> TileHistograms:
    """Count the stored values of each tile in one pass.

    Args:
        truth: bool ``[N, H, W]``; may be memory-mapped.
        probabilities: uint8 ``[N, H, W]``, probability = value / 255; may be memory-mapped.
        post: The steps that will follow, on the same N tiles; none by default.

    Raises:
        DataError: There is no tile, or the arrays are not of these types and one shape.
    """
    _check(truth, probabilities)
    counts = np.empty((len(truth), 2, LEVELS), dtype=np.int32)
    for chunk in blocks(truth, probabilities, pixels=_CHUNK_PIXELS):
        counts[chunk] = _count_chunk(truth[chunk], probabilities[chunk])
    post = post or Postprocessing()
    pixels = _Pixels(truth, probabilities) if post.must_apply(post.steps) else None
    return TileHistograms(inside=counts[:, 1], outside=counts[:, 0], post=post, pixels=pixels)


def _count_chunk(truth: NDArray[np.bool_], probabilities: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Count values outside (0) and inside (1) the masks; returns ``[n, 2, 256]``."""
    tiles = len(truth)
    bins = probabilities.reshape(tiles, -1).astype(np.intp)  # [n, H * W]
    bins += np.multiply(truth.reshape(tiles, -1), LEVELS, dtype=np.intp)
    bins += np.arange(tiles)[:, np.newaxis] * (2 * LEVELS)
    counts = np.bincount(bins.ravel(), minlength=tiles * 2 * LEVELS)
    return counts.reshape(tiles, 2, LEVELS)


def _count_above(histogram: NDArray[np.int32]) -> NDArray[np.int32]:
    """Pixels above each value: those from the highest value down, less those at the value."""
    above = np.cumsum(histogram[:, ::-1], axis=1, dtype=np.int32)[:, ::-1]
    above -= histogram
    return above


def _check(truth: NDArray[np.bool_], probabilities: NDArray[np.uint8]) -> None:
    if truth.dtype != np.bool_ or truth.ndim != 3:
        raise DataError(f"truth: {truth.dtype} {list(truth.shape)}", expected="bool [N, H, W]")
    if probabilities.dtype != np.uint8 or probabilities.shape != truth.shape:
        raise DataError(
            f"probabilities: {probabilities.dtype} {list(probabilities.shape)}",
            expected=f"uint8 {list(truth.shape)}, as truth",
        )
    if not truth.size:
        raise DataError(
            "there are no tiles to choose a threshold on",
            expected="at least one tile with out-of-fold probabilities",
            next_step="train a fold first",
        )
