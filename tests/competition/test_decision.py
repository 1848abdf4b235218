"""The rule from probabilities to masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kaggle_salt.competition.decision import apply_decision, nearest_level
from kaggle_salt.errors import ConfigError, DataError

MAPS = np.array(
    [
        [[255, 0, 0], [200, 0, 0]],
        [[0, 0, 0], [0, 0, 0]],
        [[129, 128, 129], [127, 129, 0]],
        [[0, 0, 0], [0, 0, 255]],
    ],
    dtype=np.uint8,
)


def test_a_pixel_must_exceed_the_level() -> None:
    masks = apply_decision(MAPS, 128, 0)
    assert masks.dtype == np.bool_
    assert masks[2].astype(int).tolist() == [[1, 0, 1], [0, 1, 0]]
    assert apply_decision(MAPS, 0, 0)[2].sum() == 5
    assert not apply_decision(MAPS, 255, 0).any()


def test_masks_below_the_minimum_area_become_empty() -> None:
    areas = [
        apply_decision(MAPS, 128, min_area).sum(axis=(1, 2)).tolist()
        for min_area in (0, 1, 2, 3, 4)
    ]
    assert areas == [[2, 0, 3, 1], [2, 0, 3, 1], [2, 0, 3, 0], [0, 0, 3, 0], [0, 0, 0, 0]]


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(1, 4))),
    st.integers(0, 255),
    st.integers(0, 17),
)
def test_masks_equal_the_rule_tile_by_tile(
    maps: NDArray[np.uint8], level: int, min_area: int
) -> None:
    masks = apply_decision(maps, level, min_area)
    for probabilities, mask in zip(maps, masks, strict=True):
        salt = [[int(value) > level for value in row] for row in probabilities]
        large_enough = sum(map(sum, salt)) >= min_area
        assert mask.tolist() == [[pixel and large_enough for pixel in row] for row in salt]


@pytest.mark.parametrize(
    ("level", "min_area", "message"),
    [
        (256, 0, "level 256\nexpected: an integer from 0 to 255"),
        (-1, 0, "level -1"),
        (0, -1, "minimum area -1"),
    ],
)
def test_an_impossible_decision_is_refused(level: int, min_area: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_decision(MAPS, level, min_area)


def test_only_stored_probabilities_are_thresholded() -> None:
    with pytest.raises(DataError, match=r"float64 \[4, 2, 3\]\nexpected: uint8"):
        apply_decision(MAPS / 255, 128, 0)  # type: ignore[arg-type]


def test_masks_of_a_decision() -> None:
    values = np.array([[[127, 128], [255, 0]], [[128, 127], [0, 0]]], dtype=np.uint8)
    expected = [[[False, True], [True, False]], [[True, False], [False, False]]]
    assert apply_decision(values).tolist() == expected
    assert apply_decision(values, min_area=1).tolist() == expected
    assert apply_decision(values, min_area=2).tolist() == [expected[0], [[False] * 2] * 2]
    assert apply_decision(values, level=255).any() == np.False_


def test_a_negative_minimum_area_is_refused() -> None:
    with pytest.raises(ConfigError, match="minimum area -1"):
        apply_decision(MAPS, min_area=-1)


def test_level_of_a_threshold() -> None:
    assert [nearest_level(threshold) for threshold in (0, 0.5, 1)] == [0, 127, 255]
    assert [nearest_level(round(level / 255, 3)) for level in range(256)] == list(range(256))


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_thresholds_that_are_no_probability_are_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match=f"threshold {threshold}\nexpected: a probability"):
        nearest_level(threshold)
