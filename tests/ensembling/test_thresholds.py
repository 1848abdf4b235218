from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.metric import image_scores, score
from kaggle_salt.competition.neighbourhood import Neighbourhood
from kaggle_salt.competition.postprocess import STEPS, Postprocessing, Step, TileContext
from kaggle_salt.ensembling import bootstrap, histograms
from kaggle_salt.ensembling.bootstrap import bootstrap_interval
from kaggle_salt.ensembling.histograms import count_tiles
from kaggle_salt.ensembling.thresholds import (
    best_decision,
    cross_fitted_score,
    curve,
    score_at,
    search,
    tile_scores,
)
from kaggle_salt.errors import DataError

Tiles = tuple[NDArray[np.bool_], NDArray[np.uint8]]

law = settings(max_examples=30)
seeds = st.integers(0, 2**32 - 1)


def two_tiles(speck: int) -> Tiles:
    """A block of four salt pixels, over-predicted at 150; an empty tile with one speck.

    The block's IoU is 4/8 up to level 149 (which passes no threshold), 1 from 150 to 199, and
    its mask is empty from 200 on.
    """
    truth = np.zeros((2, 4, 4), dtype=bool)
    truth[0, :2, :2] = True
    values = np.zeros((2, 4, 4), dtype=np.uint8)
    values[0, :2] = [200, 200, 150, 150]
    values[1, 3, 3] = speck
    return truth, values


def noisy_tiles(count: int, seed: int = 0, side: int = 3, values: int = 256) -> Tiles:
    """Tiles, a third of them empty, whose probabilities lean towards the truth.

    Few ``values`` give many ties.
    """
    rng = np.random.default_rng(seed)
    truth = rng.random((count, side, side)) < 0.5
    truth[rng.random(count) < 1 / 3] = False
    noise = rng.integers(0, values, truth.shape)
    leaning = np.maximum(noise, np.where(truth, rng.integers(0, values, truth.shape), 0))
    return truth, (leaning * (255 // (values - 1))).astype(np.uint8)


def chosen_of(tenths: dict[tuple[int, int], NDArray[np.int64]]) -> tuple[int, int]:
    """Minimum area and level that change least, of those within a standard error of the best."""
    preferred = sorted(tenths, key=lambda pair: (pair[0], abs(pair[1] - 127), pair[1]))
    best = max(preferred, key=lambda pair: tenths[pair].sum())  # the first of equals
    for pair in preferred:
        lost = tenths[best] - tenths[pair]
        error = lost.std(ddof=1) / np.sqrt(len(lost)) if len(lost) > 1 else 0
        if lost.mean() == 0 or lost.mean() < error - 1e-12:
            return pair
    raise AssertionError("the best is in question")


def chosen_by_trying_everything(truth: NDArray[np.bool_], values: NDArray[np.uint8]) -> list[int]:
    """Level, minimum area and sum of tenths, by thresholding masks for each and every pair."""
    if_empty = np.rint(10 * image_scores(truth, np.zeros_like(truth))).astype(int)
    tenths = {}
    for level in range(256):
        masks = values > level
        scores = np.rint(10 * image_scores(truth, masks)).astype(int)
        for min_area in range(truth[0].size + 2):
            kept = masks.sum(axis=(1, 2)) >= min_area
            tenths[min_area, level] = np.where(kept, scores, if_empty)
    min_area, level = chosen_of(tenths)
    return [level, min_area, tenths[min_area, level].sum()]


# --- the search


def test_a_plateau_gives_the_level_nearest_to_one_half() -> None:
    decision = search(*two_tiles(speck=180))
    # Levels 180 to 199 are right about both tiles. Level 150 would be too, with min_area 2:
    # the smaller minimum area is preferred to the nearer level.
    assert (decision.rule, decision.score) == (Rule(180, 0), 1.0)
    assert decision.rule.threshold == 180 / 255
    assert decision.interval == (1.0, 1.0)


def test_a_minimum_area_removes_what_no_level_can() -> None:
    decision = search(*two_tiles(speck=220))
    assert (decision.rule, decision.score) == (Rule(150, 2), 1.0)


def test_certain_and_right_probabilities_leave_the_default() -> None:
    truth = two_tiles(speck=0)[0]
    decision = search(truth, truth * np.uint8(255))
    assert (decision.rule, decision.score) == (Rule(127, 0), 1.0)


def test_of_two_levels_as_near_the_lower_is_taken() -> None:
    truth = np.zeros((2, 2, 2), dtype=bool)
    truth[0, 0, 0] = True
    values = np.zeros((2, 2, 2), dtype=np.uint8)
    values[0, 0, 0] = 127  # the first tile is right up to level 126 ...
    values[1, 0, 0] = 128  # ... the second from 128 on
    decision = search(truth, values)
    assert (decision.rule, decision.score) == (Rule(126, 0), 0.5)


def test_empty_tiles_predicted_empty_need_no_decision() -> None:
    empty = np.zeros((3, 4, 4), dtype=bool)
    decision = search(empty, empty.astype(np.uint8))
    assert (decision.rule, decision.score) == (Rule(127, 0), 1.0)


def test_one_tile_whose_best_mask_is_none() -> None:
    truth = np.zeros((1, 2, 2), dtype=bool)
    decision = search(truth, np.full(truth.shape, 255, dtype=np.uint8))
    assert (decision.rule, decision.score) == (Rule(255, 0), 1.0)


def test_what_may_be_chance_changes_nothing() -> None:
    """Levels that differ on a few of many tiles, for the better and for the worse."""
    truth, values = two_tiles(speck=0)
    truth, values = np.repeat(truth[:1], 100, axis=0), np.repeat(values[:1], 100, axis=0)
    values[:, 0, 1] = values[:, 1, 0] = values[:, 1, 1] = values[:, 0, 0] = 200
    values[:5, :2, 2:] = 150  # better above level 150 ...
    values[5:9, 0, :2] = 140  # ... and worse
    values[:, :2, 2:][5:] = 0
    assert search(truth, values).rule == Rule(127, 0)
    assert curve(count_tiles(truth, values))["score"].idxmax() == 150
    values[5:9, 0, :2] = 200
    assert search(truth, values).rule == Rule(150, 0), "what only helps is no chance"


@law
@given(seed=seeds, count=st.integers(1, 8), values=st.sampled_from([2, 4, 18, 256]))
def test_search_equals_trying_every_level_and_area(seed: int, count: int, values: int) -> None:
    truth, probabilities = noisy_tiles(count, seed, values=values)
    decision = search(truth, probabilities)
    level, min_area, total = chosen_by_trying_everything(truth, probabilities)
    assert decision.rule == Rule(level, min_area)
    assert decision.score == pytest.approx(total / 10 / count)


def test_tiles_in_parts_give_the_same_decision_and_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = count_tiles(*noisy_tiles(30))
    decision, scores = best_decision(counted), curve(counted, Rule(min_area=2))["score"].tolist()
    monkeypatch.setattr(histograms, "_PART_TILES", 7)
    assert best_decision(counted) == decision
    assert curve(counted, Rule(min_area=2))["score"].tolist() == scores


@law
@given(seed=seeds)
def test_the_order_of_the_tiles_does_not_matter(seed: int) -> None:
    truth, values = noisy_tiles(12, seed)
    order = np.random.default_rng(seed).permutation(12)
    one, other = search(truth, values), search(truth[order], values[order])
    assert one.rule == other.rule
    assert one.score == pytest.approx(other.score)


def test_search_repeats_itself() -> None:
    tiles = noisy_tiles(40)
    assert search(*tiles) == search(*tiles)


def test_search_refuses_no_tiles() -> None:
    truth, values = noisy_tiles(2)
    with pytest.raises(DataError, match="no tiles to choose"):
        search(truth[:0], values[:0])
    with pytest.raises(DataError, match="no tiles to choose"):
        best_decision(count_tiles(truth, values).take(np.array([], dtype=np.int64)))


# --- a given decision


@law
@given(seed=seeds, level=st.integers(0, 255), min_area=st.integers(0, 11))
def test_scores_of_a_decision_are_those_of_its_masks(seed: int, level: int, min_area: int) -> None:
    truth, values = noisy_tiles(6, seed)
    histograms = count_tiles(truth, values)
    rule = Rule(level, min_area)
    expected = image_scores(truth, rule.apply(values))
    assert tile_scores(histograms, rule).tolist() == expected.tolist()
    decision = score_at(histograms, rule)
    assert decision.rule == rule
    assert decision.score == expected.mean()
    assert curve(histograms, rule)["score"][level] == pytest.approx(expected.mean())


def test_score_at_one_half() -> None:
    truth, values = noisy_tiles(30)
    decision = score_at(count_tiles(truth, values), Rule())
    assert decision.score == score(truth, values / 255 > 0.5)
    assert decision.interval[0] < decision.score < decision.interval[1]


def test_curve() -> None:
    frame = curve(count_tiles(*two_tiles(speck=180)), Rule())
    assert list(frame.columns) == ["threshold", "score"]
    assert frame["threshold"].tolist() == [level / 255 for level in range(256)]
    assert frame["score"].tolist() == [0.0] * 150 + [0.5] * 30 + [1.0] * 20 + [0.5] * 56


def test_curve_at_a_minimum_area() -> None:
    frame = curve(count_tiles(*two_tiles(speck=180)), Rule(min_area=2))
    assert frame["score"].tolist() == [0.5] * 150 + [1.0] * 50 + [0.5] * 56


# --- honesty


@law
@given(seed=seeds)
def test_each_part_is_scored_under_the_choice_of_the_others(seed: int) -> None:
    truth, values = noisy_tiles(12, seed)
    folds = np.random.default_rng(seed).permutation(np.arange(12) % 3) + 4
    result = cross_fitted_score(count_tiles(truth, values), folds)
    scores = []
    for fold in (4, 5, 6):
        chosen = search(truth[folds != fold], values[folds != fold])
        assert result.decisions[fold] == chosen
        masks = chosen.rule.apply(values[folds == fold])
        scores += image_scores(truth[folds == fold], masks).tolist()
    assert list(result.decisions) == [4, 5, 6]
    assert result.score == pytest.approx(np.mean(scores))
    assert result.interval == bootstrap_interval(np.array(scores))


def test_one_fold_is_dealt_into_five_parts() -> None:
    histograms = count_tiles(*noisy_tiles(23))
    result = cross_fitted_score(histograms, [3] * 23)
    assert list(result.decisions) == [0, 1, 2, 3, 4]
    assert result == cross_fitted_score(histograms, [0] * 23)


def test_choosing_on_noise_is_seen_through() -> None:
    truth, values = noisy_tiles(20, seed=1, side=8, values=256)
    noise = np.random.default_rng(1).permuted(values.reshape(-1)).reshape(values.shape)
    histograms = count_tiles(truth, noise)
    folds = np.arange(20) % 5
    assert cross_fitted_score(histograms, folds).score < best_decision(histograms).score


def test_parts_that_do_not_fit_are_refused() -> None:
    histograms = count_tiles(*noisy_tiles(4))
    with pytest.raises(DataError, match=r"parts: int64 \[3\]\nexpected: int \[4\]"):
        cross_fitted_score(histograms, [0, 1, 0])
    with pytest.raises(DataError, match="parts: float64"):
        cross_fitted_score(histograms, [0.0, 1.0, 0.0, 1.0])
    with pytest.raises(DataError, match="1 tiles cannot be cross-fitted"):
        cross_fitted_score(histograms.take(np.array([0])), [0])


# --- the bootstrap


def test_bootstrap_equals_resampling_the_tiles() -> None:
    rng = np.random.default_rng(5)
    scores = rng.choice([0, 0.3, 0.8, 1.0], size=150)
    means = scores[rng.integers(0, 150, (20_000, 150))].mean(axis=1)
    expected = np.quantile(means, [0.025, 0.975])
    assert bootstrap_interval(scores, resamples=20_000) == pytest.approx(expected, abs=2e-3)


def test_bootstrap_repeats_itself_and_obeys_its_seed() -> None:
    scores = np.random.default_rng(0).random(50)
    assert bootstrap_interval(scores) == bootstrap_interval(scores)
    assert bootstrap_interval(scores) == pytest.approx(bootstrap_interval(scores[::-1]))
    assert bootstrap_interval(scores) != bootstrap_interval(scores, seed=1)
    assert bootstrap_interval(scores) != bootstrap_interval(scores, resamples=100)


def test_bootstrap_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).random(50)
    whole = bootstrap_interval(scores)
    monkeypatch.setattr(bootstrap, "_CHUNK_DRAWS", 50 * 300)
    assert bootstrap_interval(scores) == pytest.approx(whole, abs=1e-12)


def test_bootstrap_of_equal_scores_and_of_none() -> None:
    assert bootstrap_interval(np.ones(9)) == (1.0, 1.0)
    with pytest.raises(DataError, match="no scores to resample"):
        bootstrap_interval(np.array([]))


# --- the steps that follow


def with_blank_tiles(tiles: Tiles, blank: NDArray[np.bool_]) -> TileContext:
    """Images for the tiles, of one grey value where they are blank."""
    images = np.tile(np.arange(tiles[0][0].size, dtype=np.uint8), (len(blank), 1))
    images[blank] = 9
    return TileContext([f"tile{n}" for n in range(len(blank))], images.reshape(tiles[0].shape))


BLANK = ("blank-empty",)


@law
@given(seed=seeds, count=st.integers(2, 9), values=st.sampled_from([2, 18, 256]))
def test_a_step_is_judged_as_it_will_be_applied(seed: int, count: int, values: int) -> None:
    tiles = truth, probabilities = noisy_tiles(count, seed, values=values)
    blank = np.random.default_rng(seed).random(count) < 0.4
    context = with_blank_tiles(tiles, blank)
    counted = count_tiles(truth, probabilities, Postprocessing.of(BLANK, context, truth))
    decision = best_decision(counted)
    without = np.where(blank[:, None, None], np.uint8(0), probabilities)
    level, min_area, total = chosen_by_trying_everything(truth, without)
    assert decision.rule == Rule(level, min_area, BLANK)
    applied = image_scores(truth, decision.rule.apply(probabilities, context))
    assert decision.score == pytest.approx(total / 10 / count) == pytest.approx(applied.mean())
    assert tile_scores(counted, decision.rule).tolist() == applied.tolist()
    assert curve(counted, decision.rule)["score"][level] == pytest.approx(applied.mean())
    plain = image_scores(truth, Rule(level).apply(probabilities))
    assert tile_scores(counted, Rule(level)).tolist() == plain.tolist(), "no step, no change"


@settings(max_examples=8)
@given(seed=seeds)
def test_steps_that_copy_masks_are_judged_as_they_will_be_applied(seed: int) -> None:
    truth, values = noisy_tiles(8, seed, values=18)
    truth[::2] = truth[::2, :1]  # many of them walls
    ids = [f"tile{n}" for n in range(8)]
    cells = [(tile, 0, row // 2, row % 2) for row, tile in enumerate(ids)]
    table = pd.DataFrame(cells, columns=["id", "mosaic", "row", "column"])
    around = Neighbourhood(table, {tile: row for row, tile in enumerate(ids)}, truth)
    context = replace(with_blank_tiles((truth, values), np.arange(8) == 5), ids=ids,
                      neighbourhood=around)  # fmt: skip
    counted = count_tiles(truth, values, Postprocessing.of(list(STEPS), context, truth))
    decision = best_decision(counted)

    def applied(min_area: int, level: int) -> NDArray[np.float64]:
        rule = Rule(level, min_area, tuple(STEPS))
        return image_scores(truth, rule.apply(values, context))

    tenths = {
        (area, level): np.rint(10 * applied(area, level)).astype(int)
        for area in range(11)
        for level in range(0, 256, 5)  # values are multiples of 15
    }
    assert decision.score == pytest.approx(tenths[chosen_of(tenths)].mean() / 10)
    assert (counted.settled_by(decision.rule.steps) >= 0).any()
    scores = applied(decision.rule.min_area, decision.rule.level)
    assert tile_scores(counted, decision.rule).tolist() == scores.tolist()
    at_level = curve(counted, decision.rule)["score"][decision.rule.level]
    assert at_level == pytest.approx(scores.mean())


@law
@given(seed=seeds)
def test_a_step_is_cross_fitted_with_the_rest(seed: int) -> None:
    tiles = truth, values = noisy_tiles(12, seed)
    context = with_blank_tiles(tiles, np.random.default_rng(seed).random(12) < 0.4)
    folds = np.arange(12) % 3
    result = cross_fitted_score(
        count_tiles(truth, values, Postprocessing.of(BLANK, context, truth)), folds
    )
    scores = np.empty(12)
    for fold in range(3):
        chosen, held_out = result.decisions[fold].rule, folds == fold
        seen = with_blank_tiles(tiles, np.ptp(context.images, axis=(1, 2)) == 0).take(~held_out)
        post = Postprocessing.of(BLANK, seen, truth[~held_out])
        counted = count_tiles(truth[~held_out], values[~held_out], post)
        assert chosen == best_decision(counted).rule
        masks = chosen.apply(values[held_out], context.take(held_out))
        scores[held_out] = image_scores(truth[held_out], masks)
    assert result.score == pytest.approx(scores.mean())


def test_a_step_that_looks_at_masks_is_judged_by_applying_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fill(masks: NDArray[np.bool_], _: TileContext) -> NDArray[np.bool_]:
        return masks | (masks.mean(axis=(1, 2)) > 0.3)[:, None, None]

    monkeypatch.setitem(STEPS, "fill", Step("fill", "a tile with much salt is full", fill))
    tiles = truth, values = noisy_tiles(20, seed=4)
    context = with_blank_tiles(tiles, np.arange(20) % 5 == 0)
    counted = count_tiles(truth, values, Postprocessing.of([*BLANK, "fill"], context, truth))
    decision = best_decision(counted)
    assert decision.rule.steps == (*BLANK, "fill")
    applied = image_scores(truth, decision.rule.apply(values, context))
    assert decision.score == applied.mean()
    assert tile_scores(counted, decision.rule).tolist() == applied.tolist()
    unfilled = tile_scores(counted, replace(decision.rule, steps=BLANK))
    assert unfilled.tolist() != applied.tolist()
    folds = np.arange(20) % 2
    result = cross_fitted_score(counted, folds)
    scores = [
        image_scores(truth, result.decisions[fold].rule.apply(values, context))[folds == fold]
        for fold in (0, 1)
    ]
    assert result.score == pytest.approx(np.concatenate(scores).mean())


def test_steps_that_the_tiles_were_not_asked_about_are_refused() -> None:
    counted = count_tiles(*noisy_tiles(4))
    for judge in (tile_scores, score_at, curve):
        with pytest.raises(DataError, match=r"what the step blank-empty does(.|\n)*steps none"):
            judge(counted, Rule(steps=BLANK))
