"""All pictures of a competition's data, before any training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import DataError
from kaggle_salt.report.copies_sheet import draw_copies
from kaggle_salt.report.data_sheets import draw_coverage, draw_depth, draw_tiles
from kaggle_salt.report.fold_sheet import draw_folds


def draw_sheets(
    competition: Competition, folder: Path, table: pd.DataFrame | None = None
) -> list[Path]:
    """Write the pictures of the training tiles.

    Args:
        competition: The tiles.
        folder: Where to write; pictures of the same names are replaced.
        table: Their fold table, if there is one.

    Returns:
        The files: ``tiles.png``, ``coverage.png``, ``depth.png``, ``copies.png``, and with a
        table ``folds.png``.

    Raises:
        DataError: There is no training tile.
    """
    if not competition.ids:
        raise DataError("there is no training tile to draw", expected="one at least")
    coverage = competition.masks.mean(axis=(1, 2), dtype=np.float64)
    depths = np.asarray(competition.depths)
    names = ("tiles", "coverage", "depth", "copies", *(["folds"] if table is not None else []))
    paths = [folder / f"{name}.png" for name in names]
    draw_tiles(competition, coverage, paths[0])
    draw_coverage(coverage, paths[1])
    draw_depth(depths, coverage, paths[2])
    draw_copies(competition, paths[3])
    if table is not None:
        depth_of = dict(zip(competition.ids, depths.tolist(), strict=True))
        draw_folds(table, np.array([depth_of[tile] for tile in table["id"]]), paths[4])
    return paths
