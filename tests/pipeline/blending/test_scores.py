from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.postprocess import Postprocessing, TileContext
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.pipeline.blending.scores import (
    Truth,
    choose_postprocessing,
    missing_folds,
    score_table,
    type_table,
)
from kaggle_salt.predictions import Predictions
from tests.makers import png, put, write_competition
from tests.tiny import Heard

TABLE = pd.DataFrame({"id": ["a", "b", "c", "d"], "fold": [0, 0, 1, 1]})
ALL, NONE = np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8)
FAINT = np.full((2, 2), 100, np.uint8)

#: Masks of a, b, c and d: salt everywhere, nowhere, everywhere, nowhere.
MASKS = np.array([ALL, NONE, ALL, NONE]) > 0


@pytest.fixture
def truth() -> Truth:
    rows = {tile: row for row, tile in enumerate(TABLE["id"])}
    folds = dict(zip(TABLE["id"], TABLE["fold"], strict=True))
    return Truth(MASKS, rows, folds)


def predicted(**maps: NDArray[np.uint8]) -> Predictions:
    return Predictions(tuple(maps), np.array(list(maps.values())))


def test_truth_is_looked_up_by_id(truth: Truth) -> None:
    shuffled = predicted(d=NONE, a=ALL)
    assert truth.folds(shuffled.ids).tolist() == [1, 0]
    assert truth.count(shuffled).truth_area.tolist() == [0, 4]


def test_one_run_has_its_folds_and_their_whole(truth: Truth) -> None:
    run = predicted(c=FAINT, a=ALL, b=NONE)
    rows = score_table({"quick": run}, truth.count(run), truth, Rule(99))
    figures = [(row.name, row.tiles, row.at_half, row.at_decision) for row in rows]
    assert figures == [
        ("quick, fold 0", 2, 1.0, 1.0),
        ("quick, fold 1", 1, 0.0, 1.0),  # faint salt shows at the decision only
        ("quick, all its folds", 3, pytest.approx(2 / 3), 1.0),
    ]
    assert rows[0].interval == (1.0, 1.0)
    low, high = rows[-1].interval
    assert 0 <= low < 2 / 3 < high <= 1


def test_several_runs_end_with_their_blend(truth: Truth) -> None:
    good, bad = predicted(a=ALL, b=NONE), predicted(a=NONE, b=ALL)
    rows = score_table({"good": good, "bad": bad}, truth.count(good), truth, Rule())
    assert [(row.name, row.at_half) for row in rows] == [
        ("good, fold 0", 1.0),
        ("good, all its folds", 1.0),
        ("bad, fold 0", 0.0),
        ("bad, all its folds", 0.0),
        ("blend", 1.0),
    ]


def test_each_type_of_mask_has_its_score() -> None:
    """Of vertical masks one is found and one is not; b is rightly empty; the order is fixed."""
    ids = TABLE["id"].tolist()
    table = TABLE.assign(type=["vertical", "empty", "vertical", "empty"])
    types = dict(zip(ids, table["type"], strict=True))
    rows, folds = ({tile: n for n, tile in enumerate(ids)}, {tile: 0 for tile in ids})
    truth = Truth(MASKS, rows, folds, type_of=types)
    run = predicted(c=FAINT, a=ALL, b=NONE)
    found = type_table(truth.count(run), truth.types(run.ids), Rule(127))
    assert [(row.type, row.tiles, row.score) for row in found] == [
        ("empty", 1, 1.0),
        ("vertical", 2, 0.5),
    ]
    assert found[0].interval == (1.0, 1.0)
    faint = type_table(truth.count(run), truth.types(run.ids), Rule(99))
    assert [row.score for row in faint] == [1.0, 1.0]


def test_missing_folds() -> None:
    assert missing_folds([1], TABLE) == (0,)
    assert missing_folds([0, 1], TABLE) == ()


def competition_with_blank_tiles(folder: Path, salt: bool) -> Competition:
    """Four training tiles; the first two are blank, the first maybe with salt."""
    made = write_competition(folder, n_train=4, n_test=1)
    for row in (0, 1):
        put(folder / f"train/images/{made.ids[row]}.png", png(np.full((8, 8), 9, np.uint8)))
        mask = np.full((8, 8), 255 * (salt and row == 0), np.uint8)
        put(folder / f"train/masks/{made.ids[row]}.png", png(mask))
    return Competition.open(folder)


def test_a_step_is_taken_where_the_training_tiles_bear_it_out(tmp_path: Path) -> None:
    heard = Heard()
    competition = competition_with_blank_tiles(tmp_path, salt=False)
    post = choose_postprocessing(None, competition, heard)
    assert post.steps == ("blank-empty",)
    assert post.settled["blank-empty"].tolist() == [10, 10, -1, -1]
    assert heard.notes == [
        "step blank-empty (a tile of one grey value has no salt): taken, it scores 1.000 on "
        "the 2 such training tiles"
    ]
    assert choose_postprocessing([], competition, heard).steps == ()


def test_a_step_that_the_training_tiles_refute_is_left_out(tmp_path: Path) -> None:
    heard = Heard()
    competition = competition_with_blank_tiles(tmp_path, salt=True)
    assert choose_postprocessing(None, competition, heard).steps == ()
    assert heard.notes[0].endswith("left out, it scores 0.500 on the 2 such training tiles")
    assert choose_postprocessing(["blank-empty"], competition, heard).steps == ("blank-empty",)


def test_without_such_a_tile_nothing_bears_a_step_out(tmp_path: Path) -> None:
    write_competition(tmp_path, n_train=4, n_test=1)
    heard = Heard()
    assert choose_postprocessing(None, Competition.open(tmp_path), heard).steps == ()
    assert heard.notes == []


def test_the_table_scores_the_rule_with_its_steps(truth: Truth) -> None:
    images = np.array([NONE, NONE, np.diag([1, 2]), np.diag([1, 2])], np.uint8)
    context = TileContext(["a", "b", "c", "d"], images)
    judged = replace(truth, post=Postprocessing.of(["blank-empty"], context, truth.masks))
    run = predicted(d=ALL, b=ALL)  # neither has salt; b is blank
    rule = Rule(127, 0, ("blank-empty",))
    rows = score_table({"quick": run}, judged.count(run), judged, rule)
    assert [(row.at_half, row.at_decision) for row in rows] == [(0, 1), (0, 0), (0, 0.5)]
