"""Two sets of scores on the same tiles: how far apart they are, and how sure that is.

Tiles differ far more than good networks do. So the difference is taken tile by tile, and its
interval is a bootstrap of the differences; two separate intervals would hide most of it. What
another seed would have changed no resampling of tiles can tell: that takes trainings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.ensembling.bootstrap import CONFIDENCE, bootstrap_interval, bootstrap_means
from kaggle_salt.errors import DataError

#: The competition's test tiles, and the share of them that the public leaderboard was made of.
KAGGLE_TEST_TILES, PUBLIC_SHARE = 18_000, 1 / 3

#: Splits of the test tiles that are drawn.
SPLITS = 10_000

#: Standard errors that a normal interval of :data:`CONFIDENCE` extends to either side.
_ERRORS = 1.96


@dataclass(frozen=True)
class Paired:
    """How far one is ahead of the other on the same tiles.

    Args:
        difference: Mean score less that of the first, -1 to 1.
        interval: 95 % bootstrap interval of ``difference`` over the tiles.
        stays: Share of resamples in which the one that is ahead is ahead too; 0 for a tie.
    """

    difference: float
    interval: tuple[float, float]
    stays: float

    @property
    def is_sure(self) -> bool:
        return _leaves_out_zero(self.interval)


def paired(differences: NDArray[np.float64]) -> Paired:
    """Judge the differences of two scores, tile by tile.

    Args:
        differences: float64 ``[N]``, score of each tile less that by the first.

    Raises:
        DataError: There is no tile.
    """
    exact = _exact(differences)
    difference = float(exact.mean()) if len(exact) else math.nan
    means = bootstrap_means(exact)
    stays = float((np.sign(means) == np.sign(difference)).mean()) if difference else 0.0
    return Paired(difference, bootstrap_interval(exact), stays)


@dataclass(frozen=True)
class Shake:
    """What leaderboards would make of a difference, if it is what the tiles say.

    Args:
        public_tiles: Test tiles of the public leaderboard.
        private_tiles: Test tiles of the private leaderboard.
        public: Range in which the public difference falls in 95 % of splits.
        private: The same of the private one.
        public_reversed: Share of splits in which the public leaderboard puts the other ahead.
        private_reversed: The same of the private one.
        disagree: Share of splits in which the two rank them in opposite ways.
    """

    public_tiles: int
    private_tiles: int
    public: tuple[float, float]
    private: tuple[float, float]
    public_reversed: float
    private_reversed: float
    disagree: float


def shake(
    differences: NDArray[np.float64], test_tiles: int = KAGGLE_TEST_TILES, *, seed: int = 0
) -> Shake:
    """Draw test tiles as these, a third of them public and the others private, many times.

    Args:
        differences: float64 ``[N]``, of two scores, tile by tile.
        test_tiles: How many there are, two or more.
        seed: Of the draws.

    Raises:
        DataError: There is no tile, or there are fewer than two test tiles.
    """
    if not len(differences) or test_tiles < 2:
        raise DataError(
            f"{len(differences)} tiles and {test_tiles} test tiles to split",
            expected="one and two at least",
        )
    public_tiles = max(1, round(PUBLIC_SHARE * test_tiles))
    sizes = public_tiles, test_tiles - public_tiles
    rng = np.random.default_rng(seed)
    exact = _exact(differences)
    values, counts = np.unique(exact, return_counts=True)
    # the mean of a split depends on how often each distinct difference was drawn
    public, private = (
        _exact(rng.multinomial(size, counts / len(exact), SPLITS) @ values / size) for size in sizes
    )
    side = np.sign(exact.mean())
    return Shake(
        *sizes,
        _range(public),
        _range(private),
        public_reversed=float((np.sign(public) == -side).mean()) if side else 0.5,
        private_reversed=float((np.sign(private) == -side).mean()) if side else 0.5,
        disagree=float((public * private < 0).mean()),
    )


@dataclass(frozen=True)
class Recipe:
    """Trainings that differ in nothing but the seed.

    Args:
        name: The first of them that was named.
        runs: All of them, by seed.
        seeds: Their seeds, ascending.
        scores: Score of each on the tiles of the comparison.
    """

    name: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))


def seed_deviation(recipes: Sequence[Recipe]) -> float | None:
    """Standard deviation of a score over trainings that differ in the seed alone, pooled.

    Returns:
        None where no recipe was trained twice.
    """
    spare = sum(len(recipe.scores) - 1 for recipe in recipes)
    squares = sum((score - one.mean) ** 2 for one in recipes for score in one.scores)
    return math.sqrt(squares / spare) if spare else None


@dataclass(frozen=True)
class OverSeeds:
    """A difference of two recipes, each the mean of its trainings.

    Args:
        difference: Mean score less that of the first recipe.
        interval: 95 % interval, of the tiles and of the trainings together.
        trainings: Of this recipe, and of the first.
    """

    difference: float
    interval: tuple[float, float]
    trainings: tuple[int, int]

    @property
    def is_sure(self) -> bool:
        return _leaves_out_zero(self.interval)


def over_seeds(
    scores: NDArray[np.float64], first: NDArray[np.float64], deviation: float
) -> OverSeeds:
    """Compare recipes by all their trainings.

    The two errors add up as squares: that of the mean over these tiles, and that of a mean of so
    few trainings on them. The second is itself a guess where there are few.

    Args:
        scores: float64 ``[trainings, N]``, score of each tile by each training.
        first: The same of the first recipe, on the same tiles.
        deviation: See :func:`seed_deviation`.
    """
    differences = scores.mean(axis=0) - first.mean(axis=0)
    tiles = len(differences)
    of_tiles = float(differences.std()) / math.sqrt(tiles)
    of_seeds = deviation * math.sqrt(1 / len(scores) + 1 / len(first))
    difference, reach = float(differences.mean()), _ERRORS * math.hypot(of_tiles, of_seeds)
    return OverSeeds(difference, (difference - reach, difference + reach),
                     (len(scores), len(first)))  # fmt: skip


def most_changed(
    differences: NDArray[np.float64], changed_pixels: NDArray[np.int64], n: int
) -> NDArray[np.int64]:
    """Rows of the tiles whose score differs most; of equal ones those whose masks do.

    Args:
        differences: float64 ``[N]``.
        changed_pixels: int64 ``[N]``, pixels in which the two masks of a tile differ.
        n: How many at most; tiles of equal scores are left out.
    """
    sizes = np.abs(_exact(differences))
    order = np.lexsort((-changed_pixels, -sizes))[:n]
    rows: NDArray[np.int64] = order[sizes[order] > 0].astype(np.int64)
    return rows


def _leaves_out_zero(interval: tuple[float, float]) -> bool:
    return interval[0] > 0 or interval[1] < 0


def _exact(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without the last digits: .8 - .7 and .3 - .2 are the same difference, and 1e-17 is none."""
    return np.round(values, 9)


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    return float(low), float(high)
