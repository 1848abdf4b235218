from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kaggle_salt.competition.metric import image_scores
from kaggle_salt.competition.postprocess import Postprocessing, TileContext
from kaggle_salt.ensembling import climbing
from kaggle_salt.ensembling.blending import AVERAGES, blend
from kaggle_salt.ensembling.climbing import PATIENCE, Library, climb
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.predictions import Predictions
from tests.ensembling.makers import leaning_members, tile_ids

law = settings(max_examples=12)
seeds = st.integers(0, 2**32 - 1)


def library(
    maps: Mapping[str, NDArray[np.uint8]], truth: NDArray[np.bool_], how: str = "mean"
) -> Library:
    """A library of members that hold the same tiles, in two parts."""
    ids = tile_ids(len(truth))
    members = {name: Predictions(ids, values) for name, values in maps.items()}
    return Library(members, truth, ids, np.arange(len(truth)) % 2, how)


def score_of(taken: list[Predictions], truth: NDArray[np.bool_], how: str) -> int:
    """Sum of tenths of the members' blend at its best level, by thresholding at every value."""
    values = blend(taken, how=how, ids=tile_ids(len(truth))).probabilities
    levels = [0, *np.unique(values).tolist()]
    return max(round(10 * image_scores(truth, values > level).sum()) for level in levels)


def slow_climb(
    members: Mapping[str, Predictions], truth: NDArray[np.bool_], how: str, steps: int
) -> list[tuple[str, int]]:
    """Names and scores of the kept steps; every blend is made of repeated members, anew."""
    taken: list[str] = []
    scores: list[int] = []
    best = 0
    for _ in range(steps):
        choices = []
        for place, name in enumerate(members):
            now = [*taken, name]
            total = score_of([members[one] for one in now], truth, how)
            choices.append((-total, len(set(now)), place, name))
        total, _, _, name = min(choices)
        taken, scores = [*taken, name], [*scores, -total]
        best = scores.index(max(scores))
        if len(scores) - 1 - best == PATIENCE:
            break
    return list(zip(taken, scores, strict=True))[: best + 1]


@law
@given(seed=seeds, how=st.sampled_from(AVERAGES), steps=st.integers(1, 7))
def test_a_climb_is_the_slow_one(seed: int, how: str, steps: int) -> None:
    members, truth = leaning_members(seed, members=3, tiles=7)
    ids = tile_ids(7)
    found = climb(Library(members, truth, ids, [0, 1] * 3 + [0], how), steps=steps)
    slow = slow_climb(members, truth, how, steps)
    assert [(step.member, round(step.score * 70)) for step in found.path] == slow
    names = [name for name, _ in slow]
    assert found.weights == {name: names.count(name) for name in members}


@law
@given(seed=seeds)
def test_a_part_left_out_has_no_say(seed: int) -> None:
    members, truth = leaning_members(seed, members=3, tiles=8)
    ids, parts = tile_ids(8), np.arange(8) % 2
    chosen = climb(Library(members, truth, ids, parts), without_part=1)
    rest = [tile for tile, part in zip(ids, parts, strict=True) if part == 0]
    alone = climb(Library(members, truth[parts == 0], rest, [0, 1, 0, 1]))
    assert chosen == alone


# --- planted


def test_two_halves_of_the_truth_share_and_the_wrong_one_is_left_out() -> None:
    truth = np.zeros((4, 4, 4), dtype=bool)
    truth[:, :2] = True
    truth[3] = False
    left, right = truth.copy(), truth.copy()
    left[:, :, 2:] = right[:, :, :2] = False  # each sees a half of the salt ...
    maps = {
        "left": (left * 200).astype(np.uint8),
        "right": (right * 200).astype(np.uint8),  # ... and the mean of both is 100 there
        "wrong": (~truth * 255).astype(np.uint8),
    }
    found = climb(library(maps, truth))
    assert found.weights == {"left": 1, "right": 1, "wrong": 0}
    # a half has IoU .5, which passes no threshold: only the empty tile counts
    assert [(step.member, step.score) for step in found.path] == [("left", 0.25), ("right", 1.0)]


def test_a_member_that_helps_a_little_is_reached_through_repetition() -> None:
    """A alone is better than A and B, but A twice and B is better still."""
    truth = np.array([[[True, True, False]], [[False, False, False]]])
    maps = {
        "A": np.array([[[150, 50, 50]], [[0, 0, 0]]], dtype=np.uint8),
        "B": np.array([[[50, 200, 150]], [[250, 150, 150]]], dtype=np.uint8),
    }
    # A: at level 0 all of the first tile is salt, IoU 2/3, four thresholds of ten.
    # A, B: 100 125 100 and 125 75 75, of which no level is right about both tiles.
    # A, A, B: 117 100 83 and 83 50 50: level 83 is.
    found = climb(library(maps, truth))
    assert [(step.member, step.score) for step in found.path] == [("A", 0.7), ("A", 0.7), ("B", 1)]
    assert found.weights == {"A": 2, "B": 1}


def test_of_equal_members_the_first_is_taken() -> None:
    members, truth = leaning_members(0, members=1, tiles=6)
    ids = tile_ids(6)
    twice = {"one": members["m0"], "again": members["m0"]}
    assert climb(Library(twice, truth, ids, [0, 1] * 3)).weights == {"one": 1, "again": 0}


def test_one_member_has_nothing_to_climb() -> None:
    members, truth = leaning_members(1, members=1, tiles=6)
    found = climb(Library(members, truth, tile_ids(6), [0, 1] * 3))
    assert found.weights == {"m0": 1}
    assert [step.member for step in found.path] == ["m0"]


def test_of_equally_good_blends_the_smaller_is_taken() -> None:
    """B adds nothing to A here, so A is taken again while looking further."""
    truth = np.array([[[True, False]], [[True, False]]])
    perfect = (truth * 255).astype(np.uint8)
    found = library({"B": perfect // 2, "A": perfect}, truth)
    assert climb(found).weights == {"B": 1, "A": 0}
    assert climb(found, without_member="B").weights == {"B": 0, "A": 1}


# --- the way


@pytest.mark.parametrize("seed", range(5))
def test_the_path_ends_with_its_best_blend(seed: int) -> None:
    members, truth = leaning_members(seed, members=4, tiles=30)
    found = climb(Library(members, truth, tile_ids(30), np.arange(30) % 3), steps=9)
    scores = [step.score for step in found.path]
    assert scores[-1] == max(scores)
    assert scores.count(scores[-1]) == 1
    assert sum(found.weights.values()) == len(found.path) <= 9


def test_a_member_can_be_left_out() -> None:
    members, truth = leaning_members(3, members=3, tiles=12)
    ids, parts = tile_ids(12), np.arange(12) % 2
    without = climb(Library(members, truth, ids, parts), without_member="m1")
    del members["m1"]
    alone = climb(Library(members, truth, ids, parts))
    assert without.path == alone.path
    assert without.weights == {**alone.weights, "m1": 0}


def test_a_blend_is_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    members, truth = leaning_members(4, members=3, tiles=12)
    judge = Library(members, truth, tile_ids(12), np.arange(12) % 2)
    first = climb(judge)

    def count_tiles(*_: object) -> None:
        raise AssertionError("counted again")

    monkeypatch.setattr(climbing, "count_tiles", count_tiles)
    assert climb(judge) == first
    with pytest.raises(AssertionError, match="counted again"):
        climb(Library(members, truth, tile_ids(12), np.arange(12) % 2))


@pytest.mark.parametrize("chunk_pixels", [1, 16 * 5, 2**20])
def test_chunks_change_nothing(chunk_pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    members, truth = leaning_members(5, members=3, tiles=12)
    expected = climb(Library(members, truth, tile_ids(12), np.arange(12) % 2))
    monkeypatch.setattr(climbing, "_CHUNK_PIXELS", chunk_pixels)
    assert climb(Library(members, truth, tile_ids(12), np.arange(12) % 2)) == expected


@pytest.mark.parametrize("how", AVERAGES)
def test_a_blend_is_judged_as_it_will_be_made(how: str) -> None:
    members, truth = leaning_members(6, members=3, tiles=20)
    judge = Library(members, truth, tile_ids(20), np.arange(20) % 2, how)
    counts = (3, 1, 2)
    totals = judge.best_tenths((3, 1, 1), [2], without_part=None)
    assert totals == [judge.histograms(counts).tenths.sum(axis=0, dtype=int).max()]


# --- what is refused


def test_a_climb_takes_a_step() -> None:
    members, truth = leaning_members(0, members=2, tiles=4)
    with pytest.raises(ConfigError, match=r"a climb of 0 steps(.|\n)*next: --steps 30"):
        climb(Library(members, truth, tile_ids(4), [0, 1, 0, 1]), steps=0)


def test_what_a_library_refuses() -> None:
    members, truth = leaning_members(0, members=2, tiles=4)
    with pytest.raises(ConfigError, match="unknown average 'median'"):
        Library(members, truth, tile_ids(4), [0, 1, 0, 1], "median")
    with pytest.raises(DataError, match="1 tiles have no prediction, the first is tile4"):
        Library(members, truth, tile_ids(5), [0, 1, 0, 1, 0])
    with pytest.raises(DataError, match=r"parts: int64 \[3\]"):
        Library(members, truth, tile_ids(4), [0, 1, 0])
    with pytest.raises(DataError, match="as truth"):
        climb(Library(members, truth[:, :2], tile_ids(4), [0, 1, 0, 1]))


def test_a_climb_counts_emptied_tiles_as_empty() -> None:
    members, truth = leaning_members(7, members=3, tiles=12)
    ids, parts = tile_ids(12), np.arange(12) % 2
    blank = parts == 1
    images = np.where(blank[:, None, None], 5, np.arange(16).reshape(4, 4)).astype(np.uint8)
    post = Postprocessing.of(["blank-empty"], TileContext(ids, images), truth)
    found = Library(members, truth, ids, parts, post=post)
    emptied = {
        name: Predictions(
            member.ids,
            np.where(
                np.isin(member.ids, np.array(ids)[blank])[:, None, None], 0, member.probabilities
            ).astype(np.uint8),
        )
        for name, member in members.items()
    }
    expected = climb(Library(emptied, truth, ids, parts))
    assert climb(found) == expected != climb(Library(members, truth, ids, parts))
    assert found.histograms((1, 1, 1)).post.steps == ("blank-empty",)
