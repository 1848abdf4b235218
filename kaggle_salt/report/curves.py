"""Pictures of a run: its learning curve, its score against the threshold, its rates."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from kaggle_salt.errors import DataError
from kaggle_salt.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LABEL_SIZE,
    SKY,
    SMALL_SIZE,
    TITLE_SIZE,
    VERMILLION,
    clean,
    draw_legend,
    save_figure,
)

ZOOM = 0.2  # half-width of the close-up around the chosen threshold

#: What a history must say of every epoch to be drawn.
HISTORY_COLUMNS = ("stage", "epoch", "lr", "train_loss", "val_loss", "score")


def learning_curve(history: pd.DataFrame, path: Path, *, title: str) -> None:
    """Write the picture of :func:`learning_figure`."""
    save_figure(learning_figure(history, title=title), path)


def learning_figure(history: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw score, accuracy, IoU, losses and learning rate of one fold, epoch by epoch.

    Losses are not joined across stages, for each stage may have a loss of its own. Rows with a
    missing value leave a gap in that line only.

    Args:
        history: One row per epoch with the columns ``stage`` (name), ``epoch`` (1-based),
            ``lr``, ``train_loss``, ``val_loss`` and ``score`` (0 to 1); ``accuracy`` and ``iou``
            (0 to 1) are drawn if they are there, others are ignored.
        title: Heading of the picture.

    Raises:
        DataError: A column is missing or there is no epoch.
    """
    _require(history, HISTORY_COLUMNS)
    figure = Figure(figsize=(9.6, 6.4), layout="constrained")
    score_axes, loss_axes = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    figure.suptitle(title, fontsize=TITLE_SIZE, fontweight="bold", color=INK)
    for axes in (score_axes, loss_axes):
        clean(axes)
        _shade_stages(axes, history)
    _draw_score(score_axes, history)
    _name_stages(score_axes, history)
    rate_axes = _draw_losses(loss_axes, history)
    lines = [axes.get_legend_handles_labels()[0] for axes in (score_axes, loss_axes, rate_axes)]
    draw_legend(figure, [line for some in lines for line in some])
    loss_axes.set_xlabel("epoch", fontsize=LABEL_SIZE)
    loss_axes.set_xlim(history["epoch"].min() - 0.5, history["epoch"].max() + 0.5)
    loss_axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def threshold_curve(
    curve: pd.DataFrame,
    path: Path,
    *,
    chosen_threshold: float,
    chosen_score: float,
    interval: tuple[float, float],
    title: str,
) -> None:
    """Write the picture of :func:`threshold_figure`."""
    figure = threshold_figure(
        curve, chosen_threshold=chosen_threshold, chosen_score=chosen_score, interval=interval,
        title=title,
    )  # fmt: skip
    save_figure(figure, path)


def threshold_figure(
    curve: pd.DataFrame,
    *,
    chosen_threshold: float,
    chosen_score: float,
    interval: tuple[float, float],
    title: str = "",
) -> Figure:
    """Draw the score at every threshold: the whole range, and a close-up of the optimum.

    Args:
        curve: Columns ``threshold`` (0 to 1, ascending) and ``score`` (0 to 1).
        chosen_threshold: Probability above which a pixel is salt, 0 to 1.
        chosen_score: Score there, 0 to 1.
        interval: Lower and upper end of the confidence interval of ``chosen_score``.
        title: Heading of the picture.

    Raises:
        DataError: A column is missing or there is no row.
    """
    _require(curve, ("threshold", "score"))
    figure = Figure(figsize=(9.6, 4.4), layout="constrained")
    whole, closeup = figure.subplots(1, 2, width_ratios=(3, 2))
    figure.suptitle(title, fontsize=TITLE_SIZE, fontweight="bold", color=INK)
    for axes in (whole, closeup):
        clean(axes)
        axes.axhspan(*interval, color=BLUE, alpha=0.13, linewidth=0, label="95 % interval")
        axes.axvline(0.5, color=GREY, linestyle=(0, (4, 3)), linewidth=1.3, label="threshold 0.5")
        axes.plot(curve["threshold"], curve["score"], color=BLUE, linewidth=2, label="score")
        axes.plot(
            chosen_threshold, chosen_score, "o", color=VERMILLION, markersize=8,
            markeredgecolor="white", label=f"chosen {chosen_threshold:.3f}: {chosen_score:.4f}",
        )  # fmt: skip
        axes.set_xlabel("threshold", fontsize=LABEL_SIZE)
    whole.set_xlim(0, 1)
    whole.set_ylabel("mean score", fontsize=LABEL_SIZE)
    draw_legend(figure, whole.get_legend_handles_labels()[0])
    closeup.set_title("close-up", fontsize=LABEL_SIZE, color=INK)
    _zoom(closeup, curve, chosen_threshold, (*interval, chosen_score))
    return figure


def rate_curve(
    curve: pd.DataFrame, path: Path, *, steepest: float, tenth_of_lowest: float, title: str
) -> None:
    """Draw the loss of a learning-rate sweep against the rate, and the two rates to choose from.

    The picture is cut off above the loss before the descent, for a training that diverges would
    flatten it.

    Args:
        curve: One row per step with the columns ``lr`` (ascending), ``loss`` and ``smoothed``.
        path: PNG to write.
        steepest: Rate where the smoothed loss falls fastest.
        tenth_of_lowest: A tenth of the rate of the lowest smoothed loss.
        title: Heading of the picture.

    Raises:
        DataError: A column is missing or there is no row.
    """
    _require(curve, ("lr", "loss", "smoothed"))
    figure = Figure(figsize=(9.6, 4.8), layout="constrained")
    axes = figure.subplots()
    figure.suptitle(title, fontsize=TITLE_SIZE, fontweight="bold", color=INK)
    clean(axes)
    rates, smoothed = curve["lr"], curve["smoothed"].to_numpy()
    axes.plot(rates, curve["loss"], color=GREY, linewidth=1, alpha=0.6, label="loss of a batch")
    axes.plot(rates, smoothed, color=BLUE, linewidth=2, label="smoothed")
    for rate, colour, dashes, name in (
        (steepest, VERMILLION, "-", "steepest descent"),
        (tenth_of_lowest, GREEN, (0, (4, 3)), "a tenth of the lowest"),
    ):
        axes.axvline(
            rate, color=colour, linestyle=dashes, linewidth=1.6, label=f"{name}: {rate:.2g}"
        )
    highest, bottom = smoothed[: smoothed.argmin() + 1].max(), curve["loss"].min()
    margin = 0.1 * max(highest - bottom, 1e-3)
    axes.set_ylim(bottom - margin, highest + 2 * margin)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate", fontsize=LABEL_SIZE)
    axes.set_ylabel("training loss", fontsize=LABEL_SIZE)
    draw_legend(figure, axes.get_legend_handles_labels()[0])
    save_figure(figure, path)


def _require(table: pd.DataFrame, columns: Iterable[str]) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(
            f"no column {', '.join(missing)} to draw",
            expected=f"the columns {', '.join(columns)}",
        )
    if table.empty:
        raise DataError("there is no row to draw", expected="one row at least")


def _stages(history: pd.DataFrame) -> list[tuple[str, float, float]]:
    """Name, first and last epoch of each unbroken run of one stage."""
    run = (history["stage"] != history["stage"].shift()).cumsum()
    return [
        (str(rows["stage"].iloc[0]), float(rows["epoch"].min()), float(rows["epoch"].max()))
        for _, rows in history.groupby(run)
    ]


def _shade_stages(axes: Axes, history: pd.DataFrame) -> None:
    for index, (_, first, last) in enumerate(_stages(history)):
        if index % 2:
            axes.axvspan(first - 0.5, last + 0.5, color="#F1F1EC", linewidth=0, zorder=0)
        if index:
            axes.axvline(first - 0.5, color=GREY, linewidth=0.8)


def _name_stages(axes: Axes, history: pd.DataFrame) -> None:
    for name, first, last in _stages(history):
        axes.text(
            (first + last) / 2, 1.02, name, transform=axes.get_xaxis_transform(),
            ha="center", va="bottom", fontsize=LABEL_SIZE, color=INK,
        )  # fmt: skip


def _draw_score(axes: Axes, history: pd.DataFrame) -> None:
    """The validation score, with its best and its last value written beside it.

    Pixel accuracy and IoU are thin lines behind it: they say what changes where the score stalls.
    """
    epochs, scores = history["epoch"].to_numpy(), history["score"].to_numpy(dtype=float)
    for column, name, dashes in (("accuracy", "accuracy", ":"), ("iou", "IoU", "--")):
        if column in history and history[column].notna().any():
            axes.plot(
                epochs, history[column], color=SKY, linewidth=1.5, linestyle=dashes, label=name,
            )  # fmt: skip
    axes.plot(epochs, scores, color=BLUE, linewidth=2, marker="o", markersize=3)
    axes.set_ylabel("validation score", fontsize=LABEL_SIZE)
    known = np.flatnonzero(np.isfinite(scores))
    if not len(known):
        return
    best, last = known[np.argmax(scores[known])], known[-1]
    side: Literal["left", "right"] = (
        "right" if best > len(scores) / 2 else "left"
    )  # of the text that touches the point
    axes.margins(y=0.2)
    if last != best:
        _annotate(axes, epochs[last], scores[last], f"last {scores[last]:.4f}", INK, -16, "right")
    name = "best" if last != best else "best and last"
    _annotate(axes, epochs[best], scores[best], f"{name} {scores[best]:.4f}", VERMILLION, 10, side)


def _annotate(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    colour: str,
    lift: int,
    side: Literal["left", "right"],
) -> None:
    """Mark a point and write ``lift`` points above it, with the text's ``side`` at the point."""
    axes.plot(x, y, "o", color=colour, markersize=7, markeredgecolor="white", zorder=3)
    axes.annotate(
        text, (x, y), xytext=(0, lift), textcoords="offset points", ha=side,
        fontsize=LABEL_SIZE, fontweight="bold", color=colour,
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )  # fmt: skip


def _draw_losses(axes: Axes, history: pd.DataFrame) -> Axes:
    """Both losses, and the learning rate on a second axis, which is returned."""
    for index, (_, first, last) in enumerate(_stages(history)):
        rows = history[history["epoch"].between(first, last)]
        hidden = "_" if index else ""  # one entry in the legend is enough
        axes.plot(
            rows["epoch"], rows["train_loss"], color=GREEN, linewidth=1.8, marker="o",
            markersize=2.5, label=f"{hidden}training loss",
        )  # fmt: skip
        axes.plot(
            rows["epoch"], rows["val_loss"], color=VERMILLION, linewidth=1.8, marker="s",
            markersize=2.5, linestyle=(0, (5, 2)), label=f"{hidden}validation loss",
        )  # fmt: skip
    axes.set_ylabel("loss", fontsize=LABEL_SIZE)
    rate_axes = axes.twinx()
    rate_axes.plot(
        history["epoch"], history["lr"], color=GREY, linewidth=1, marker=".", markersize=2,
        drawstyle="steps-mid", label="learning rate",
    )  # fmt: skip
    rate_axes.set_yscale("log")
    rate_axes.set_ylabel("learning rate", fontsize=LABEL_SIZE, color="#666666")
    rate_axes.tick_params(labelsize=SMALL_SIZE, colors="#666666")
    rate_axes.spines["top"].set_visible(False)
    return rate_axes


# Threshold curve


def _zoom(axes: Axes, curve: pd.DataFrame, centre: float, heights: Iterable[float]) -> None:
    """Show the curve around ``centre``, with threshold .5 and every one of ``heights``."""
    left, right = min(centre - ZOOM, 0.48), max(centre + ZOOM, 0.52)
    near = curve.loc[curve["threshold"].between(left, right), "score"]
    # Not the whole fall of a steep curve, which would flatten the plateau again.
    highest = max(*heights, near.max())
    lowest = min(heights)
    margin = 0.35 * max(highest - lowest, 1e-3)
    axes.set_xlim(max(left, 0), min(right, 1))
    axes.set_ylim(lowest - margin, highest + margin)
