"""The picture of mosaics: tiles in their places, known masks laid over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kaggle_salt.errors import DataError
from kaggle_salt.report import mosaic_sheet as sheet_module
from kaggle_salt.report.mosaic_sheet import mosaic_sheet

TABLE = pd.DataFrame(
    [("a", 0, 0, 0), ("b", 0, 0, 1), ("c", 0, 1, 1), ("d", 1, 0, 0), ("e", 1, 1, 0)],
    columns=["id", "mosaic", "row", "column"],
)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved from now on."""
    saved: list[Figure] = []
    usual = sheet_module.save_figure

    def save(figure: Figure, path: Path) -> None:
        saved.append(figure)
        usual(figure, path)

    monkeypatch.setattr(sheet_module, "save_figure", save)
    return saved


def tiles(levels: dict[str, int]) -> dict[str, NDArray[np.uint8]]:
    return {tile: np.full((10, 12), level, np.uint8) for tile, level in levels.items()}


def shown(figure: Figure, mosaic: int) -> NDArray[np.float64]:
    array = figure.axes[mosaic].images[0].get_array()
    assert array is not None
    return np.asarray(array)


def test_each_tile_lies_in_its_place(tmp_path: Path, figures: list[Figure]) -> None:
    grey = tiles({"a": 0, "b": 51, "c": 102, "d": 153, "e": 204})
    half = np.zeros((10, 12), dtype=bool)
    half[:, 6:] = True
    mosaic_sheet(TABLE, grey, {"c": half}, tmp_path / "m.png", title="two mosaics")
    assert (tmp_path / "m.png").stat().st_size > 1000
    first, second = shown(figures[0], 0), shown(figures[0], 1)
    assert first.shape == (20, 24, 3)
    assert second.shape == (20, 12, 3)
    assert first[5, 5].tolist() == [0, 0, 0]
    assert first[5, 18] == pytest.approx([0.2] * 3)
    assert (first[10:, :12] == 1).all(), "a cell without a tile is white"
    assert first[15, 15] == pytest.approx([0.4] * 3)
    assert first[15, 20, 2] > first[15, 20, 0] + 0.2, "salt is blue"
    red, _, blue = first[10, 15]
    assert red > blue + 0.5, "a tile with a mask has an orange frame"
    assert second[15, 5] == pytest.approx([0.8] * 3)
    titles = [axes.get_title() for axes in figures[0].axes]
    assert titles == ["mosaic 0: 3 tiles, 1 with masks", "mosaic 1: 2 tiles, 0 with masks"]


def test_colours_are_drawn_and_large_mosaics_thinned(
    tmp_path: Path, figures: list[Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet_module, "LONGEST", 12)
    red = {tile: np.full((10, 12, 3), [255, 0, 0], np.uint8) for tile in "abcde"}
    mosaic_sheet(TABLE, red, {}, tmp_path / "m.png", title="red", columns=1)
    first = shown(figures[0], 0)
    assert first.shape == (10, 12, 3)
    assert first[0, 0].tolist() == [1, 0, 0]


def test_without_a_mosaic_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no mosaic to draw\nexpected: one at least"):
        mosaic_sheet(TABLE[:0], {}, {}, tmp_path / "m.png", title="none")
