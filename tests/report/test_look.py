from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from kaggle_salt.errors import DataError
from kaggle_salt.report import copies_sheet, fold_sheet
from kaggle_salt.report.look import draw_sheets
from tests.report.test_data_sheets import SALT_ROWS, competition


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures of copies and folds that were drawn; nothing is written."""
    kept: list[Figure] = []
    for module in (copies_sheet, fold_sheet):
        monkeypatch.setattr(module, "save_figure", lambda figure, path: kept.append(figure))
    return kept


def told(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_four_pictures_are_written_and_a_fifth_with_a_table(tmp_path: Path) -> None:
    tiles = competition()
    paths = draw_sheets(tiles, tmp_path / "new")
    names = ["tiles.png", "coverage.png", "depth.png", "copies.png"]
    assert [path.name for path in paths] == names
    assert sorted(paths) == sorted((tmp_path / "new").iterdir())
    table = pd.DataFrame({"id": tiles.ids, "fold": [0, 1] * 4, "coverage": np.arange(8) / 8})
    paths = draw_sheets(tiles, tmp_path / "new", table)
    assert [path.name for path in paths] == [*names, "folds.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_sheets_need_a_tile(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training tile to draw"):
        draw_sheets(competition(rows=()), tmp_path)


def test_blank_tiles_and_copies_are_shown_with_their_masks(figures: list[Figure]) -> None:
    tiles = competition()
    images = tiles.images.copy()
    images[0] = 7  # blank, no salt
    images[7] = 9  # blank, all salt
    images[5] = images[2]
    test = np.stack([images[2], np.zeros_like(images[2])])
    tiles = replace(tiles, images=images, test_images=test, test_ids=("test0", "test1"))
    copies_sheet.draw_copies(tiles, Path("x.png"))
    [figure] = figures
    assert told(figure) == [
        "Blank tiles: 2; sets of tiles with the same pixels: 1",
        "blank\n2 tiles\n1 with salt\n1 in test",
        "the same pixels\n2 in training\n1 in test\n2 different masks",
    ]
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["tile0", "tile7", "tile2", "tile5", "test0 (test)"]
    for axes in figure.axes:
        box = axes.get_position()
        assert min(box.x0, box.y0) >= 0
        assert max(box.x1, box.y1) <= 1


def test_no_copy_anywhere_is_said_too(figures: list[Figure]) -> None:
    copies_sheet.draw_copies(competition(), Path("x.png"))
    assert "no two have the same pixels" in told(figures[0])[1]


def test_every_fold_has_a_bar_of_all_its_tiles(figures: list[Figure]) -> None:
    coverage = np.array(SALT_ROWS) / 10
    table = pd.DataFrame({"fold": [0, 1, 0, 1, 0, 1, 0, 0], "coverage": coverage})
    fold_sheet.draw_folds(table, np.array([*np.linspace(100, 900, 7), np.nan]), Path("x.png"))
    shares, deep = figures[0].axes
    assert [label.get_text() for label in shares.get_yticklabels()] == ["fold 0: 5", "fold 1: 3"]
    ends = [0.0, 0.0]
    for number, bar in enumerate(shares.patches):
        ends[number % 2] += bar.get_width()  # type: ignore[attr-defined]
    assert ends == pytest.approx([100, 100])
    assert deep.get_xlabel() == "depth, feet: middle half, median"
    fold_sheet.draw_folds(table, np.full(8, np.nan), Path("x.png"))
    assert figures[1].axes[1].get_xlabel() == "no depth is known"
