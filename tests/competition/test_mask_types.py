from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kaggle_salt.competition.mask_types import TYPES, edges_cut, mask_types
from kaggle_salt.errors import DataError

SIDE = 20  # so 2 pixels are border, and one is .25 %


def mask(*rectangles: tuple[slice, slice]) -> NDArray[np.bool_]:
    salt = np.zeros((SIDE, SIDE), dtype=bool)
    for rectangle in rectangles:
        salt[rectangle] = True
    return salt


ALL = slice(None)
BY_HAND = {
    "nothing": ([], "empty"),
    "one pixel inside": ([(slice(2, 3), slice(2, 3))], "object-15"),
    "one pixel at the edge": ([(slice(1, 2), slice(5, 6))], "border"),
    "two rows at the bottom": ([(slice(-2, None), ALL)], "border"),
    "three rows at the bottom": ([(slice(-3, None), ALL)], "object-25"),
    "two columns": ([(ALL, slice(0, 2))], "border"),
    "three columns": ([(ALL, slice(0, 3))], "vertical"),
    "columns below, else nothing": ([(slice(10, None), slice(5, 9))], "vertical"),
    "columns below, else salt": ([(slice(0, 10), ALL), (ALL, slice(5, 9))], "vertical"),
    "columns but for the middle row": ([(slice(11, None), slice(5, 9))], "object-15"),
    "salt below a level": ([(slice(10, None), ALL)], "object-75"),
    "salt above a level": ([(slice(0, 10), ALL)], "object-75"),
    "three quarters": ([(slice(5, None), ALL)], "object-100"),
    "all": ([(ALL, ALL)], "object-100"),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    rectangles, expected = BY_HAND[name]
    assert mask_types(mask(*rectangles)[np.newaxis]) == [expected]


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        (59, "object-15"),
        (60, "object-25"),
        (99, "object-25"),
        (100, "object-50"),
        (199, "object-50"),
        (200, "object-75"),
        (299, "object-75"),
        (300, "object-100"),
    ],
)
def test_an_object_has_less_than_its_name_says(area: int, expected: str) -> None:
    salt = np.arange(SIDE * SIDE).reshape(1, SIDE, SIDE) >= SIDE * SIDE - area
    assert mask_types(salt) == [expected]


def test_a_border_is_a_tenth_of_each_side_rounded_down() -> None:
    masks = np.zeros((4, 101, 59), dtype=bool)
    masks[0, 9, 30] = masks[1, 10, 30] = True
    masks[2, 50, 4] = masks[3, 50, 5] = True
    assert mask_types(masks) == ["border", "object-15", "border", "object-15"]


@given(areas=st.lists(st.integers(0, 16), min_size=1, max_size=8))
def test_a_mirrored_mask_has_the_same_type(areas: list[int]) -> None:
    masks = (np.arange(16) < np.array(areas).reshape(-1, 1)).reshape(-1, 4, 4)
    types = mask_types(masks)
    assert set(types) <= set(TYPES)
    assert mask_types(masks[:, :, ::-1]) == types == mask_types(masks.astype(np.uint8))


def test_what_is_no_mask_is_refused() -> None:
    with pytest.raises(DataError, match=r"masks are float64 \[1, 4, 4\]\nexpected: bool"):
        mask_types(np.zeros((1, 4, 4)))  # type: ignore[arg-type]


def test_edges_that_cut_the_salt_are_counted() -> None:
    masks = np.zeros((5, 4, 6), dtype=bool)
    masks[1, 1:3, 1:5] = True  # whole in the tile
    masks[2, 0, 2] = True
    masks[3, :, 0] = True  # left, and its ends at the top and at the bottom
    masks[4] = True
    assert edges_cut(masks).tolist() == [0, 0, 1, 3, 4]
    assert edges_cut(masks.astype(np.uint8)).tolist() == [0, 0, 1, 3, 4]
