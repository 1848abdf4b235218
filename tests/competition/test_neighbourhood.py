"""What neighbours' masks say of a tile's own, by hand and beside a slow way to ask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kaggle_salt.competition.neighbourhood import Neighbourhood, is_wall, read_mosaics
from kaggle_salt.competition.postprocess import STEPS, TileContext
from kaggle_salt.errors import ConfigError, DataError
from tests.makers import write_table

WALL = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 0]], dtype=bool)
FLOOR = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 1]], dtype=bool)
OTHER = np.array([[0, 0, 0], [0, 1, 0], [1, 1, 0]], dtype=bool)
HALF = np.array([[0, 0, 0], [0, 1, 0], [0, 1, 0]], dtype=bool)
NONE = np.zeros((3, 3), dtype=bool)


def column(*tiles: str, mosaic: int = 0, number: int = 0) -> list[tuple[str, int, int, int]]:
    """Cells of a column from the top; a dot is a hole."""
    return [(tile, mosaic, row, number) for row, tile in enumerate(tiles) if tile != "."]


def around(cells: list[tuple[str, int, int, int]], **known: NDArray[np.bool_]) -> Neighbourhood:
    table = pd.DataFrame(cells, columns=["id", "mosaic", "row", "column"])
    return Neighbourhood(table, {tile: row for row, tile in enumerate(known)},
                         np.stack([*known.values(), NONE]))  # fmt: skip


@pytest.mark.parametrize(
    ("mask", "wall"), [(WALL, True), (~WALL, True), (OTHER, False), (NONE, False), (~NONE, False)]
)
def test_a_wall_has_rows_that_are_alike_with_salt_and_none(
    mask: NDArray[np.bool_], wall: bool
) -> None:
    assert is_wall(mask) is wall


def test_a_wall_goes_down_three_tiles_and_up_one() -> None:
    found = around(column("a", "b", "w", "c", "d", ".", "e"), w=WALL)
    assert [found.wall_above(tile) for tile in "abwcde"] == [None, None, None, 0, 0, None]
    found = around(column("a", "b", "w", "c", ".", "d"), w=WALL)
    assert found.wall_above("d") == 0, "a hole counts as a tile"
    assert [found.wall_below(tile) for tile in "abwc"] == [None, 0, None, None]


def test_the_nearest_known_mask_decides() -> None:
    found = around(column("w", "o", "a"), w=WALL, o=OTHER)
    assert found.wall_above("a") is None
    found = around(column("w", "v", "a"), w=WALL, v=~WALL)
    assert found.wall_above("a") == 1


def test_a_mask_that_ends_as_a_wall_goes_on_downwards_only() -> None:
    found = around(column("a", "h", "b"), h=HALF)
    assert (found.wall_below("a"), found.wall_above("b")) == (None, 0)
    assert found.walls[0].tolist() == [[False, True, False]] * 3


def test_below_a_full_lowest_row_all_the_way_down() -> None:
    found = around(column("a", "f", "b", ".", "w", "c"), f=FLOOR, w=WALL)
    assert [found.is_under_salt(tile) for tile in "afbwc"] == [False, False, True, True, True]


def test_other_columns_mosaics_and_tiles_without_a_place_say_nothing() -> None:
    cells = [*column("f", "a"), *column("b", "c", number=1), *column("d", "e", mosaic=1)]
    found = around(cells, f=FLOOR)
    assert [tile for tile in "abcdex" if found.is_under_salt(tile)] == ["a"]
    assert found.wall_above("x") is None


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_steps_say_what_a_look_at_every_pair_says_and_never_look_at_a_tile_itself(
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    kinds = np.stack([WALL, ~WALL, FLOOR, OTHER, HALF, NONE])
    ids = [f"t{number}" for number in range(12)]
    places = rng.permutation(16)[:12]  # two columns of eight
    masks = kinds[rng.integers(0, 6, 12)]
    known = set(np.flatnonzero(rng.random(12) < 0.6).tolist())
    table = pd.DataFrame([(tile, 0, place % 8, place // 8)
                          for tile, place in zip(ids, places.tolist(), strict=True)],
                         columns=["id", "mosaic", "row", "column"])  # fmt: skip
    images = np.zeros((12, 3, 3), np.uint8)
    given_masks = rng.random((12, 3, 3)) < 0.5
    expected = {name: given_masks.copy() for name in ("wall-up", "wall-down", "under-salt-empty")}
    for tile in range(12):
        steps = {int(places[other] - places[tile]): other for other in known
                 if places[other] // 8 == places[tile] // 8 and other != tile}  # fmt: skip
        if 1 in steps and is_wall(masks[steps[1]]):
            expected["wall-up"][tile] = masks[steps[1]]
        up = [step for step in (-1, -2, -3) if step in steps][:1]
        if up and is_wall(masks[steps[up[0]]][1:]):
            expected["wall-down"][tile] = masks[steps[up[0]]][-1]
        if any(step < 0 and masks[other][-1].all() for step, other in steps.items()):
            expected["under-salt-empty"][tile] = False
    row_of = {ids[row]: row for row in known}
    context = TileContext(ids, images, Neighbourhood(table, row_of, masks))
    for name, right in expected.items():
        assert np.array_equal(STEPS[name].apply(given_masks.copy(), context), right)
        for tile in known:  # its own mask may be anything
            others = masks.copy()
            others[tile] = kinds[rng.integers(6)]
            changed = TileContext(ids, images, Neighbourhood(table, row_of, others))
            told = STEPS[name].apply(given_masks.copy(), changed)[tile]
            assert np.array_equal(told, right[tile])


@pytest.mark.parametrize("name", [name for name, step in STEPS.items() if step.of_neighbours])
def test_without_mosaics_such_a_step_says_what_it_needs(name: str) -> None:
    tiles = TileContext(["a"], np.zeros((1, 3, 3), np.uint8))
    with pytest.raises(ConfigError, match=f"{name} looks at(.|\n)*salt mosaic, then --mosaic"):
        STEPS[name].apply(np.zeros((1, 3, 3), dtype=bool), tiles)


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    write_table(path, "id,mosaic,row,column", [("a", "0", "0", "1"), ("b", "0", "-1", "1")])
    table = read_mosaics(path, ["a", "b", "c"])
    assert table.to_numpy().tolist() == [["a", 0, 0, 1], ["b", 0, -1, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,mosaic,row\na,0,0\n", r"m.csv has no column column(.|\n)*id, mosaic, row, column"),
        ("id,mosaic,row,column\na,0,x,0\n", r"gives tile a the row 'x'(.|\n)*a whole number"),
        ("id,mosaic,row,column\nz,0,0,0\n", r"names 1 unknown tiles: z(.|\n)*tiles as they are"),
        ("id,mosaic,row,column\na,0,0,0\na,0,1,0\n", "names a more than once"),
        ("id,mosaic,row,column\na,0,0,0\nb,0,0,0\n", r"puts a, b in places that(.|\n)*one tile in"),
        ("", "m.csv cannot be read"),
    ],
)
def test_tables_that_will_not_do(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_mosaics(path, ["a", "b"])
    second = tmp_path / "m-2.csv"
    assert f"salt mosaic --out {second}, then --mosaic {second}" in caught.value.next_step
    path.unlink()
    with pytest.raises(DataError, match=f"next: salt mosaic --out {path}$"):
        read_mosaics(path, ["a", "b"])
