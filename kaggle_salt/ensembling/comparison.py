"""What a comparison found, and in one sentence whether a gain is real."""

from __future__ import annotations

from dataclasses import dataclass

from kaggle_salt.ensembling.comparing import OverSeeds, Paired, Recipe, Shake


@dataclass(frozen=True)
class Standing:
    """Mean score of one that is compared, with its 95 % bootstrap interval over the tiles."""

    name: str
    score: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Part:
    """Some of the tiles.

    Args:
        kind: ``coverage`` or ``fold``.
        name: Which coverage, or which fold.
        tiles: Their number.
        scores: Mean score on them of each that is compared, in order.
        differences: Of each but the first, against the first.
    """

    kind: str
    name: str
    tiles: int
    scores: tuple[float, ...]
    differences: tuple[Paired, ...]


@dataclass(frozen=True)
class ChangedTile:
    """A tile that scores otherwise than by the first.

    Args:
        id: The tile.
        fold: Its fold.
        coverage: Share of salt, 0 to 1.
        first: Its score by the first.
        score: Its score by the other.
        pixels: In which the two masks differ.
    """

    id: str
    fold: int
    coverage: float
    first: float
    score: float
    pixels: int


@dataclass(frozen=True)
class Rival:
    """One that is compared with the first.

    Args:
        name: Its name.
        paired: How far it is ahead on the same tiles.
        over_seeds: The same of the recipes, where trainings were repeated; None elsewhere.
        shake: What leaderboards would make of the difference.
        changed: Tiles that changed most, first those that did more.
        verdict: Whether the difference is real, in a sentence.
    """

    name: str
    paired: Paired
    over_seeds: OverSeeds | None
    shake: Shake
    changed: tuple[ChangedTile, ...]
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Runs and ensembles on the same out-of-fold tiles.

    Args:
        tiles: Their number.
        decision: How probabilities became masks, and why so.
        standings: What each scores; the others are compared with the first.
        rivals: Each of the others.
        parts: The same by coverage and by fold.
        recipes: Runs that were trained with several seeds, compared or lying beside those.
        seed_deviation: Standard deviation of a score over seeds; None if it is not known.
        caveats: Why a score is too high, a sentence each.
    """

    tiles: int
    decision: str
    standings: tuple[Standing, ...]
    rivals: tuple[Rival, ...]
    parts: tuple[Part, ...]
    recipes: tuple[Recipe, ...]
    seed_deviation: float | None
    caveats: tuple[str, ...]


def interval_words(difference: float, interval: tuple[float, float]) -> str:
    """A difference as it is told, for example ``+0.0182 [+0.0050, +0.0310]``."""
    return f"{difference:+.4f} [{interval[0]:+.4f}, {interval[1]:+.4f}]"


def verdict(
    found: Paired, over_seeds: OverSeeds | None, *, repetition: bool, trainable: bool
) -> str:
    """Whether a difference is real: on these tiles, and for another training of the same.

    Args:
        found: The difference, tile by tile.
        over_seeds: That of the recipes, where trainings were repeated.
        repetition: Whether the two differ in the seed alone.
        trainable: Whether both are runs, which can be trained again.
    """
    told = interval_words(found.difference, found.interval)
    if over_seeds:
        return _over_seeds(told, over_seeds)
    if found.difference == 0:
        return "no: the two score the same"
    if repetition:
        return f"no: {told}, and the two differ in the seed alone; so far does luck go"
    if not found.is_sure:
        return f"not shown: {told} has room for no difference at all"
    which = "a gain" if found.difference > 0 else "a loss"
    again = "; to know, train both again: --seed 1 and a new --run" if trainable else ""
    return (
        f"yes, {which}, of these networks: {told}, with the same sign in {found.stays:.1%} of "
        f"resamples; how much of it is the luck of one training is not known{again}"
    )


def _over_seeds(told: str, found: OverSeeds) -> str:
    mine, firsts = found.trainings
    of_both = (
        f"{interval_words(found.difference, found.interval)} over {mine} and {firsts} trainings, "
        f"what tiles and seeds do counted in (these networks: {told})"
    )
    if found.is_sure:
        return f"yes, {'a gain' if found.difference > 0 else 'a loss'}: {of_both}"
    return f"not shown: {of_both}"
