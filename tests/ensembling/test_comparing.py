"""Differences tile by tile: bootstrap, leaderboards, seeds; each against a slow way to say it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kaggle_salt.ensembling.comparing import (
    Paired,
    Recipe,
    most_changed,
    over_seeds,
    paired,
    seed_deviation,
    shake,
)
from kaggle_salt.ensembling.comparison import verdict
from kaggle_salt.errors import DataError

RNG = np.random.default_rng(7)

#: Differences of scores that are tenths, three in four of them none.
MIXED = RNG.choice([0, 0, 0, 0, 0, 0, -0.2, 0.1, 0.3], 400).astype(np.float64)


def test_the_interval_is_that_of_resampled_tiles() -> None:
    found = paired(MIXED)
    means = [MIXED[RNG.integers(0, 400, 400)].mean() for _ in range(5000)]
    assert found.difference == pytest.approx(MIXED.mean())
    assert found.interval == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=2e-3)
    assert found.stays == pytest.approx(np.mean(np.array(means) > 0), abs=0.02)


def test_pairs_are_surer_than_two_intervals() -> None:
    """Tiles differ far more than the two runs do: one gains .1 on every second tile."""
    first = RNG.choice([0.0, 0.9], 100)
    other = first + np.tile([0.1, 0.0], 50)
    found = paired(other - first)
    assert found.difference == pytest.approx(0.05)
    assert found.is_sure
    assert found.stays == 1


def test_the_sign_of_a_loss_stays_too() -> None:
    assert paired(-MIXED).stays == pytest.approx(paired(MIXED).stays, abs=0.01)
    assert paired(-MIXED).interval[1] == pytest.approx(-paired(MIXED).interval[0], abs=2e-3)


def test_equal_scores_are_a_tie() -> None:
    """.3 - .2 and .1 - .0 differ in their last digits alone."""
    found = paired(np.array([0.3, 0.1]) - np.array([0.2, 0.2]))
    assert found == Paired(0.0, found.interval, 0.0)
    assert paired(np.zeros(5)) == Paired(0.0, (0.0, 0.0), 0.0)


def test_no_tile_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="no scores"):
        paired(np.array([]))
    with pytest.raises(DataError, match="1 test tiles to split"):
        shake(MIXED, 1)


def test_leaderboards_are_drawn_tile_by_tile() -> None:
    """The same with every tile drawn by itself, and split."""
    found = shake(MIXED, 300)
    assert (found.public_tiles, found.private_tiles) == (100, 200)
    drawn = MIXED[RNG.integers(0, 400, (4000, 300))]
    public, private = drawn[:, :100].mean(axis=1), drawn[:, 100:].mean(axis=1)
    assert found.public == pytest.approx(np.quantile(public, [0.025, 0.975]), abs=5e-3)
    assert found.private == pytest.approx(np.quantile(private, [0.025, 0.975]), abs=4e-3)
    assert found.public_reversed == pytest.approx((public < -1e-9).mean(), abs=0.02)
    assert found.private_reversed == pytest.approx((private < -1e-9).mean(), abs=0.02)
    assert found.disagree == pytest.approx((public * private < -1e-12).mean(), abs=0.03)
    assert shake(MIXED, 300) == found


def test_of_the_real_competition_a_third_is_public() -> None:
    found = shake(MIXED)
    assert (found.public_tiles, found.private_tiles) == (6000, 12000)
    assert shake(-MIXED).public_reversed == pytest.approx(found.public_reversed, abs=0.01)
    assert shake(np.zeros(3)).public_reversed == 0.5


def test_seeds_have_one_deviation_over_all_recipes() -> None:
    recipes = [
        Recipe("a", ("a", "a1"), (0, 1), (0.80, 0.82)),
        Recipe("b", ("b", "b1", "b2"), (0, 1, 2), (0.70, 0.70, 0.73)),
        Recipe("c", ("c",), (0,), (0.1,)),
    ]
    # squares about each mean: 2 of .01 squared; 2 of .01 and one of .02 squared; 3 to spare
    assert seed_deviation(recipes) == pytest.approx(math.sqrt((2 + 2 + 4) / 3) / 100)
    assert seed_deviation(recipes[2:]) is None


def test_what_seeds_do_widens_the_interval() -> None:
    first, other = np.zeros((2, 400)), np.stack([MIXED, MIXED, MIXED])
    narrow, wide = over_seeds(other, first, 0.0), over_seeds(other, first, 0.03)
    assert narrow.difference == wide.difference == pytest.approx(MIXED.mean())
    assert narrow.trainings == (3, 2)
    assert narrow.interval == pytest.approx(paired(MIXED).interval, abs=2e-3)
    reach = 1.96 * math.hypot(MIXED.std() / 20, 0.03 * math.sqrt(1 / 3 + 1 / 2))
    assert wide.interval[1] - wide.difference == pytest.approx(reach)
    assert not wide.is_sure


def test_the_largest_changes_come_first() -> None:
    differences = np.array([0.1, -0.9, 0.0, 0.9, 0.9])
    pixels = np.array([1, 5, 99, 7, 9])
    assert most_changed(differences, pixels, 9).tolist() == [4, 3, 1, 0]
    assert most_changed(differences, pixels, 2).tolist() == [4, 3]


GAIN, MAYBE = Paired(0.018, (0.005, 0.031), 0.997), Paired(0.002, (-0.005, 0.01), 0.7)


@pytest.mark.parametrize(
    ("found", "over", "repetition", "said"),
    [
        (GAIN, None, False, "yes, a gain, of these networks: +0.0180 [+0.0050, +0.0310], with the "
         "same sign in 99.7% of resamples; how much of it is the luck of one training is not "
         "known; to know, train both again: --seed 1 and a new --run"),
        (Paired(-0.1, (-0.2, -0.05), 1), None, False, "yes, a loss"),
        (MAYBE, None, False, r"not shown: +0.0020 [-0.0050, +0.0100] has room"),
        (Paired(0, (-0.1, 0.1), 0), None, False, "no: the two score the same"),
        (GAIN, None, True, "no: +0.0180 [+0.0050, +0.0310], and the two differ in the seed alone"),
        (GAIN, 0.001, False, "yes, a gain: +0."),
        (GAIN, 0.5, False, "not shown: +0."),
    ],
)  # fmt: skip
def test_the_verdict(found: Paired, over: float | None, repetition: bool, said: str) -> None:
    recipes = None
    if over is not None:
        recipes = over_seeds(np.stack([MIXED + 0.1] * 2), np.zeros((1, 400)), over)
    told = verdict(found, recipes, repetition=repetition, trainable=True)
    assert told.startswith(said)
    if over is not None:
        assert "over 2 and 1 trainings" in told
    assert "--seed" not in verdict(GAIN, None, repetition=False, trainable=False)
