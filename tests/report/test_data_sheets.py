from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kaggle_salt.competition.tiles import Competition
from kaggle_salt.report import data_sheets

#: Of ten pixels each, rows of a mask that are salt.
SALT_ROWS = (0, 0, 1, 2, 4, 7, 9, 10)


def competition(
    shape: tuple[int, ...] = (10, 10), rows: tuple[int, ...] = SALT_ROWS
) -> Competition:
    masks = np.zeros((len(rows), *shape[:2]), dtype=bool)
    for mask, salt in zip(masks, rows, strict=True):
        mask[:salt] = True
    images = np.random.default_rng(0).integers(0, 256, (len(rows), *shape), dtype=np.uint8)
    nothing = np.empty((0, *shape), dtype=np.uint8)
    ids = tuple(f"tile{n}" for n in range(len(rows)))
    depths = np.linspace(100, 900, len(rows))
    return Competition(
        Path("data"), ids, images, masks, depths, (), nothing, np.empty(0), {}, "", ""
    )


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were drawn; nothing is written."""
    kept: list[Figure] = []
    monkeypatch.setattr(data_sheets, "save_figure", lambda figure, path: kept.append(figure))
    return kept


def coverage_of(tiles: Competition) -> NDArray[np.float64]:
    return np.asarray(tiles.masks.mean(axis=(1, 2)))


def test_classes_hold_their_upper_ends() -> None:
    coverage = np.array([0, 0.0001, 0.1, 0.1001, 0.25, 0.5, 0.75, 0.7501, 0.9999, 1])
    assert data_sheets.classes_of(coverage).tolist() == [0, 1, 1, 2, 2, 3, 4, 5, 5, 6]
    assert len(data_sheets.CLASS_NAMES) == 7


@pytest.mark.parametrize("shape", [(10, 10), (10, 14), (20, 10), (10, 10, 3)])
def test_every_class_has_a_row_of_tiles_with_masks(
    figures: list[Figure], shape: tuple[int, ...]
) -> None:
    tiles = competition(shape, (0, 0, 1, 2, 4, 7, 9, 10))
    data_sheets.draw_tiles(tiles, coverage_of(tiles), Path("x.png"))
    [figure] = figures
    told = [text.get_text() for text in figure.texts]
    assert told[0].startswith("no salt\n2 tiles\n25.0 %")
    assert told[-1] == "8 training tiles by the salt in them"
    assert len(figure.axes) == 8
    for axes in figure.axes:
        tile, tint = axes.images
        assert tile.get_array().shape == shape  # type: ignore[union-attr]
        box = axes.get_position()
        assert min(box.x0, box.y0) >= 0
        assert max(box.x1, box.y1) <= 1
        salt = tint.get_array()[..., 3] > 0  # type: ignore[index]
        assert len(axes.collections) == (0 < salt.mean() < 1), "an outline where there is an edge"
    tinted = [float((axes.images[1].get_array()[..., 3] > 0).mean()) for axes in figure.axes]  # type: ignore[index]
    assert tinted == sorted(coverage_of(tiles).tolist())


def test_a_row_goes_from_the_least_salt_to_the_most(figures: list[Figure]) -> None:
    tiles = competition((100, 4), tuple(range(74, 50, -1)))
    data_sheets.draw_tiles(tiles, coverage_of(tiles), Path("x.png"))
    tinted = [float((axes.images[1].get_array()[..., 3] > 0).mean()) for axes in figures[0].axes]  # type: ignore[index]
    assert len(tinted) == data_sheets.SHOWN
    assert tinted == sorted(tinted)
    assert (tinted[0], tinted[-1]) == (0.51, 0.74)


def test_bars_count_every_tile_once(figures: list[Figure]) -> None:
    data_sheets.draw_coverage(np.array([0, 0, 0.05, 0.0501, 0.5, 0.98, 1]), Path("x.png"))
    axes = figures[0].axes[0]
    empty, *bars = [round(bar.get_height()) for bar in axes.patches]  # type: ignore[attr-defined]
    assert (empty, sum(bars)) == (2, 5)
    assert (bars[0], bars[1], bars[9], bars[-1]) == (1, 1, 1, 2)
    assert axes.get_xlabel() == "salt coverage, % of a tile's pixels"
    assert "no salt: 2 tiles, 29 %" in [text.get_text() for text in axes.texts]


def test_no_salt_anywhere_is_drawn_too(figures: list[Figure]) -> None:
    tiles = competition(rows=(0, 0))
    data_sheets.draw_tiles(tiles, coverage_of(tiles), Path("x.png"))
    data_sheets.draw_coverage(coverage_of(tiles), Path("x.png"))
    data_sheets.draw_depth(np.asarray(tiles.depths), coverage_of(tiles), Path("x.png"))
    assert len(figures) == 3


def test_depth_and_coverage_have_their_units(figures: list[Figure]) -> None:
    depths = np.array([100, 200, np.nan, 400.0])
    data_sheets.draw_depth(depths, np.array([0, 0.5, 0.9, 1]), Path("x.png"))
    above, below = figures[0].axes
    assert above.lines[0].get_xdata().tolist() == [200, 400]  # type: ignore[union-attr]
    assert above.lines[0].get_ydata().tolist() == [50, 100]  # type: ignore[union-attr]
    assert list(below.lines[0].get_ydata()) == [0, 100, 100]  # type: ignore[arg-type]
    assert below.get_xlabel() == "depth, feet"
    title = figures[0].get_suptitle()
    assert title == "Depth and salt of 3 training tiles; 1 without a depth left out"


def test_without_depths_the_picture_says_so(figures: list[Figure]) -> None:
    data_sheets.draw_depth(np.full(3, np.nan), np.zeros(3), Path("x.png"))
    [axes] = figures[0].axes
    assert "No training tile has a depth" in axes.texts[0].get_text()
