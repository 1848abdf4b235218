from __future__ import annotations

import numpy as np
import pytest

from kaggle_salt.errors import ConfigError
from kaggle_salt.sections.survey_lines import Numbers, choose_directions
from tests.surveys import Place, cube


def numbers(places: list[Place]) -> Numbers:
    inlines, crosslines = np.array(places, dtype=np.int32).T
    return Numbers(inlines, crosslines)


def read(found: Numbers, direction: str) -> dict[int, list[int]]:
    return {line.number: line.traces.tolist() for line in found.lines(direction)}  # type: ignore[arg-type]


def test_lines_of_a_regular_survey() -> None:
    found = numbers(cube([1, 2], [10, 20, 30]))
    assert found.directions() == ("inline", "crossline")
    assert read(found, "inline") == {1: [0, 1, 2], 2: [3, 4, 5]}
    assert read(found, "crossline") == {10: [0, 3], 20: [1, 4], 30: [2, 5]}


def test_lines_may_be_unsorted_and_irregular() -> None:
    #        0        1       2        3        4        5        6
    found = numbers([(7, 3), (-1, 5), (7, -2), (-1, 3), (7, 9), (-1, 5), (7, 5)])
    assert read(found, "inline") == {-1: [3, 1, 5], 7: [2, 0, 6, 4]}
    assert read(found, "crossline") == {-2: [2], 3: [3, 0], 5: [1, 5, 6], 9: [4]}
    assert found.repeated() == 1


@pytest.mark.parametrize("seed", range(5))
def test_every_trace_is_in_one_line_of_each_direction(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = Numbers(*rng.integers(-4, 4, (2, 60)).astype(np.int32))
    for direction in ("inline", "crossline"):
        lines = list(found.lines(direction))  # type: ignore[arg-type]
        assert sorted(np.concatenate([line.traces for line in lines])) == list(range(60))
        own, other = found.inlines, found.crosslines
        if direction == "crossline":
            own, other = other, own
        for line in lines:
            assert set(own[line.traces]) == {line.number}
            assert np.all(np.diff(other[line.traces]) >= 0)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (cube([3], range(8)), ("inline",)),  # a 2-D line with numbers
        (cube(range(8), [3]), ("crossline",)),
        ([(0, 0)] * 8, ("file",)),  # nothing written
        ([(k, k) for k in range(8)], ("file",)),  # a number of the trace in both
        ([(k, 7 * k % 8) for k in range(8)], ("file",)),
    ],
)
def test_directions_without_lines_are_none(places: list[Place], expected: tuple[str, ...]) -> None:
    found = numbers(places)
    assert found.directions() == expected
    assert read(found, expected[0]) == {3 if expected != ("file",) else 0: list(range(8))}


def test_what_is_asked_for_is_chosen() -> None:
    assert choose_directions(("inline", "crossline"), None) == ("inline",)
    assert choose_directions(("crossline",), None) == ("crossline",)
    assert choose_directions(("inline", "crossline"), "crossline") == ("crossline",)
    assert choose_directions(("inline", "crossline"), "both") == ("inline", "crossline")
    with pytest.raises(ConfigError, match="the survey has no crosslines"):
        choose_directions(("inline",), "both")
    with pytest.raises(ConfigError, match="leave out --along inline"):
        choose_directions(("file",), "inline")
