from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from kaggle_salt.ensembling.thresholds import Decision
from kaggle_salt.pipeline.scores import Truth, missing_folds, score_table
from kaggle_salt.predictions import Predictions

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


def decision(level: int) -> Decision:
    return Decision(level, level / 255, 0, 0.0, (0.0, 0.0))


def test_truth_is_looked_up_by_id(truth: Truth) -> None:
    shuffled = predicted(d=NONE, a=ALL)
    assert truth.folds(shuffled.ids).tolist() == [1, 0]
    assert truth.count(shuffled).truth_area.tolist() == [0, 4]


def test_one_run_has_its_folds_and_their_whole(truth: Truth) -> None:
    run = predicted(c=FAINT, a=ALL, b=NONE)
    rows = score_table({"quick": run}, truth.count(run), truth, decision(99))
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
    rows = score_table({"good": good, "bad": bad}, truth.count(good), truth, decision(127))
    assert [(row.name, row.at_half) for row in rows] == [
        ("good, fold 0", 1.0),
        ("good, all its folds", 1.0),
        ("bad, fold 0", 0.0),
        ("bad, all its folds", 0.0),
        ("blend", 1.0),
    ]


def test_missing_folds() -> None:
    assert missing_folds([1], TABLE) == (0,)
    assert missing_folds([0, 1], TABLE) == ()
