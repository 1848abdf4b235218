"""Figures that only a report has: all folds' epochs, the map of minimum areas, calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from kaggle_salt.competition.decision import LEVELS, Rule
from kaggle_salt.ensembling.calibration import Calibration
from kaggle_salt.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LABEL_SIZE,
    SKY,
    SMALL_SIZE,
    VERMILLION,
    clean,
    draw_legend,
)
from kaggle_salt.report.facts import AreaMap, FoldFacts

#: Of folds, in their order; then they begin again, dashed.
COLOURS = (BLUE, VERMILLION, GREEN, "#CC79A7", "#E69F00", SKY, GREY)

#: Scores this far below the best one are all drawn alike on the map.
MAP_DEPTH = 0.06


def epochs_figure(folds: Sequence[FoldFacts]) -> Figure:
    """Draw validation score and learning rate of several folds, epoch by epoch.

    Args:
        folds: Each with a history.
    """
    figure = Figure(figsize=(9.6, 5), layout="constrained")
    scores, rates = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    several = len({one.run for one in folds}) > 1
    for number, one in enumerate(folds):
        assert one.history is not None
        name = f"{one.run}, fold {one.fold}" if several else f"fold {one.fold}"
        style = {
            "color": COLOURS[number % len(COLOURS)],
            "linestyle": "-" if number < len(COLOURS) else (0, (4, 2)),
        }
        epochs = one.history["epoch"]
        scores.plot(epochs, one.history["score"], linewidth=1.8, label=name, **style)
        rates.plot(epochs, one.history["lr"], linewidth=1.3, **style)
    for axes, what in ((scores, "validation score"), (rates, "learning rate")):
        clean(axes)
        axes.set_ylabel(what, fontsize=LABEL_SIZE)
    rates.set_yscale("log")
    rates.set_xlabel("epoch", fontsize=LABEL_SIZE)
    rates.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if len(folds) <= 10:
        draw_legend(figure, scores.get_legend_handles_labels()[0])
    return figure


def area_figure(areas: AreaMap, rule: Rule) -> Figure:
    """Draw the score of every threshold with every minimum area, and the rule that was chosen.

    Args:
        areas: The scores; the rule's minimum area is among the areas.
        rule: What was chosen.
    """
    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    axes = figure.subplots()
    best = float(areas.scores.max())
    image = axes.imshow(
        areas.scores, aspect="auto", origin="lower", cmap="cividis", interpolation="nearest",
        vmin=max(best - MAP_DEPTH, float(areas.scores.min())), vmax=best,
        extent=(0, (LEVELS - 1) / (LEVELS - 1), -0.5, len(areas.areas) - 0.5),
    )  # fmt: skip
    place = list(areas.areas).index(rule.min_area)
    axes.plot(
        rule.threshold, place, "o", color=VERMILLION, markersize=9, markeredgecolor="#FFFFFF",
        markeredgewidth=1.6, label=f"chosen: {rule.threshold:.3f}, {rule.min_area} px",
    )  # fmt: skip
    shown = np.unique(np.rint(np.linspace(0, len(areas.areas) - 1, 9)).astype(int)).tolist()
    axes.set_yticks(shown, [f"{areas.areas[number]:,}" for number in shown])
    axes.set_xlabel("threshold", fontsize=LABEL_SIZE)
    axes.set_ylabel("minimum area, pixels", fontsize=LABEL_SIZE)
    axes.spines[:].set_visible(False)
    axes.tick_params(labelsize=SMALL_SIZE, colors=INK)
    bar = figure.colorbar(image, ax=axes, extend="min", pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL_SIZE, colors=INK)
    bar.set_label("mean score", fontsize=LABEL_SIZE)
    draw_legend(figure, axes.get_legend_handles_labels()[0])
    return figure


def calibration_figure(calibration: Calibration) -> Figure:
    """Draw observed against stated shares of salt, and how many pixels state them."""
    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    curve, counts = figure.subplots(1, 2, width_ratios=(1, 1))
    table = calibration.table
    curve.plot([0, 1], [0, 1], color=GREY, linestyle=(0, (4, 3)), linewidth=1.3, label="perfect")
    curve.plot(
        table["probability"], table["salt"], color=BLUE, linewidth=2, marker="o", markersize=5,
        label="out of fold",
    )  # fmt: skip
    curve.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    curve.set_ylabel("share that is salt", fontsize=LABEL_SIZE)
    counts.bar(
        table["probability"], 100 * table["pixels"] / table["pixels"].sum(), width=0.045, color=BLUE
    )
    counts.set_yscale("log")
    counts.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    counts.yaxis.set_minor_locator(NullLocator())
    counts.yaxis.set_major_formatter("{x:g}")  # 20, not 2 x 10^1
    counts.set_ylabel("% of all pixels", fontsize=LABEL_SIZE)
    for axes in (curve, counts):
        clean(axes)
        axes.set_xlabel("stated probability", fontsize=LABEL_SIZE)
    draw_legend(figure, curve.get_legend_handles_labels()[0])
    return figure
