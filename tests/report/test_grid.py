from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from kaggle_salt.competition.decision import Rule
from kaggle_salt.errors import DataError
from kaggle_salt.report import grid

Tiles = tuple[
    NDArray[np.uint8], NDArray[np.bool_], NDArray[np.uint8], NDArray[np.float64], list[str]
]


def truths_of(kinds: list[bool]) -> NDArray[np.bool_]:
    """A 2x2 mask for each entry: full of salt, or empty."""
    return np.repeat(np.array(kinds, dtype=bool), 4).reshape(-1, 2, 2)


def tiles(count: int) -> Tiles:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 20, 20), dtype=np.uint8)
    truths = np.zeros((count, 20, 20), dtype=bool)
    truths[::2, 10:] = True  # every other tile has salt in its lower half
    probabilities = np.where(truths, 220, 30).astype(np.uint8)
    return (
        images,
        truths,
        probabilities,
        np.linspace(0, 1, count),
        [f"tile{n}" for n in range(count)],
    )


def group(content: Tiles, title: str = "") -> grid.Tiles:
    images, truths, probabilities, scores, ids = content
    return grid.Tiles(ids, images, truths, probabilities, scores, title)


def draw(path: Path, content: Tiles, rule: Rule | None = None, columns: int = 6) -> None:
    grid.prediction_grid([group(content)], path, rule=rule or Rule(), columns=columns)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were drawn; nothing is written."""
    kept: list[Figure] = []
    monkeypatch.setattr(grid, "save_figure", lambda figure, path: kept.append(figure))
    return kept


def outlines(figure: Figure, row: int) -> list[int]:
    """Number of outlines on each picture of a row of a sheet."""
    pictures = figure.axes[row : len(figure.axes) - 1 : len(grid.ROW_NAMES)]
    return [len(axes.collections) for axes in pictures]


def test_pick_takes_worst_middle_and_best_of_each_kind() -> None:
    truths = truths_of([True, True, True, False, False, False])
    scores = np.array([0.9, 0.1, 0.5, 1.0, 0.0, 1.0])
    # of two each: salt tiles 1 (.1) and 0 (.9), empty tiles 4 (0) and 5 (the later of two 1s)
    assert grid.pick_tiles(scores, truths, 4).tolist() == [4, 1, 0, 5]


def test_pick_follows_the_share_of_empty_tiles() -> None:
    truths = truths_of([True] * 30 + [False] * 10)
    picked = grid.pick_tiles(np.linspace(0, 1, 40), truths, 8)
    assert np.count_nonzero(picked >= 30) == 2


def test_pick_shows_a_rare_kind_too() -> None:
    truths = truths_of([True] * 99 + [False])
    assert 99 in grid.pick_tiles(np.linspace(1, 0, 100), truths, 3)


@given(
    tenths=st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=40),
    n=st.integers(0, 45),
)
def test_picked_tiles_are_distinct_and_rise_in_score(
    tenths: list[tuple[int, bool]], n: int
) -> None:
    scores = np.array([score for score, _ in tenths]) / 10
    truths = truths_of([salt for _, salt in tenths])
    picked = grid.pick_tiles(scores, truths, n)
    assert len(set(picked.tolist())) == len(picked) == min(n, len(scores))
    assert (np.diff(scores[picked]) >= 0).all()
    if len(picked) >= 2:
        assert set(truths[picked, 0, 0]) == set(truths[:, 0, 0])  # both kinds, where there are two


def test_pick_needs_one_score_for_each_mask() -> None:
    with pytest.raises(DataError, match="2 scores for 1 masks"):
        grid.pick_tiles(np.zeros(2), truths_of([True]), 1)


def test_extremes_are_the_worst_the_middling_and_the_best() -> None:
    scores = np.array([0.9, 0.1, 0.5, 0.6, 0.4, 0.2, 0.8, 1.0, 0.0, 1.0])
    has_salt = np.array([True] * 7 + [False] * 3)
    picked = grid.pick_extremes(scores, has_salt, 3)
    # salt tiles by score: 1 5 4 2 3 6 0; empty tiles: 8 (0), 7 and 9 (1)
    assert {name: rows.tolist() for name, rows in picked.items()} == {
        "worst": [8, 1, 5], "middling": [4, 2, 3], "best": [6, 0, 9],
    }  # fmt: skip


@given(
    tenths=st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=40),
    n=st.integers(1, 8),
)
def test_extremes_are_distinct_and_in_order(tenths: list[tuple[int, bool]], n: int) -> None:
    scores = np.array([score for score, _ in tenths]) / 10
    picked = grid.pick_extremes(scores, np.array([salt for _, salt in tenths]), n)
    rows = np.concatenate(list(picked.values()))
    assert len(set(rows.tolist())) == len(rows) >= 1
    for chosen in picked.values():
        assert 1 <= len(chosen) <= n
        assert (np.diff(scores[chosen]) >= 0).all()


def test_grid_is_a_png_of_the_expected_width(tmp_path: Path) -> None:
    draw(tmp_path / "grid.png", tiles(6))
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size[0] == round(150 * (0.3 + 6 * 1.66))
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_every_tile_has_its_id_and_its_score(tmp_path: Path, figures: list[Figure]) -> None:
    draw(tmp_path / "grid.png", tiles(3), columns=2)
    axes = figures[0].axes
    assert [one.get_title() for one in axes if one.get_title()] == ["tile0", "tile1", "tile2"]
    captions = [one.get_xlabel() for one in axes if one.get_xlabel().startswith("score")]
    assert captions == ["score 0.00", "score 0.50", "score 1.00"]
    names = [one.get_ylabel() for one in axes if one.get_ylabel()]
    assert names == ["tile", "truth", "prediction"] * 2  # tiles 0 and 2 begin a block


def test_outlines_follow_truth_and_decision(tmp_path: Path, figures: list[Figure]) -> None:
    draw(tmp_path / "grid.png", tiles(2))  # salt in both truth and prediction, then in neither
    draw(tmp_path / "grid.png", tiles(2), Rule(230))  # nothing is predicted
    draw(tmp_path / "grid.png", tiles(2), Rule(min_area=201))  # 200 pixels are too few
    assert [outlines(figure, 0) for figure in figures] == [[0, 0]] * 3
    assert [outlines(figure, 1) for figure in figures] == [[1, 0]] * 3
    assert [outlines(figure, 2) for figure in figures] == [[2, 0], [1, 0], [1, 0]]


def test_full_prediction_has_no_outline(tmp_path: Path, figures: list[Figure]) -> None:
    draw(tmp_path / "grid.png", tiles(2), Rule(0))
    assert outlines(figures[0], 2) == [1, 0]


def test_pictures_stay_on_the_page(tmp_path: Path, figures: list[Figure]) -> None:
    draw(tmp_path / "grid.png", tiles(5), columns=2)
    for axes in figures[0].axes:
        box = axes.get_position()
        assert min(box.x0, box.y0) >= 0
        assert max(box.x1, box.y1) <= 1


def test_groups_stand_beside_one_another_under_their_titles(
    tmp_path: Path, figures: list[Figure]
) -> None:
    groups = [group(tiles(3), "out of fold"), group(tiles(2), "trained on")]
    grid.prediction_grid(groups, tmp_path / "x.png", rule=Rule(), columns=2, side_by_side=True)
    grid.prediction_grid(groups, tmp_path / "x.png", rule=Rule(), columns=2)
    for figure in figures:
        assert [text.get_text() for text in figure.texts] == ["out of fold", "trained on"]
        assert len(figure.axes) == 3 * (3 + 2) + 1
        boxes = [axes.get_position() for axes in figure.axes]
        assert min(min(box.x0, box.y0) for box in boxes) >= 0
        assert max(max(box.x1, box.y1) for box in boxes) <= 1
        assert not any(
            one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[n + 1 :]
        )
    beside, below = (figure.axes[0].get_position() for figure in figures)
    second_beside, second_below = (figure.axes[9].get_position() for figure in figures)
    assert second_beside.y0 == pytest.approx(beside.y0)
    assert second_beside.x0 > beside.x1
    assert second_below.x0 == pytest.approx(below.x0)
    assert second_below.y1 < below.y0


def test_a_group_needs_a_tile() -> None:
    with pytest.raises(DataError, match="no tile to draw"):
        group(tiles(0))


def test_a_group_needs_one_shape() -> None:
    images, truths, probabilities, scores, ids = tiles(2)
    with pytest.raises(DataError, match=r"truths \[2, 19, 20\]"):
        group((images, truths[:, 1:], probabilities, scores, ids))


def test_a_group_needs_an_id_for_every_tile() -> None:
    images, truths, probabilities, scores, ids = tiles(2)
    with pytest.raises(DataError, match="2 scores and 1 ids for 2 tiles"):
        group((images, truths, probabilities, scores, ids[:1]))


def test_coloured_tiles_are_drawn_in_their_colours(tmp_path: Path, figures: list[Figure]) -> None:
    _, *rest = tiles(2)
    red = np.zeros((2, 20, 20, 3), np.uint8)
    red[..., 0] = 255
    draw(tmp_path / "grid.png", (red, *rest))
    shown = figures[0].axes[0].images[0].get_array()
    assert shown is not None
    assert shown.shape == (20, 20, 3)
    assert (shown[0, 0] == [255, 0, 0]).all()
