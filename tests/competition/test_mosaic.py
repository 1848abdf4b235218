"""Mosaics: a section cut into tiles and shuffled comes back as it was, and nothing else does."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from kaggle_salt.competition.mosaic import assemble, mask_agreement, neighbours
from kaggle_salt.errors import DataError
from tests.sections import Cell, cut, draw_section, shuffled


def layout(table: pd.DataFrame, mosaic: int = 0) -> dict[str, Cell]:
    """Row and column of each tile of a mosaic."""
    some = table[table["mosaic"] == mosaic]
    places = zip(some["row"].tolist(), some["column"].tolist(), strict=True)
    return dict(zip(some["id"], places, strict=True))


def decoys(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """Tiles that belong to nothing."""
    return np.stack([draw_section(height, width, seed=100 + n) for n in range(number)])


@pytest.mark.parametrize(
    ("height", "width", "coloured"),
    [(32, 32, False), (24, 40, False), (48, 20, False), (24, 32, True)],
)
def test_a_section_comes_back_as_it_was(height: int, width: int, coloured: bool) -> None:
    section = draw_section(5 * height, 6 * width, coloured=coloured)
    ids, tiles, where = shuffled(cut(section, height, width))
    table = assemble(ids, tiles)
    assert list(table.columns) == ["id", "mosaic", "row", "column"]
    assert layout(table) == where
    assert len(table) == len(ids)


def test_two_sections_and_decoys_and_blank_tiles() -> None:
    large, small = draw_section(4 * 64, 3 * 64), draw_section(2 * 64, 3 * 64, seed=5)
    parts = {**cut(large, 64, 64), **{(r + 50, c): t for (r, c), t in cut(small, 64, 64).items()}}
    ids, tiles, where = shuffled(parts)
    others = np.concatenate([decoys(12, 64, 64), np.full((3, 64, 64), 90, np.uint8)])
    table = assemble([*ids, *(f"x{n:02d}" for n in range(15))], tiles, others)
    assert layout(table, 0) == {tile: cell for tile, cell in where.items() if cell[0] < 50}
    assert layout(table, 1) == {t: (r - 50, c) for t, (r, c) in where.items() if r >= 50}
    assert table["mosaic"].nunique() == 2
    assert table["mosaic"].is_monotonic_increasing


def test_a_section_with_a_hole() -> None:
    parts = cut(draw_section(4 * 32, 4 * 32), 32, 32)
    del parts[1, 1], parts[0, 3]
    ids, tiles, where = shuffled(parts)
    assert layout(assemble(ids, tiles)) == where


def test_brightness_and_contrast_do_not_matter() -> None:
    parts = cut(draw_section(3 * 32, 4 * 32), 32, 32)
    rng = np.random.default_rng(3)
    changed = {
        cell: np.clip(tile * rng.uniform(0.5, 0.8) + rng.uniform(0, 40), 0, 255).astype(np.uint8)
        for cell, tile in parts.items()
    }
    ids, tiles, where = shuffled(changed)
    assert layout(assemble(ids, tiles)) == where


def test_the_order_of_the_tiles_does_not_matter() -> None:
    parts = cut(draw_section(3 * 32, 4 * 32), 32, 32)
    ids, tiles, _ = shuffled(parts)
    order = np.random.default_rng(0).permutation(len(ids))
    again = assemble([ids[row] for row in order], tiles[order[:5]], tiles[order[5:]])
    pd.testing.assert_frame_equal(again, assemble(ids, tiles))


@pytest.mark.parametrize(
    "tiles",
    [
        decoys(1, 16, 16), decoys(2, 64, 64), np.zeros((0, 16, 16), np.uint8),
        np.full((5, 16, 16), 7, np.uint8), np.stack([decoys(1, 16, 16)[0]] * 6),
    ],
    ids=["one", "two strangers", "none", "blank", "copies"],
)  # fmt: skip
def test_nothing_to_put_together(tiles: NDArray[np.uint8]) -> None:
    table = assemble([f"{row}" for row in range(len(tiles))], tiles)
    assert list(table.columns) == ["id", "mosaic", "row", "column"]
    assert table.empty


def test_two_tiles_that_belong_together() -> None:
    ids, tiles, where = shuffled(cut(draw_section(40, 80), 40, 40))
    assert layout(assemble(ids, tiles)) == where


def test_tiles_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(DataError, match=r"1x8 pixels have no borders(.|\n)*two pixels"):
        assemble(["a", "b"], np.zeros((2, 1, 8), np.uint8))
    with pytest.raises(DataError, match="1 ids for 2 tiles"):
        assemble(["a"], np.zeros((2, 8, 8), np.uint8))


#: a b
#: c .    and d above e, in another mosaic.
TABLE = pd.DataFrame(
    [("a", 0, 0, 0), ("b", 0, 0, 1), ("c", 0, 1, 0), ("d", 1, 0, 0), ("e", 1, 1, 0)],
    columns=["id", "mosaic", "row", "column"],
)


def test_neighbours_by_hand() -> None:
    assert sorted(neighbours(TABLE)) == [(0, "a", "b"), (1, "a", "c"), (1, "d", "e")]


def test_agreement_of_masks_by_hand() -> None:
    masks = np.zeros((4, 2, 2), dtype=bool)
    masks[0] = [[0, 1], [1, 1]]  # a: right border 1 1, lower border 1 1
    masks[1] = [[1, 0], [0, 0]]  # b: left border 1 0
    masks[2] = [[1, 1], [0, 0]]  # c: upper border 1 1
    told = mask_agreement(TABLE, {"a": 0, "b": 1, "c": 2, "d": 3}, masks)
    assert told.joints == told.salt_joints == 2, "the mask of e is not known"
    assert told.share == told.salt_share == 3 / 4
    masks[2] = False
    told = mask_agreement(TABLE, {"a": 0, "b": 1, "c": 2, "d": 3}, masks)
    assert (told.joints, told.salt_joints) == (2, 1)
    assert (told.share, told.salt_share) == (1 / 4, 1 / 2)


def test_true_neighbours_agree_and_random_ones_do_not() -> None:
    section = draw_section(5 * 24, 5 * 24)
    parts = cut(section, 24, 24)
    ids, tiles, _ = shuffled(parts)
    masks = tiles > 128
    told = mask_agreement(assemble(ids, tiles), {t: n for n, t in enumerate(ids)}, masks)
    assert told.joints == 2 * 5 * 4
    assert told.share > 0.85
    assert told.random < 0.65


def test_without_joints_masks_say_nothing() -> None:
    told = mask_agreement(TABLE, {"a": 0, "e": 1}, np.zeros((2, 2, 2), dtype=bool))
    assert told.joints == 0
    assert math.isnan(told.share)
