import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kaggle_salt.ensembling.blending import AVERAGES, blend
from kaggle_salt.ensembling.climbing import Library, climb
from kaggle_salt.ensembling.histograms import count_tiles
from kaggle_salt.ensembling.thresholds import cross_fitted_score, search, tile_scores
from kaggle_salt.ensembling.weight_search import search_weights
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.predictions import Predictions
from tests.ensembling.makers import leaning_members, tile_ids

law = settings(max_examples=8)
PARTS = np.arange(18) % 3


def slow_honest_scores(
    members: dict[str, Predictions], truth: NDArray[np.bool_], how: str
) -> NDArray[np.float64]:
    """Each part under weights and decision chosen on the other tiles, which stand alone."""
    ids = np.array(tile_ids(len(truth)))
    scores = np.empty(len(truth))
    for part in np.unique(PARTS):
        held_out = PARTS == part
        rest = ids[~held_out].tolist()
        seen = Library(members, truth[~held_out], rest, PARTS[~held_out], how)
        taken = [members[step.member] for step in climb(seen).path]
        decision = search(truth[~held_out], blend(taken, how=how, ids=rest).probabilities)
        unseen = blend(taken, how=how, ids=ids[held_out].tolist()).probabilities
        scores[held_out] = tile_scores(count_tiles(truth[held_out], unseen), decision.rule)
    return scores


@law
@given(seed=st.integers(0, 2**32 - 1), how=st.sampled_from(AVERAGES))
def test_honest_is_what_each_part_earns_by_the_choice_of_the_others(seed: int, how: str) -> None:
    members, truth = leaning_members(seed, members=3, tiles=18)
    found = search_weights(members, truth, tile_ids(18), PARTS, how=how)
    expected = slow_honest_scores(members, truth, how)
    assert found.honest.score == pytest.approx(expected.mean())
    low, high = found.honest.interval
    assert low <= found.honest.score <= high
    assert list(found.part_weights) == list(found.honest.decisions) == [0, 1, 2]
    for one in found.contributions:
        others = {name: member for name, member in members.items() if name != one.member}
        without = slow_honest_scores(others, truth, how)
        assert one.loss == pytest.approx((expected - without).mean(), abs=1e-12)
        assert one.interval[0] - 1e-12 <= one.loss <= one.interval[1] + 1e-12


def test_equal_weights_and_single_members_are_scored_in_the_same_way() -> None:
    members, truth = leaning_members(0, members=2, tiles=18)
    ids = tile_ids(18)
    found = search_weights(members, truth, ids, PARTS)
    equal = count_tiles(truth, blend(list(members.values()), ids=ids).probabilities)
    assert found.equal == cross_fitted_score(equal, PARTS)
    for one in found.contributions:
        own = count_tiles(truth, blend([members[one.member]], ids=ids).probabilities)
        assert one.alone == cross_fitted_score(own, PARTS).score


def test_on_noise_the_score_that_chose_is_too_high() -> None:
    """No member knows anything: what the climb finds is chance, and the honest score says so."""
    rng = np.random.default_rng(0)
    truth = rng.random((60, 2, 2)) < 0.6
    noise = {
        f"m{number}": Predictions(
            tile_ids(60), rng.integers(0, 256, truth.shape, dtype=np.uint8)
        )
        for number in range(5)
    }  # fmt: skip
    found = search_weights(noise, truth, tile_ids(60), np.arange(60) % 3)
    assert len(found.climb.path) > 1
    assert found.climb.path[-1].score > found.honest.score + 0.05


def test_who_adds_nothing_loses_nothing() -> None:
    truth = np.zeros((6, 4, 4), dtype=bool)
    truth[:, :2] = True
    truth[4:] = False
    left, right = truth.copy(), truth.copy()
    left[:, :, 2:] = right[:, :, :2] = False
    maps = {
        "left": (left * 200).astype(np.uint8),
        "right": (right * 200).astype(np.uint8),
        "wrong": (~truth * 255).astype(np.uint8),
    }
    members = {name: Predictions(tile_ids(6), values) for name, values in maps.items()}
    found = search_weights(members, truth, tile_ids(6), [0, 1, 2, 0, 1, 2])
    shares = {one.member: (one.weight, one.loss) for one in found.contributions}
    assert shares == {
        "left": (0.5, pytest.approx(2 / 3)),  # the empty tiles stay right
        "right": (0.5, pytest.approx(2 / 3)),
        "wrong": (0.0, 0.0),
    }
    assert found.contributions[2].interval == (0.0, 0.0)
    assert found.honest.score == 1.0
    assert found.part_weights == {part: {"left": 1, "right": 1, "wrong": 0} for part in range(3)}


def test_tiles_of_one_fold_are_dealt_into_parts() -> None:
    members, truth = leaning_members(2, members=2, tiles=18)
    found = search_weights(members, truth, tile_ids(18), [1] * 18)
    assert list(found.part_weights) == [0, 1, 2, 3, 4]
    assert found == search_weights(members, truth, tile_ids(18), [4] * 18)


def test_what_is_refused() -> None:
    members, truth = leaning_members(0, members=2, tiles=18)
    with pytest.raises(ConfigError, match=r"1 member to choose weights for(.|\n)*two or more"):
        search_weights({"m0": members["m0"]}, truth, tile_ids(18), PARTS)
    with pytest.raises(ConfigError, match="unknown average"):
        search_weights(members, truth, tile_ids(18), PARTS, how="median")
    with pytest.raises(ConfigError, match="0 steps"):
        search_weights(members, truth, tile_ids(18), PARTS, steps=0)
    with pytest.raises(DataError, match="the first is tile18"):
        search_weights(members, truth, tile_ids(19), np.arange(19) % 3)
