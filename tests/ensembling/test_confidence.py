from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kaggle_salt.competition.folds import make_folds
from kaggle_salt.ensembling import confidence
from kaggle_salt.ensembling.confidence import Selection, select_tiles
from kaggle_salt.predictions import Predictions
from kaggle_salt.pseudo_origin import Confidence

PIXELS = 10  # of a tile of 2x5


def tiles_of(*rows: list[int]) -> NDArray[np.uint8]:
    return np.array(rows, dtype=np.uint8).reshape(-1, 2, 5)


def named(maps: NDArray[np.uint8]) -> Predictions:
    return Predictions(tuple(f"t{row}" for row in range(len(maps))), maps)


def training_of(*coverages: float) -> pd.DataFrame:
    """A fold table's rows: every coverage above 0 is a stratum of its own."""
    levels = sorted(set(coverages) - {0})
    strata = [0 if coverage == 0 else 1 + levels.index(coverage) for coverage in coverages]
    return pd.DataFrame({"coverage": coverages, "stratum": strata})


def with_salt(salt: int, sure: int = PIXELS) -> list[int]:
    """Levels of a tile with ``salt`` pixels of salt and ``sure`` sure pixels."""
    levels = [255] * salt + [0] * (PIXELS - salt)
    unsure = [128 if level else 127 for level in levels]
    return levels[:sure] + unsure[sure:]


def select(
    predicted: Predictions, training: pd.DataFrame, blank: object = (), **wanted: Any
) -> Selection:
    is_blank = np.array([tile in blank for tile in predicted.ids])  # type: ignore[operator]
    return select_tiles(predicted, is_blank, training, Confidence(**wanted))


def taken(selection: Selection) -> list[str]:
    return selection.tiles["id"].tolist()


def test_a_pixel_is_sure_strictly_outside_the_two_probabilities() -> None:
    # .2 is level 51, .8 is level 204: neither is sure
    maps = tiles_of([50] * 9 + [51], [205] * 9 + [204], [51] * 9 + [50], [204] * 9 + [205])
    selection = select(named(maps), training_of(0, 0, 1, 1), confidence=0.1)
    assert taken(selection) == ["t0", "t1", "t2", "t3"]
    assert selection.tiles["confidence"].tolist() == [0.9, 0.9, 0.1, 0.1]
    assert selection.tiles["coverage"].tolist() == [0, 1, 0, 1]
    assert selection.tiles["row"].tolist() == [0, 1, 2, 3]


def test_a_tile_as_confident_as_asked_for_is_taken() -> None:
    maps = tiles_of(with_salt(0, sure=9), with_salt(0, sure=8), with_salt(5, sure=9))
    assert taken(select(named(maps), training_of(0, 0.5))) == ["t0", "t2"]


def test_salt_is_what_exceeds_one_half() -> None:
    selection = select(named(tiles_of([127] * 5 + [128] * 5)), training_of(1), low=0.5, high=0.5)
    assert selection.tiles["coverage"].tolist() == [0.5]


def test_blank_tiles_are_neither_taken_nor_counted() -> None:
    maps = tiles_of(*[with_salt(0)] * 3)
    selection = select(named(maps), training_of(0), blank={"t1"})
    assert taken(selection) == ["t0", "t2"]
    assert (selection.strata[0]["tiles"], selection.strata[0]["confident"]) == (2, 2)


def test_easy_empty_tiles_do_not_flood_the_selection() -> None:
    # eight of ten confident tiles are empty, of the training tiles it is half
    maps = tiles_of(*[with_salt(0)] * 8, with_salt(2), with_salt(6))
    selection = select(named(maps), training_of(0, 0, 0.3, 0.9))
    assert taken(selection) == ["t0", "t1", "t2", "t3", "t4", "t8", "t9"]
    assert [row["taken"] for row in selection.strata] == [5, 1, 1]


def test_the_surest_come_first_and_ties_go_by_id() -> None:
    maps = tiles_of(with_salt(0, 9), with_salt(0, 9), with_salt(0, 10), with_salt(0, 9))
    predicted = Predictions(("d", "b", "c", "a"), maps)
    assert taken(select(predicted, training_of(0), limit=1)) == ["c"]
    assert taken(select(predicted, training_of(0), limit=2)) == ["a", "c"]
    assert taken(select(predicted, training_of(0), limit=3)) == ["a", "b", "c"]
    assert taken(select(predicted, training_of(0), limit=9)) == ["a", "b", "c", "d"]


def test_the_strata_are_counted() -> None:
    maps = tiles_of(with_salt(0), with_salt(2), with_salt(3, 9), with_salt(3, 5), with_salt(7))
    selection = select(named(maps), training_of(0, 0.1, 0.1, 0.4, 0.4, 0.4, 0.4, 0.9))
    assert list(selection.strata) == [
        {"stratum": 0, "coverage_up_to": 0.0, "tiles": 1, "confident": 1, "taken": 0,
         "mean_confidence": None, "mean_coverage": None},
        {"stratum": 1, "coverage_up_to": 0.1, "tiles": 0, "confident": 0, "taken": 0,
         "mean_confidence": None, "mean_coverage": None},
        {"stratum": 2, "coverage_up_to": 0.4, "tiles": 3, "confident": 2, "taken": 2,
         "mean_confidence": 0.95, "mean_coverage": 0.25},
        {"stratum": 3, "coverage_up_to": 1.0, "tiles": 1, "confident": 1, "taken": 1,
         "mean_confidence": 1.0, "mean_coverage": 0.7},
    ]  # fmt: skip


def test_nothing_confident_takes_nothing() -> None:
    selection = select(named(tiles_of(with_salt(5, 5))), training_of(0, 0.5))
    assert selection.tiles.empty
    assert sum(row["taken"] for row in selection.strata) == 0


@pytest.mark.parametrize("coverage", [0.0, 0.4])
def test_training_tiles_of_one_kind(coverage: float) -> None:
    maps = tiles_of(with_salt(0), with_salt(9))
    expected = ["t0"] if coverage == 0 else ["t1"]
    assert taken(select(named(maps), training_of(coverage, coverage))) == expected


def slowly_selected(
    predicted: Predictions, blank: list[bool], training: pd.DataFrame, wanted: Confidence
) -> list[str]:
    """The rule tile by tile: strata by comparison, quotas by counting, picks by sorting."""
    salt = training[training["coverage"] > 0]
    uppers = [float(part["coverage"].max()) for _, part in salt.groupby("stratum")]

    def stratum(coverage: float) -> int:
        if coverage == 0:
            return 0
        return 1 + sum(coverage > upper for upper in uppers[:-1])

    pools: dict[int, list[tuple[float, str]]] = {}
    for tile, levels, skip in zip(predicted.ids, predicted.probabilities, blank, strict=True):
        pixels = [int(level) / 255 for level in levels.ravel()]
        sure = sum(p < wanted.low or p > wanted.high for p in pixels) / len(pixels)
        coverage = round(sum(p > 0.5 for p in pixels) / len(pixels), 8)
        if sure >= wanted.confidence and not skip:
            pools.setdefault(stratum(coverage), []).append((-sure, tile))
    total = sum(map(len, pools.values()))
    total = min(total, wanted.limit) if wanted.limit else total
    picked: list[str] = []
    below, given_out = 0, 0
    for number in range(len(uppers) + 1):
        below += sum(stratum(coverage) == number for coverage in training["coverage"])
        quota = below * total // len(training) - given_out
        given_out += quota
        picked += [tile for _, tile in sorted(pools.get(number, []))[:quota]]
    return sorted(picked)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_test=st.integers(1, 30),
    low=st.sampled_from([0.2, 0.4]),
    confidence=st.sampled_from([0.0, 0.4, 0.5, 0.8]),
    limit=st.none() | st.integers(1, 40),
)
def test_selection_equals_the_slow_rule(
    seed: int, n_test: int, low: float, confidence: float, limit: int | None
) -> None:
    rng = np.random.default_rng(seed)
    masks = rng.random((24, 2, 5)) < rng.choice([0, 0.3, 0.8], (24, 1, 1))
    training = make_folds([f"m{row:02d}" for row in range(24)], masks, n_folds=3)
    training = training[training["fold"] != 0]
    maps = rng.choice([0, 30, 110, 140, 230, 255], (n_test, 2, 5)).astype(np.uint8)
    maps[rng.random(n_test) < 0.4] //= 8  # tiles without salt
    ids = tuple(f"t{row}" for row in rng.permutation(n_test))
    blank = rng.random(n_test) < 0.1
    wanted = Confidence(low, 1 - low, confidence, limit)
    selection = select_tiles(Predictions(ids, maps), blank, training, wanted)
    assert taken(selection) == slowly_selected(
        Predictions(ids, maps), blank.tolist(), training, wanted
    )
    assert [ids[row] for row in selection.tiles["row"]] == taken(selection)
    assert len(selection.tiles) <= (limit or n_test)
    order = rng.permutation(n_test)
    shuffled = Predictions(tuple(ids[row] for row in order), maps[order])
    again = select_tiles(shuffled, blank[order], training, wanted)
    assert taken(again) == taken(selection), "the order of the test tiles does not matter"
    assert again.strata == selection.strata


def test_tiles_are_measured_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    predicted = named(rng.integers(0, 256, (7, 2, 5), dtype=np.uint8))
    training = training_of(0, 0.4, 0.6, 0.8)
    whole = select(predicted, training, confidence=0)
    monkeypatch.setattr(confidence, "_CHUNK_PIXELS", 2 * PIXELS)
    pieces = select(predicted, training, confidence=0)
    assert pieces.tiles.equals(whole.tiles)
    assert len(whole.tiles) > 2


def of_101(*areas: int, unsure: dict[int, int] | None = None) -> Predictions:
    """Tiles of 101x101 with so many pixels of salt; ``unsure`` counts other pixels by row."""
    maps = np.zeros((len(areas), 101 * 101), np.uint8)
    for row, area in enumerate(areas):
        maps[row, :area] = 255
        if unsure and row in unsure:
            maps[row, -unsure[row] :] = 120
    ids = tuple(f"t{row:04d}" for row in range(len(areas)))
    return Predictions(ids, maps.reshape(-1, 101, 101))


def by_first_place(predicted: Predictions, **wanted: Any) -> Selection:
    return select(predicted, training_of(0), balance="1st-place", **wanted)


def test_the_splits_of_the_first_place_to_the_pixel() -> None:
    edges = [0, 1, 19, 20, 500, 501, 2550, 2551, 5100, 5101, 7650, 7651, 9180, 9181]
    selection = by_first_place(of_101(*edges))
    assert taken(selection) == [
        f"t{n:04d}" for n, area in enumerate(edges) if area not in (1, 19, 9181)
    ]
    assert [(one["tiles"], one["confident"], one["taken"]) for one in selection.strata] == [
        (1, 1, 1), *[(2, 2, 2)] * 5,
    ]  # fmt: skip
    uppers = [one["coverage_up_to"] for one in selection.strata]
    assert uppers == [0, 0.0491, 0.25, 0.5, 0.75, 0.9]


def test_the_splits_of_the_first_place_have_a_confidence_of_their_own() -> None:
    within = {0: 306, 1: 307, 2: 102, 3: 103, 4: 306, 5: 307}  # pixels: 3 % are 306, 1 % are 102
    predicted = of_101(0, 0, 100, 100, 1000, 1000, unsure=within)
    assert taken(by_first_place(predicted)) == ["t0000", "t0002", "t0004"]
    assert taken(by_first_place(predicted, confidence=0.98)) == ["t0002"]
    assert taken(by_first_place(predicted, confidence=1.0)) == []


def test_the_first_place_takes_fixed_numbers_and_every_second_empty_tile() -> None:
    predicted = of_101(*[0] * 5, *[100] * 115, *[1000] * 3)
    selection = by_first_place(predicted)
    assert taken(selection)[:3] == ["t0000", "t0002", "t0004"]
    assert [one["taken"] for one in selection.strata] == [3, 110, 3, 0, 0, 0]
    assert taken(selection)[3:113] == [f"t{n:04d}" for n in range(5, 115)]


def test_a_limit_shares_out_the_numbers_of_the_first_place() -> None:
    predicted = of_101(*[0] * 30, *[100, 1000, 3000, 6000, 8000] * 10)
    selection = by_first_place(predicted, limit=10)
    assert [one["taken"] for one in selection.strata] == [3, 1, 2, 1, 2, 1]


def test_one_pixel_of_a_large_tile_is_no_empty_tile() -> None:
    maps = np.zeros((2, 256, 256), np.uint8)
    maps[0, 0, 0] = 255
    assert taken(by_first_place(named(maps))) == ["t1"]
