from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from kaggle_salt.competition.png import read_grey, to_mask, to_tile
from kaggle_salt.errors import DataError
from tests.makers import png

LEVELS = (np.arange(120, dtype=np.uint8) * 2).reshape(12, 10)
BLACK_WHITE = LEVELS // 128 * np.uint8(255)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "I;16"])
def test_grey_levels_survive_every_mode(mode: str) -> None:
    grey, found = read_grey(png(LEVELS, mode), "a.png")
    assert found == mode
    assert to_tile(grey, "a.png").dtype == np.uint8
    np.testing.assert_array_equal(to_tile(grey, "a.png"), LEVELS)


def test_one_bit_levels_are_0_and_255() -> None:
    grey, found = read_grey(png(BLACK_WHITE, "1"), "a.png")
    assert found == "1"
    np.testing.assert_array_equal(to_tile(grey, "a.png"), BLACK_WHITE)


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "RGB", "P"])
def test_mask_is_the_same_in_every_mode(mode: str) -> None:
    grey, _ = read_grey(png(BLACK_WHITE, mode), "m.png")
    mask = to_mask(grey, "m.png")
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, BLACK_WHITE == 255)


def test_colours_become_their_luminosity() -> None:
    colours = np.zeros((1, 3, 3), np.uint8)
    colours[0] = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    out = io.BytesIO()
    Image.fromarray(colours).save(out, format="PNG")
    grey, mode = read_grey(out.getvalue(), "c.png")
    assert mode == "RGB"
    assert grey.tolist() == [[76, 150, 29]]  # 255 times .299, .587, .114


def test_16_bit_levels_are_rounded() -> None:
    levels = np.array([[0, 128, 129, 257, 65535]], np.uint16)  # 257 per 8-bit level
    assert to_tile(levels, "a.png").tolist() == [[0, 0, 1, 1, 255]]


@pytest.mark.parametrize("cut", [0, 7, 20, 60, -13, -4, -1])
def test_truncated_file_is_named(cut: int) -> None:
    whole = png(LEVELS)
    with pytest.raises(DataError, match=r"images/a\.png is truncated or damaged"):
        read_grey(whole[:cut], "images/a.png")


@given(place=st.integers(8, len(png(LEVELS)) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unnoticed(place: int, bit: int) -> None:
    damaged = bytearray(png(LEVELS))
    damaged[place] ^= 1 << bit
    with pytest.raises(DataError, match="truncated or damaged"):
        read_grey(bytes(damaged), "a.png")


def test_text_is_no_png() -> None:
    with pytest.raises(DataError, match="truncated or damaged"):
        read_grey(b"<html>please log in</html>", "a.png")


@pytest.mark.parametrize("levels", [[0, 128, 255], [0, 1], [0, 254], [7, 7]])
def test_grey_mask_is_refused(levels: list[int]) -> None:
    shown = ", ".join(map(str, sorted(set(levels))))
    with pytest.raises(DataError, match=f"mask m.png has the grey levels {shown}\nexpected: no"):
        to_mask(np.array([levels], np.uint8), "m.png")


def test_16_bit_mask_must_reach_the_highest_level() -> None:
    with pytest.raises(DataError, match="grey levels 0, 255\nexpected: no level but 0 and 65535"):
        to_mask(np.array([[0, 255]], np.uint16), "m.png")
    assert to_mask(np.array([[0, 65535]], np.uint16), "m.png").tolist() == [[False, True]]
