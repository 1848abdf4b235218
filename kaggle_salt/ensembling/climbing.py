"""Weights of a blend by hill climbing.

The climb starts from the best member and adds, one at a time and again and again, the member
that helps the score of the blend most; how often each was taken is its weight. A blend picked
among many by its score flatters itself: :mod:`kaggle_salt.ensembling.weight_search` has the
honest score.

Source: Caruana et al., "Ensemble selection from libraries of models", ICML 2004.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_salt.competition.decision import LEVELS
from kaggle_salt.competition.postprocess import Postprocessing
from kaggle_salt.ensembling.blending import blend, require_average, to_levels, worth
from kaggle_salt.ensembling.histograms import TileHistograms, count_tiles
from kaggle_salt.ensembling.thresholds import cross_fit_parts
from kaggle_salt.errors import ConfigError
from kaggle_salt.predictions import Predictions, blocks

#: Members added without a better score before a climb gives up. From A alone it takes two to
#: see that A, A, B is better where A, B is not.
PATIENCE = 2

#: Pixels judged at once: their sums (4 bytes each) stay in the processor's cache.
_CHUNK_PIXELS = 2**17

#: How often each member is in a blend, in the order of the members.
Counts = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """A member that a climb took, and the score of the blend it made, at the best level."""

    member: str
    score: float


@dataclass(frozen=True)
class Climb:
    """A climb up to its best blend.

    Args:
        weights: How often each member was taken, 0 for some.
        path: What was taken, in order.
    """

    weights: Mapping[str, int]
    path: tuple[Step, ...]


class Library:
    """Members and the truth of the same tiles; judges blends of the members, each blend once.

    Args:
        members: Predictions by name.
        truth: bool ``[N, H, W]``.
        ids: The tiles of ``truth``, predicted by every member.
        parts: int ``[N]``, the fold of each tile, as :func:`cross_fit_parts` takes them.
        how: The average, one of :data:`kaggle_salt.ensembling.blending.AVERAGES`.
        post: The post-processing that will follow, on the same tiles; none by default. A climb
            counts tiles that it settles as it settles them.

    Raises:
        ConfigError: There is no such average.
        DataError: There is no member, one lacks a tile, or the arrays do not fit together.
    """

    def __init__(
        self,
        members: Mapping[str, Predictions],
        truth: NDArray[np.bool_],
        ids: Sequence[str],
        parts: ArrayLike,
        how: str = "mean",
        post: Postprocessing | None = None,
    ) -> None:
        require_average(how)
        self.names = tuple(members)
        self.parts = cross_fit_parts(parts, len(ids))
        self.part_numbers: list[int] = np.unique(self.parts).tolist()
        self._members = tuple(members.values())
        self._rows = [member.rows(ids) for member in self._members]
        self._truth, self._ids, self._how = truth, ids, how
        self._post = post or Postprocessing()
        self._settled = self._post.settled_by(self._post.steps, len(truth))
        self._part_tenths: dict[Counts, NDArray[np.int64]] = {}

    def histograms(self, counts: Counts) -> TileHistograms:
        """Histograms of a blend."""
        taken = [number for number, count in enumerate(counts) if count]
        blended = blend(
            [self._members[number] for number in taken],
            weights=[counts[number] for number in taken],
            how=self._how,
            ids=self._ids,
        )
        return count_tiles(self._truth, blended.probabilities, self._post)

    def best_tenths(
        self, counts: Counts, additions: Sequence[int], without_part: int | None
    ) -> list[int]:
        """Sum of tenths over the tiles, at the best level, of a blend with one member more.

        Args:
            counts: The blend.
            additions: Numbers of the members to try.
            without_part: A part whose tiles are not to be looked at.
        """
        grown = [_in_lowest_terms(_add(counts, member)) for member in additions]
        unknown = [
            member for member, blended in zip(additions, grown, strict=True)
            if blended not in self._part_tenths
        ]  # fmt: skip
        if unknown:
            self._judge(counts, unknown)
        seen = [part != without_part for part in self.part_numbers]
        return [int(self._part_tenths[blended][seen].sum(axis=0).max()) for blended in grown]

    def _judge(self, counts: Counts, additions: Sequence[int]) -> None:
        """Remember the sums of tenths, by part and level, of a blend with one member more.

        The common sum is taken once for all additions, chunk by chunk, and nothing but the
        tenths is kept: that is what makes a climb over thousands of tiles take seconds.
        """
        tenths = np.empty((len(additions), len(self._truth), LEVELS), dtype=np.int8)
        sources = [member.probabilities for member in self._members]
        for chunk in blocks(self._truth, *sources, pixels=_CHUNK_PIXELS):
            worths = [
                worth(source[rows[chunk]], self._how).astype(np.uint32)
                for source, rows in zip(sources, self._rows, strict=True)
            ]
            base = sum(count * part for count, part in zip(counts, worths, strict=True) if count)
            for of_tiles, member in zip(tenths, additions, strict=True):
                values = to_levels(base + worths[member], sum(counts) + 1, self._how)
                of_tiles[chunk] = count_tiles(self._truth[chunk], values.astype(np.uint8)).tenths
        rows = np.flatnonzero(self._settled >= 0)
        tenths[:, rows] = self._settled[rows, np.newaxis]
        for of_tiles, member in zip(tenths, additions, strict=True):
            of_parts = [
                of_tiles[self.parts == part].sum(axis=0, dtype=np.int64)
                for part in self.part_numbers
            ]
            blended = _in_lowest_terms(_add(counts, member))
            self._part_tenths[blended] = np.stack(of_parts)  # [parts, 256]


def climb(
    library: Library,
    *,
    steps: int = 30,
    without_part: int | None = None,
    without_member: str | None = None,
) -> Climb:
    """Add the member that helps most, again and again, and keep the best blend on the way.

    Of members that help as much, the one that makes the blend of the fewest members is taken,
    then the first of them. A blend is kept for being better, not for being as good.

    Args:
        library: Members and truth.
        steps: Members to take at most, counted with repetition.
        without_part: A part whose tiles are not to be looked at.
        without_member: A member that is not to be taken.

    Raises:
        ConfigError: ``steps`` is less than 1.
    """
    if steps < 1:
        raise ConfigError(f"a climb of {steps} steps", expected="1 or more", next_step="--steps 30")
    tiles = int((library.parts != without_part).sum())
    members = [m for m, name in enumerate(library.names) if name != without_member]
    counts, kept = (0,) * len(library.names), (0,) * len(library.names)
    path: list[Step] = []
    best = -1
    for _ in range(steps):
        totals = library.best_tenths(counts, members, without_part)
        # Of equally good ones max takes the first.
        total, counts, member = max(
            ((total, _add(counts, m), m) for total, m in zip(totals, members, strict=True)),
            key=lambda choice: (choice[0], -np.count_nonzero(choice[1])),
        )
        path.append(Step(library.names[member], total / 10 / tiles))
        if total > best:
            best, kept = total, counts
        elif len(path) - sum(kept) == PATIENCE:
            break
    weights = dict(zip(library.names, kept, strict=True))
    return Climb(weights, tuple(path[: sum(kept)]))


def _add(counts: Counts, member: int) -> Counts:
    return (*counts[:member], counts[member] + 1, *counts[member + 1 :])


def _in_lowest_terms(counts: Counts) -> Counts:
    """The same blend, exactly, with the smallest counts: A, A, B, B is A, B."""
    divisor = math.gcd(*counts)
    return tuple(count // divisor for count in counts)
