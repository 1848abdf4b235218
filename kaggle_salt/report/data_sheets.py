"""Sheets to look at before any training: tiles by coverage, its histogram, depth against it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from kaggle_salt.competition.tiles import Competition
from kaggle_salt.report.drawing import (
    BLUE,
    GREY,
    INK,
    LABEL_SIZE,
    SMALL_SIZE,
    TITLE_SIZE,
    VERMILLION,
    clean,
    draw_legend,
    save_figure,
)

#: Upper ends of the classes of coverage, but for the empty masks, which come before them, the
#: rest, and the full masks, which come last.
CLASS_ENDS = (0.1, 0.25, 0.5, 0.75)
CLASS_NAMES = (
    "no salt", "up to 10 %", "10 to 25 %", "25 to 50 %", "50 to 75 %", "75 to 100 %", "all salt",
)  # fmt: skip

#: Tiles of a class that are shown, side by side.
SHOWN = 8

SALT = "#F0E442"  # Okabe and Ito's yellow: it stands out from grey, dark or light
BINS = 20  # of the histogram, beside the bar of the empty masks
DEPTH_GROUPS = 10  # of equal numbers of tiles


def classes_of(coverage: NDArray[np.float64]) -> NDArray[np.int64]:
    """Class of each tile, a row number of :data:`CLASS_NAMES`, int64 ``[N]``.

    Args:
        coverage: float64 ``[N]``, share of salt in [0, 1].
    """
    inner = np.searchsorted(CLASS_ENDS, coverage, side="left") + 1
    classes = np.where(coverage >= 1, len(CLASS_NAMES) - 1, inner)
    return np.where(coverage <= 0, 0, classes).astype(np.int64)


# Tiles


def draw_tiles(competition: Competition, coverage: NDArray[np.float64], path: Path) -> None:
    """Draw tiles with their masks laid over them, a row for each class of coverage.

    They are taken at even distances from the class sorted by coverage, so that a row goes from
    the least to the most; the same tiles give the same picture.

    Args:
        competition: The tiles.
        coverage: float64 ``[N]``, share of salt of each.
        path: PNG to write.
    """
    classes = classes_of(coverage)
    present = sorted(set(classes.tolist()))
    height, width = competition.tile_shape
    side, names, gap = 1.05, 1.35, 0.05
    tall = side * min(max(height / width, 0.5), 2)
    page = (names + SHOWN * (side + gap), 0.75 + len(present) * (tall + gap))
    figure = Figure(figsize=page)
    for place, number in enumerate(present):
        rows = np.flatnonzero(classes == number)
        bottom = page[1] - 0.6 - (place + 1) * (tall + gap)
        share = len(rows) / len(classes)
        told = f"{CLASS_NAMES[number]}\n{len(rows):,} tiles\n{100 * share:.1f} %"
        figure.text(
            (names - 0.12) / page[0], (bottom + tall / 2) / page[1], told, ha="right",
            va="center", fontsize=SMALL_SIZE, color=INK, linespacing=1.35,
        )  # fmt: skip
        for column, row in enumerate(_evenly(rows, coverage)):
            left = names + column * (side + gap)
            inches = (left / page[0], bottom / page[1], side / page[0], tall / page[1])
            draw_tile(figure.add_axes(inches), competition.images[row], competition.masks[row])
    figure.text(
        0.012, 1 - 0.17 / page[1], f"{len(coverage):,} training tiles by the salt in them",
        fontsize=TITLE_SIZE, fontweight="bold", color=INK, va="top",
    )  # fmt: skip
    save_figure(figure, path)


def _evenly(rows: NDArray[np.int64], coverage: NDArray[np.float64]) -> list[int]:
    ranked = rows[np.argsort(coverage[rows], kind="stable")]
    count = min(SHOWN, len(ranked))
    chosen: list[int] = ranked[np.rint(np.linspace(0, len(ranked) - 1, count)).astype(int)].tolist()
    return chosen


def draw_tile(axes: Axes, image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    """Draw a tile with its mask laid over it, and nothing around it.

    Args:
        axes: Where.
        image: uint8 ``[H, W]`` or ``[H, W, 3]``.
        mask: bool ``[H, W]``.
    """
    axes.set_axis_off()
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
    tint = np.zeros((*mask.shape, 4))
    tint[mask] = (*to_rgb(SALT), 0.3)
    axes.imshow(tint, interpolation="nearest")
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], colors=[SALT], linewidths=1.3)


# Coverage


def draw_coverage(coverage: NDArray[np.float64], path: Path) -> None:
    """Draw how many tiles have how much salt; the empty masks are a bar of their own.

    Args:
        coverage: float64 ``[N]``, share of salt of each tile.
        path: PNG to write.
    """
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    axes = figure.subplots()
    empty, width = int((coverage == 0).sum()), 100 / BINS
    # a bin holds its upper end, as the classes do: full masks are in the last
    edges = np.linspace(0, 1, BINS + 1)
    counts = np.bincount(
        np.clip(np.searchsorted(edges, coverage[coverage > 0], side="left") - 1, 0, BINS - 1),
        minlength=BINS,
    )
    axes.bar(-1.5 * width, empty, 0.9 * width, color=GREY)
    axes.bar(100 * edges[:-1] + width / 2, counts, 0.9 * width, color=BLUE)
    axes.annotate(
        f"no salt: {empty:,} tiles, {100 * empty / len(coverage):.0f} %", (-width, empty),
        xytext=(6, -2), textcoords="offset points", va="top", fontsize=LABEL_SIZE, color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
    )  # fmt: skip
    salt = coverage[coverage > 0]
    if len(salt):
        median = 100 * float(np.median(salt))
        axes.axvline(
            median, color=VERMILLION, linewidth=1.6, linestyle=(0, (4, 3)),
            label=f"median of the {len(salt):,} tiles with salt: {median:.0f} %",
        )  # fmt: skip
        draw_legend(figure, axes.get_legend_handles_labels()[0])
    clean(axes)
    axes.grid(visible=False, axis="x")
    axes.set_xticks([-1.5 * width, *range(0, 101, 20)], ["none", *map(str, range(0, 101, 20))])
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("salt coverage, % of a tile's pixels", fontsize=LABEL_SIZE)
    axes.set_ylabel("tiles", fontsize=LABEL_SIZE)
    head(figure, f"Salt coverage of {len(coverage):,} training tiles")
    save_figure(figure, path)


# Depth


def draw_depth(depths: NDArray[np.float64], coverage: NDArray[np.float64], path: Path) -> None:
    """Draw coverage against depth, and the share of tiles with salt; or that depths are unknown.

    Args:
        depths: float64 ``[N]``, feet, nan where unknown.
        coverage: float64 ``[N]``, share of salt of each tile.
        path: PNG to write.
    """
    known = np.isfinite(depths)
    figure = Figure(figsize=(9.6, 5.6), layout="constrained")
    if not known.any():
        _say_no_depths(figure)
        save_figure(figure, path)
        return
    depths, coverage = depths[known], coverage[known]
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    salt = coverage > 0
    above.plot(
        depths[salt], 100 * coverage[salt], "o", color=BLUE, markersize=3.5, alpha=0.35,
        markeredgewidth=0, label="a tile with salt",
    )  # fmt: skip
    groups = np.array_split(np.argsort(depths, kind="stable"), min(DEPTH_GROUPS, len(depths)))
    middles = [float(np.median(depths[group])) for group in groups]
    means = [100 * float(coverage[g][salt[g]].mean()) if salt[g].any() else np.nan for g in groups]
    above.plot(
        middles, means, color=VERMILLION, linewidth=2, marker="o", markersize=5,
        markeredgecolor="white", label=f"mean of these, in {len(groups)} groups by depth",
    )  # fmt: skip
    below.plot(
        middles, [100 * float(salt[group].mean()) for group in groups], color=VERMILLION,
        linewidth=2, marker="o", markersize=5, markeredgecolor="white",
    )  # fmt: skip
    for axes, what in ((above, "salt coverage"), (below, "tiles with salt")):
        clean(axes)
        axes.set_ylim(0, 102)
        axes.yaxis.set_major_formatter(PercentFormatter(symbol=" %"))
        axes.set_ylabel(what, fontsize=LABEL_SIZE)
    below.set_xlabel("depth, feet", fontsize=LABEL_SIZE)
    draw_legend(figure, above.get_legend_handles_labels()[0])
    unknown = int((~known).sum())
    rest = f"; {unknown:,} without a depth left out" if unknown else ""
    head(figure, f"Depth and salt of {len(depths):,} training tiles{rest}")
    save_figure(figure, path)


def _say_no_depths(figure: Figure) -> None:
    axes = figure.subplots()
    axes.set_axis_off()
    axes.text(
        0.5, 0.5, "No training tile has a depth:\nthere is no depths.csv, or it names none.",
        transform=axes.transAxes, ha="center", va="center", fontsize=LABEL_SIZE, color=INK,
    )  # fmt: skip
    head(figure, "Depth and salt")


def head(figure: Figure, title: str) -> None:
    """Write what a sheet shows above it."""
    figure.suptitle(title, fontsize=TITLE_SIZE, fontweight="bold", color=INK)
