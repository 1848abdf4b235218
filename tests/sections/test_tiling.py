from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kaggle_salt.errors import ConfigError
from kaggle_salt.sections.tiling import Grid, predict_sections, raised_cosine, spread

Levels = NDArray[np.uint8]


@dataclass
class Pixels:
    """A section in memory, which notes the rows that were asked for."""

    levels: Levels

    def __post_init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    @property
    def height(self) -> int:
        return len(self.levels)

    @property
    def width(self) -> int:
        return int(self.levels.shape[1])

    @property
    def coloured(self) -> bool:
        return self.levels.ndim == 3

    def rows(self, start: int, stop: int) -> Levels:
        assert 0 <= start < stop <= self.height
        self.asked.append((start, stop))
        return self.levels[start:stop]


def noise(*shape: int, seed: int = 0) -> Pixels:
    return Pixels(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def itself(tiles: Levels) -> Levels:
    """A network that sees salt where it is bright."""
    return tiles if tiles.ndim == 3 else tiles[..., 0]


def moody(tiles: Levels) -> Levels:
    """A network that says another thing of a pixel in every tile that holds it."""
    means = tiles.reshape(len(tiles), -1).mean(axis=1).astype(np.uint8)
    rows = np.arange(tiles.shape[1], dtype=np.uint8)[None, :, None]
    return (tiles // 2 + means[:, None, None] // 4 + rows).astype(np.uint8)


def slowly(levels: Levels, tile: tuple[int, int], overlap: float) -> NDArray[np.float64]:
    """The same, pixel by pixel: all tiles are cut out, and each pixel asks all that hold it."""
    height, width = tile
    window = np.outer(*(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in tile))
    places = [
        (top, left)
        for top in spread(levels.shape[0], height, overlap)
        for left in spread(levels.shape[1], width, overlap)
    ]
    total, weight = np.zeros(levels.shape), np.zeros(levels.shape)
    for top, left in places:
        predicted = moody(levels[top : top + height, left : left + width][np.newaxis])[0]
        for row in range(height):
            for column in range(width):
                total[top + row, left + column] += window[row, column] * predicted[row, column]
                weight[top + row, left + column] += window[row, column]
    return total / weight


def test_tiles_along_a_side_by_hand() -> None:
    assert spread(4, 4, 0.5).tolist() == [0]
    assert spread(8, 4, 0.5).tolist() == [0, 2, 4]
    assert spread(9, 4, 0.5).tolist() == [0, 2, 3, 5]
    assert spread(8, 4, 0).tolist() == [0, 4]
    assert spread(9, 4, 0).tolist() == [0, 2, 5]


@given(st.integers(1, 40), st.integers(0, 300), st.floats(0, 0.99))
def test_tiles_leave_no_hole_and_end_with_the_side(tile: int, more: int, overlap: float) -> None:
    starts = spread(tile + more, tile, overlap).tolist()
    assert (starts[0], starts[-1]) == (0, more)
    assert all(0 < right - left <= tile for left, right in pairwise(starts))


def test_the_window_is_high_in_the_middle_and_nowhere_nothing() -> None:
    window = raised_cosine(5)
    assert window.argmax() == 2
    assert window.min() > 0
    assert np.array_equal(window, window[::-1])
    halves = raised_cosine(8)
    assert halves[:4] + halves[4:] == pytest.approx(np.ones(4))


@pytest.mark.parametrize("at_once", [1, 7, 1000])
@pytest.mark.parametrize(
    ("shape", "tile", "overlap"),
    [
        ((23, 31), (8, 8), 0.5),
        ((30, 9), (6, 8), 0.25),
        ((8, 40), (8, 8), 0.75),
        ((17, 17), (8, 5), 0),
    ],
)
def test_blending_is_what_it_says(
    shape: tuple[int, int], tile: tuple[int, int], overlap: float, at_once: int
) -> None:
    section = noise(*shape)
    [(same, levels)] = predict_sections(
        [section], tile, moody, overlap=overlap, tiles_at_once=at_once
    )
    assert same is section
    assert np.abs(levels - slowly(section.levels, tile, overlap)).max() < 0.5001


def test_where_all_tiles_agree_nothing_changes() -> None:
    for shape in ((40, 33), (40, 33, 3)):
        section = noise(*shape)
        [(_, levels)] = predict_sections([section], (8, 8), itself)
        assert np.array_equal(levels, itself(section.levels[np.newaxis])[0])


def test_a_tile_keeps_its_own_bits() -> None:
    for value in range(256):
        tile = Pixels(np.full((7, 9), value, np.uint8))
        [(_, levels)] = predict_sections([tile], (7, 9), itself)
        assert (levels == value).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (5, 3), (3, 20), (7, 8)])
def test_a_small_section_is_reflected_and_cut_back(shape: tuple[int, int]) -> None:
    section, seen = noise(*shape), []

    def look(tiles: Levels) -> Levels:
        seen.extend(tiles)
        return tiles

    assert Grid(shape, (8, 8)).padded
    [(_, levels)] = predict_sections([section], (8, 8), look)
    assert np.array_equal(levels, section.levels)
    before = [max(0, 8 - side) // 2 for side in shape]
    after = [max(0, 8 - side) - less for side, less in zip(shape, before, strict=True)]
    padded = np.pad(section.levels, tuple(zip(before, after, strict=True)), mode="reflect")
    assert np.array_equal(seen[0], padded[:8, :8])
    assert np.array_equal(seen[-1], padded[-8:, -8:])


def test_small_sections_fill_batches_together_and_come_back_in_order() -> None:
    sizes = [(8, 8), (20, 20), (3, 8), (8, 8, 3), (9, 9, 3), (40, 40), (8, 8)]
    sections = [noise(*size, seed=number) for number, size in enumerate(sizes)]
    batches: list[int] = []

    def count(tiles: Levels) -> Levels:
        batches.append(len(tiles))
        return itself(tiles)

    found = list(predict_sections(iter(sections), (8, 8), count, tiles_at_once=30))
    assert [section for section, _ in found] == sections
    for section, levels in found:
        assert np.array_equal(levels, itself(section.levels[np.newaxis])[0])
    assert batches == [1 + 16 + 1, 1 + 4, 27 + 27, 27 + 1]


def test_sections_are_read_strip_by_strip_and_when_their_turn_comes() -> None:
    tall = noise(400, 16)
    opened = []

    def one_after_the_other() -> object:
        for section in (tall, noise(8, 8)):
            opened.append(section)
            yield section

    def look(tiles: Levels) -> Levels:
        assert len(tiles) <= 12
        assert opened == [tall] or len(tall.asked) == 25
        return itself(tiles)

    found = list(predict_sections(one_after_the_other(), (8, 8), look, tiles_at_once=12))  # type: ignore[arg-type]
    assert len(found) == 2
    assert max(stop - start for start, stop in tall.asked) == 8 + 3 * 4
    assert tall.asked == sorted(tall.asked)


def test_overlaps_that_never_end_are_refused() -> None:
    for overlap in (1, 1.5, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="tiles that overlap by"):
            Grid((9, 9), (8, 8), overlap)
