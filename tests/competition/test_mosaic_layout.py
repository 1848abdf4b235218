"""Which pairs are believed, and how they are put together, on borders made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from kaggle_salt.competition.mosaic_borders import Borders, Pairs, mutual_bests, read_borders
from kaggle_salt.competition.mosaic_layout import Link, believed, lay_out, touching


def pairs(*rows: tuple[int, int, float, float]) -> Pairs:
    first, second, score, quality = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Pairs(
        np.array(first, np.int64), np.array(second, np.int64), np.array(score), np.array(quality)
    )


def borders(ends: list[list[float]], starts: list[list[float]]) -> Borders:
    """The same lines for both steps."""
    right, left = np.array(ends, np.float32), np.array(starts, np.float32)
    return Borders((right, right), (left, left), np.zeros(len(right), dtype=bool))


def test_a_border_is_drawn_on_by_one_pixel_centred_and_of_length_one() -> None:
    tile = np.array([[[0, 10, 30], [0, 20, 40], [0, 30, 80]]], np.uint8)
    found = read_borders(tile)
    drawn_on = np.array([2 * 30 - 10, 2 * 40 - 20, 2 * 80 - 30], float) - 80
    assert found.ends[0][0] == pytest.approx(drawn_on / np.linalg.norm(drawn_on))
    above = np.array([0, 0, 2 * 30 - 40], float) - 20 / 3
    assert found.starts[1][0] == pytest.approx(above / np.linalg.norm(above))
    assert np.abs(np.linalg.norm(found.starts[0], axis=1)) == pytest.approx([1])


@pytest.mark.parametrize(("level", "flat"), [(4, True), (5, False)])
def test_a_tile_is_flat_if_all_its_border_lines_are(level: int, flat: bool) -> None:
    tile = np.full((1, 5, 5), 100, np.uint8)
    tile[0, 2, 2] = 255  # what is inside does not matter
    tile[0, 0, 0] = 100 + level
    assert read_borders(tile).flat.tolist() == [flat]


def test_mutual_bests_by_hand() -> None:
    # 0 ends as 1 starts; 2 ends nearly so too, but 1 is best for 0
    lines = borders([[1, 0, 0], [0, 1, 0], [0.6, 0.8, 0]], [[0, 0, 1], [0.96, 0.28, 0], [0, 0, -1]])
    found = mutual_bests(lines, 0)
    assert (found.first.tolist(), found.second.tolist()) == ([0], [1])
    assert found.score == pytest.approx([0.96], abs=1e-6)
    # the worse side is that of 1, for which 2 would do nearly as well: .6 * .96 + .8 * .28
    assert found.quality == pytest.approx([np.sqrt((1 - 0.96) / (1 - 0.8))], abs=1e-5)


def test_a_lone_pair_must_be_sure_and_a_loop_need_not() -> None:
    alone = pairs((0, 1, 0.51, 0.74), (2, 3, 0.5, 0.1), (4, 5, 0.9, 0.75))
    assert believed(alone, pairs()) == [Link(True, 0.74, 0, 0, 1)]
    rightwards = pairs((0, 1, 0.4, 0.9), (2, 3, 0.4, 0.8), (6, 7, 0.9, 0.1))
    downwards = pairs((0, 2, 0.4, 0.7), (1, 3, 0.4, 1.0))
    assert believed(rightwards, downwards) == [
        Link(False, 0.7, 1, 0, 2), Link(False, 0.8, 0, 2, 3), Link(False, 0.9, 0, 0, 1),
        Link(False, 1.0, 1, 1, 3), Link(True, 0.1, 0, 6, 7),
    ]  # fmt: skip
    open_loop = pairs((0, 2, 0.4, 0.7), (1, 4, 0.4, 1.0))
    assert believed(rightwards, open_loop) == [Link(True, 0.1, 0, 6, 7)]


ALIKE = borders([[1, 0]] * 6, [[1, 0]] * 6)


def test_mosaics_join_and_begin_at_zero() -> None:
    links = [Link(True, 0.1, 0, 1, 2), Link(True, 0.2, 1, 1, 3), Link(True, 0.3, 0, 0, 1)]
    [mosaic] = lay_out(links, ALIKE)
    assert mosaic == {(0, 0): 0, (0, 1): 1, (0, 2): 2, (1, 1): 3}
    assert sorted(touching(mosaic)) == [(0, 0, 1), (0, 1, 2), (1, 1, 3)]


def test_a_cell_that_is_taken_is_refused() -> None:
    links = [Link(True, 0.1, 0, 0, 1), Link(True, 0.2, 1, 0, 2), Link(True, 0.3, 0, 2, 3),
             Link(True, 0.4, 1, 1, 4)]  # fmt: skip
    [mosaic] = lay_out(links, ALIKE)
    assert mosaic == {(0, 0): 0, (0, 1): 1, (1, 0): 2, (1, 1): 3}, "4 would lie on 3"


@pytest.mark.parametrize(
    ("others", "joined"),
    [(0.0, True), (-0.05, True), (-0.11, False), (-1.0, False)],
)
def test_no_border_that_comes_to_touch_may_be_unlike(others: float, joined: bool) -> None:
    # 0 1 above 2 3, joined by 0 and 2, which are alike; then 1 and 3 come to touch
    other = [others, float(np.sqrt(1 - others**2))]
    right = np.array([[1, 0]] * 4, np.float32)
    below = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    above = np.array([[0, 1], [0, 1], [1, 0], other], np.float32)
    lines = Borders((right, below), (right, above), np.zeros(4, dtype=bool))
    links = [Link(True, 0.1, 0, 0, 1), Link(True, 0.2, 0, 2, 3), Link(True, 0.3, 1, 0, 2)]
    assert len(lay_out(links, lines)) == (1 if joined else 2)


def test_borders_that_come_to_touch_must_be_alike_on_the_mean() -> None:
    right = np.array([[1, 0]] * 4, np.float32)
    below = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    for first, joined in ((0.71, True), (0.69, False)):
        above = np.array([[0, 1], [0, 1], [first, np.sqrt(1 - first**2)], [0, 1]], np.float32)
        lines = Borders((right, below), (right, above), np.zeros(4, dtype=bool))
        links = [Link(True, 0.1, 0, 0, 1), Link(True, 0.2, 0, 2, 3), Link(True, 0.3, 1, 0, 2)]
        assert (len(lay_out(links, lines)) == 1) == joined
