"""The rule from probabilities to masks."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kaggle_salt.competition.decision import Rule, nearest_level
from kaggle_salt.competition.postprocess import TileContext
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

#: Tiles of the maps: the first and the last are of one grey value.
IMAGES = np.array([[[7] * 3] * 2, [[1, 2, 3]] * 2, [[1, 1, 1], [1, 1, 2]], [[0] * 3] * 2], np.uint8)
TILES = TileContext(("a", "b", "c", "d"), IMAGES)


def test_a_pixel_must_exceed_the_level() -> None:
    masks = Rule(128).apply(MAPS)
    assert masks.dtype == np.bool_
    assert masks[2].astype(int).tolist() == [[1, 0, 1], [0, 1, 0]]
    assert Rule(0).apply(MAPS)[2].sum() == 5
    assert not Rule(255).apply(MAPS).any()


def test_masks_below_the_minimum_area_become_empty() -> None:
    areas = [
        Rule(128, min_area).apply(MAPS).sum(axis=(1, 2)).tolist() for min_area in (0, 1, 2, 3, 4)
    ]
    assert areas == [[2, 0, 3, 1], [2, 0, 3, 1], [2, 0, 3, 0], [0, 0, 3, 0], [0, 0, 0, 0]]


def test_the_steps_follow() -> None:
    areas = Rule(128, 2, ("blank-empty",)).apply(MAPS, TILES).sum(axis=(1, 2))
    assert areas.tolist() == [0, 0, 3, 0]


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(1, 4))),
    st.integers(0, 255),
    st.integers(0, 17),
)
def test_masks_equal_the_rule_tile_by_tile(
    maps: NDArray[np.uint8], level: int, min_area: int
) -> None:
    masks = Rule(level, min_area).apply(maps)
    for probabilities, mask in zip(maps, masks, strict=True):
        salt = [[int(value) > level for value in row] for row in probabilities]
        large_enough = sum(map(sum, salt)) >= min_area
        assert mask.tolist() == [[pixel and large_enough for pixel in row] for row in salt]


@pytest.mark.parametrize(
    ("level", "min_area", "steps", "message"),
    [
        (256, 0, (), "level 256\nexpected: an integer from 0 to 255"),
        (-1, 0, (), "level -1"),
        (0, -1, (), "minimum area -1\nexpected: a number of pixels"),
        (0, 0, ("blank-emty",), "step 'blank-emty'\nexpected: did you mean 'blank-empty'"),
        (0, 0, ("blank-empty",) * 2, r"named twice(.|\n)*next: --post blank-empty$"),
    ],
)
def test_an_impossible_rule_is_refused(
    level: int, min_area: int, steps: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Rule(level, min_area, steps)


def test_only_stored_probabilities_are_thresholded() -> None:
    with pytest.raises(DataError, match=r"float64 \[4, 2, 3\]\nexpected: uint8"):
        Rule(128).apply(MAPS / 255)  # type: ignore[arg-type]


def test_steps_need_the_tile_of_each_mask() -> None:
    rule = Rule(128, 0, ("blank-empty",))
    with pytest.raises(DataError, match="no tile for 4 masks and the steps blank-empty"):
        rule.apply(MAPS)
    with pytest.raises(DataError, match="3 tiles for 4 masks"):
        rule.apply(MAPS, TILES.take(slice(3)))


def test_the_default_is_one_half() -> None:
    values = np.array([[[127, 128], [255, 0]], [[128, 127], [0, 0]]], dtype=np.uint8)
    expected = [[[False, True], [True, False]], [[True, False], [False, False]]]
    assert Rule().apply(values).tolist() == expected
    assert Rule(min_area=1).apply(values).tolist() == expected
    assert Rule(min_area=2).apply(values).tolist() == [expected[0], [[False] * 2] * 2]


def test_a_rule_is_printed_as_one() -> None:
    assert str(Rule(111, 44)) == "threshold 0.4353, minimum area 44 px"
    assert str(Rule(0, 0, ("blank-empty",))) == (
        "threshold 0.0000, minimum area 0 px, then blank-empty"
    )


def test_a_rule_is_stored_as_one() -> None:
    rule = Rule(51, 20, ("blank-empty",))
    stored = json.loads(json.dumps(rule.as_json()))
    assert stored == {"level": 51, "threshold": 0.2, "min_area": 20, "steps": ["blank-empty"]}
    assert Rule.from_json(stored) == rule
    assert replace(rule, level=255).threshold == 1
    for missing in ("level", "min_area", "steps"):
        partial = {key: value for key, value in stored.items() if key != missing}
        with pytest.raises(DataError, match=r"None(.|\n)*expected: two whole numbers and a list"):
            Rule.from_json(partial)


def test_level_of_a_threshold() -> None:
    assert [nearest_level(threshold) for threshold in (0, 0.5, 1)] == [0, 127, 255]
    assert [nearest_level(round(level / 255, 3)) for level in range(256)] == list(range(256))


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_thresholds_that_are_no_probability_are_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match=f"threshold {threshold}\nexpected: a probability"):
        nearest_level(threshold)
