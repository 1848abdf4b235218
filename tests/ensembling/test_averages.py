import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kaggle_salt.ensembling.averages import AVERAGES, require_average, sum_type, to_levels, worth
from kaggle_salt.errors import ConfigError

law = settings(max_examples=50)
all_values = np.arange(256, dtype=np.uint8)
stored = st.lists(st.integers(0, 255), min_size=1, max_size=6)


def average(values: list[int], weights: list[int], how: str) -> int:
    """The average of one pixel's values."""
    each = worth(np.array(values, dtype=np.uint8), how).astype(np.uint64)
    total = (each * np.array(weights, dtype=np.uint64)).sum(keepdims=True)
    return int(to_levels(total, sum(weights), how)[0])


def level_of_mean_logit(values: NDArray[np.float64], weights: list[int]) -> float:
    p = np.clip(values, 0.5, 254.5) / 255
    return float(255 / (1 + np.exp(-np.average(np.log(p / (1 - p)), weights=weights))))


def test_means_by_hand() -> None:
    assert average([10, 20], [1, 1], "mean") == 15
    assert average([10, 11], [1, 1], "mean") == 11  # halves upwards
    assert average([0, 255], [3, 1], "mean") == 64


def test_logits_by_hand() -> None:
    assert average([51, 204], [1, 1], "logits") == 128  # logits of .2 and .8 cancel
    # logits log(1/4) and log(254.5/.5): their mean is 2.4231, of which the sigmoid is .9186
    assert average([51, 255], [1, 1], "logits") == 234
    assert average([51, 0], [1, 1], "logits") == 6
    assert average([51, 255], [9, 1], "logits") == 89  # mean -.6244, sigmoid .3488


def test_votes_by_hand() -> None:
    assert average([128, 127, 255], [1, 1, 1], "vote") == 170
    assert average([128, 0], [3, 1], "vote") == 191
    assert average([255, 127], [1, 1], "vote") == 127, "a tie is not salt at threshold .5"
    assert average([255, 127], [1000, 999], "vote") == 128


@law
@given(values=stored, weight=st.integers(1, 2**20))
def test_logits_are_those_of_floating_point(values: list[int], weight: int) -> None:
    weights = [weight, *[1] * (len(values) - 1)]
    expected = level_of_mean_logit(np.array(values, dtype=float), weights)
    assert abs(average(values, weights, "logits") - expected) <= 0.5 + 1 / 60


@pytest.mark.parametrize("how", ["mean", "logits"])
@pytest.mark.parametrize("units", [1, 7, 2**20])
def test_members_that_agree_are_believed(how: str, units: int) -> None:
    total = worth(all_values, how) * sum_type(how)(units)
    assert np.array_equal(to_levels(total, units, how), all_values)


def test_voters_that_agree_are_certain() -> None:
    units = 2**20
    total = worth(all_values, "vote") * sum_type("vote")(units)
    assert np.array_equal(to_levels(total, units, "vote"), np.where(all_values > 127, 255, 0))


@law
@given(values=stored, how=st.sampled_from(AVERAGES), seed=st.integers(0, 99))
def test_an_average_lies_between_its_values(values: list[int], how: str, seed: int) -> None:
    weights = np.random.default_rng(seed).integers(1, 9, len(values)).tolist()
    certain = [255 * (value > 127) for value in values] if how == "vote" else values
    assert min(certain) <= average(values, weights, how) <= max(certain)


@pytest.mark.parametrize("how", AVERAGES)
def test_more_is_never_less(how: str) -> None:
    with_a_brighter_one = [average([value, 90], [2, 3], how) for value in range(256)]
    assert with_a_brighter_one == sorted(with_a_brighter_one)
    assert len(set(with_a_brighter_one)) > 1


def test_salt_and_its_background_are_treated_alike() -> None:
    for value in range(256):
        level = average([value, 40], [2, 1], "logits")
        mirrored = average([255 - value, 215], [2, 1], "logits")
        assert abs(level - (255 - mirrored)) <= 1  # halves are rounded upwards both times


def test_32_bits_are_enough_for_a_climb() -> None:
    for how in AVERAGES:
        total = worth(all_values, how).astype(np.uint32) * np.uint32(1000)
        wide = to_levels(total.astype(np.uint64), 1000, how)
        assert np.array_equal(to_levels(total, 1000, how), wide)


def test_an_unknown_average_is_refused() -> None:
    for how in AVERAGES:
        require_average(how)
    with pytest.raises(ConfigError, match=r"unknown average 'logit'(.|\n)*did you mean 'logits'"):
        require_average("logit")
