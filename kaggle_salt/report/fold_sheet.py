"""A sheet of the folds: whether each of them holds the same kinds of tiles as the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from kaggle_salt.report.data_sheets import CLASS_NAMES, classes_of, head
from kaggle_salt.report.drawing import (
    BLUE,
    GREY,
    INK,
    LABEL_SIZE,
    SMALL_SIZE,
    VERMILLION,
    clean,
    draw_legend,
    save_figure,
)


def draw_folds(table: pd.DataFrame, depths: NDArray[np.float64], path: Path) -> None:
    """Draw the classes of coverage and the depths of every fold.

    Args:
        table: A row for each tile, with ``fold`` and ``coverage`` (0 to 1).
        depths: float64 ``[N]``, feet, of the same tiles; nan where unknown.
        path: PNG to write.
    """
    folds = sorted(set(table["fold"].tolist()))
    figure = Figure(figsize=(9.6, 2.2 + 0.42 * len(folds)), layout="constrained")
    shares, deep = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    _draw_shares(figure, table, folds)
    known = np.isfinite(depths)
    of_fold = [depths[known & (table["fold"] == fold).to_numpy()] for fold in folds]
    if known.any():
        deep.boxplot(
            of_fold, orientation="horizontal", positions=range(len(folds)), widths=0.55,
            showfliers=False, patch_artist=True, manage_ticks=False,
            boxprops={"facecolor": BLUE, "alpha": 0.35, "edgecolor": "none"},
            medianprops={"color": VERMILLION, "linewidth": 2},
            whiskerprops={"color": GREY}, capprops={"color": GREY},
        )  # fmt: skip
    deep.set_xlabel("depth, feet: middle half, median" if known.any() else "no depth is known",
                    fontsize=LABEL_SIZE)  # fmt: skip
    for axes in (shares, deep):
        clean(axes)
        axes.grid(visible=False, axis="y")
    deep.xaxis.set_major_locator(MaxNLocator(5))
    head(figure, f"{len(table):,} training tiles in {len(folds)} folds")
    save_figure(figure, path)


def _draw_shares(figure: Figure, table: pd.DataFrame, folds: list[int]) -> None:
    """A bar for each fold, made of its classes of coverage."""
    axes = figure.axes[0]
    classes = classes_of(table["coverage"].to_numpy(dtype=np.float64))
    present = sorted(set(classes.tolist()))
    salty = colormaps["viridis"](np.linspace(0.15, 0.95, len(CLASS_NAMES) - 1))
    left = np.zeros(len(folds))
    for number in present:
        share = np.array([float((classes[table["fold"] == f] == number).mean()) for f in folds])
        axes.barh(
            range(len(folds)), 100 * share, 0.62, left=left,
            color=salty[number - 1] if number else GREY,
            label=CLASS_NAMES[number],
        )  # fmt: skip
        left += 100 * share
    counts = table["fold"].value_counts()
    names = [f"fold {fold}: {counts[fold]:,}" for fold in folds]
    axes.set_yticks(range(len(folds)), names, fontsize=SMALL_SIZE, color=INK)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.xaxis.set_major_formatter(PercentFormatter(symbol=" %"))
    axes.set_xlabel("tiles by coverage", fontsize=LABEL_SIZE)
    draw_legend(figure, axes.get_legend_handles_labels()[0])
