"""Post-processing steps, and what is known of them before a mask is made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from kaggle_salt.competition.metric import image_scores
from kaggle_salt.competition.neighbourhood import Neighbourhood
from kaggle_salt.competition.postprocess import STEPS, Postprocessing, Step, TileContext
from kaggle_salt.errors import ConfigError, DataError

IMAGES = np.array([[[7, 7]], [[7, 8]], [[0, 0]]], np.uint8)
TILES = TileContext(["a", "b", "c"], IMAGES)
TRUTH = np.array([[[0, 0]], [[0, 1]], [[1, 0]]], dtype=bool)


def test_every_step_is_listed_under_its_name() -> None:
    assert list(STEPS) == ["wall-up", "wall-down", "under-salt-empty", "blank-empty"]
    for name, step in STEPS.items():
        assert step.name == name
        assert step.what


@pytest.mark.parametrize("name", STEPS)
def test_a_step_gives_the_tiles_it_settles_the_masks_it_says(name: str) -> None:
    step = STEPS[name]
    assert step.settles is not None
    cells = [("a", 0, 1, 0), ("b", 0, 2, 0), ("c", 0, 3, 0)]
    table = pd.DataFrame(cells, columns=["id", "mosaic", "row", "column"])
    known = np.array([[[0, 1]], [[1, 1]], [[1, 0]]], dtype=bool)
    tiles = replace(TILES, neighbourhood=Neighbourhood(table, {"a": 0, "b": 1, "c": 2}, known))
    settled = step.settles(tiles)
    truth = np.array([[[0, 0]], [[0, 1]], [[0, 0]]], dtype=bool)
    full = np.ones(IMAGES.shape, dtype=bool)
    left = step.apply(full.copy(), tiles)
    rows = np.flatnonzero(settled.tiles)
    assert 0 < len(rows) < 3
    assert np.array_equal(left[rows], settled.masks[settled.source[rows]])
    assert left[~settled.tiles].all()
    expected = np.where(settled.tiles, 10 * image_scores(truth, left), -1)
    assert settled.tenths(truth).tolist() == expected.tolist()


def test_blank_tiles_become_empty() -> None:
    masks = STEPS["blank-empty"].apply(np.ones((3, 1, 2), dtype=bool), TILES)
    assert masks.any(axis=(1, 2)).tolist() == [False, True, False]


@pytest.mark.parametrize("rows", [slice(1, 3), np.array([1, 2]), np.array([False, True, True])])
def test_a_context_of_some_tiles(rows: object) -> None:
    some = TILES.take(rows)  # type: ignore[arg-type]
    assert (list(some.ids), len(some)) == (["b", "c"], 2)
    assert np.array_equal(some.images, IMAGES[1:])


def test_the_last_step_that_knows_a_mask_has_its_way() -> None:
    post = Postprocessing(("x", "y"), {"x": np.int8([3, -1, 5]), "y": np.int8([-1, -1, 0])})
    assert post.settled_by(("x", "y"), 3).tolist() == [3, -1, 0]
    assert post.settled_by(("y", "x"), 3).tolist() == [3, -1, 5]


def test_what_is_known_beforehand_is_asked_once() -> None:
    post = Postprocessing.of(["blank-empty"], TILES, TRUTH)
    assert post.tiles is None, "nothing has to be applied"
    assert post.settled_by(post.steps, 3).tolist() == [10, -1, 0]
    assert post.take(np.array([2, 1])).settled_by(post.steps, 2).tolist() == [0, -1]
    assert post.settled_by((), 3).tolist() == [-1] * 3
    assert not post.must_apply(post.steps)
    with pytest.raises(DataError, match=r"what the step blank-empty does(.|\n)*of the steps none"):
        Postprocessing().settled_by(["blank-empty"], 3)
    with pytest.raises(ConfigError, match="unknown post-processing step 'blank'"):
        Postprocessing.of(["blank"], TILES, TRUTH)


def test_a_step_that_looks_at_masks_keeps_the_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, "invert", Step("invert", "salt is not salt", lambda m, _: ~m))
    post = Postprocessing.of(["blank-empty", "invert"], TILES, TRUTH)
    assert post.must_apply(post.steps)
    assert not post.must_apply(["blank-empty"])
    assert post.settled_by(post.steps, 3).tolist() == [10, -1, 0]
    some = post.take(np.array([1]))
    assert some.tiles is not None
    assert list(some.tiles.ids) == ["b"]
