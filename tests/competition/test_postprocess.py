"""Post-processing steps, and what is known of them before a mask is made."""

from __future__ import annotations

import numpy as np
import pytest

from kaggle_salt.competition.postprocess import STEPS, Postprocessing, Step, TileContext
from kaggle_salt.errors import ConfigError, DataError

IMAGES = np.array([[[7, 7]], [[7, 8]], [[0, 0]]], np.uint8)
TILES = TileContext(["a", "b", "c"], IMAGES)


def test_every_step_is_listed_under_its_name() -> None:
    assert list(STEPS) == ["blank-empty"]
    for name, step in STEPS.items():
        assert step.name == name
        assert step.what


@pytest.mark.parametrize("name", STEPS)
def test_a_step_empties_the_tiles_it_says(name: str) -> None:
    step = STEPS[name]
    assert step.empties is not None
    full = np.ones(IMAGES.shape, dtype=bool)
    left = step.apply(full.copy(), TILES)
    assert np.array_equal(left, full & ~step.empties(TILES)[:, None, None])


def test_blank_tiles_become_empty() -> None:
    masks = STEPS["blank-empty"].apply(np.ones((3, 1, 2), dtype=bool), TILES)
    assert masks.any(axis=(1, 2)).tolist() == [False, True, False]


@pytest.mark.parametrize("rows", [slice(1, 3), np.array([1, 2]), np.array([False, True, True])])
def test_a_context_of_some_tiles(rows: object) -> None:
    some = TILES.take(rows)  # type: ignore[arg-type]
    assert (list(some.ids), len(some)) == (["b", "c"], 2)
    assert np.array_equal(some.images, IMAGES[1:])


def test_what_is_known_beforehand_is_asked_once() -> None:
    post = Postprocessing.of(["blank-empty"], TILES)
    assert post.tiles is None, "nothing has to be applied"
    assert post.emptied_by(post.steps, 3).tolist() == [True, False, True]
    assert post.take(np.array([2, 1])).emptied_by(post.steps, 2).tolist() == [True, False]
    assert post.emptied_by((), 3).tolist() == [False] * 3
    assert not post.must_apply(post.steps)
    with pytest.raises(DataError, match=r"what the step blank-empty does(.|\n)*of the steps none"):
        Postprocessing().emptied_by(["blank-empty"], 3)
    with pytest.raises(ConfigError, match="unknown post-processing step 'blank'"):
        Postprocessing.of(["blank"], TILES)


def test_a_step_that_looks_at_masks_keeps_the_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, "invert", Step("invert", "salt is not salt", lambda m, _: ~m))
    post = Postprocessing.of(["blank-empty", "invert"], TILES)
    assert post.must_apply(post.steps)
    assert not post.must_apply(["blank-empty"])
    assert post.emptied_by(post.steps, 3).tolist() == [True, False, True]
    some = post.take(np.array([1]))
    assert some.tiles is not None
    assert list(some.tiles.ids) == ["b"]
