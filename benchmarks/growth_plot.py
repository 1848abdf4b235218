"""The picture of ``scripts/growth``: time and memory over the size of the competition."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from kaggle_salt.report.curves import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LABEL_SIZE,
    SMALL_SIZE,
    TITLE_SIZE,
    VERMILLION,
    save_figure,
)

#: Of the items in their order; Okabe and Ito's, like the report's.
COLOURS = (VERMILLION, "#E69F00", GREEN, BLUE, "#CC79A7", "#56B4E9")

#: Distance of two labels at least, as a share of the axis.
LABEL_GAP = 0.052

#: What an axis may be marked with.
TIMES = {1e-3: "1 ms", 1e-2: "10 ms", 0.1: "0.1 s", 1: "1 s", 10: "10 s", 100: "100 s"}
SIZES = {10: "10 MB", 30: "30 MB", 100: "100 MB", 300: "300 MB", 1e3: "1 GB", 3e3: "3 GB"}


def draw_growth(report: dict[str, Any], path: Path) -> None:
    """Draw time and peak memory of every item, each line named at its end.

    Args:
        report: What :func:`benchmarks.growth.run` gave.
        path: PNG to write.
    """
    figure = Figure(figsize=(11.2, 4.8), layout="constrained")
    times, memory = figure.subplots(1, 2)
    _draw_times(times, report)
    _draw_memory(memory, report)
    save_figure(figure, path)


def _draw_times(axes: Axes, report: dict[str, Any]) -> None:
    factors, rows = report["factors"], report["items"]
    largest = max(max(row["seconds"]) for row in rows)
    smallest = min(min(row["seconds"]) for row in rows)
    proportional = [0.6 * smallest * factor / factors[0] for factor in factors]
    _draw_reference(axes, factors, proportional)
    for row, colour in zip(rows, COLOURS, strict=True):
        axes.plot(factors, row["seconds"], "o-", color=colour, linewidth=2, markersize=5)
    _finish(axes, report, "time", TIMES, (0.4 * smallest, 2 * largest))
    ends = [row["seconds"][-1] for row in rows]
    names = [f"{row['item']}  $n^{{{row['exponent']:.2f}}}$" for row in rows]
    _name_lines(axes, factors[-1], [*ends, proportional[-1]], [*names, "$n$: proportional"])


def _draw_memory(axes: Axes, report: dict[str, Any]) -> None:
    """Peak memory; to the left of the smallest competition that of the imports alone."""
    factors, rows, pixels = report["factors"], report["items"], report["pixel_mb"]
    alone = factors[0] ** 1.5 / factors[1] ** 0.5
    _draw_reference(axes, factors, pixels)
    for row, colour in zip(rows, COLOURS, strict=True):
        axes.plot(factors, row["peak_mb"], "o-", color=colour, linewidth=2, markersize=5)
        both = [row["imports_mb"], row["peak_mb"][0]]
        axes.plot([alone, factors[0]], both, ":", color=colour, linewidth=1.5)
        axes.plot(alone, both[0], "o", markersize=5, color=colour, markerfacecolor="white")
    seen = [mb for row in rows for mb in (row["imports_mb"], *row["peak_mb"])] + pixels
    _finish(axes, report, "peak memory", SIZES, (min(seen) / 1.3, 1.4 * max(seen)))
    axes.set_xticks([alone, *axes.get_xticks()], ["imports\nalone", *_size_labels(report)])
    ends = [row["peak_mb"][-1] for row in rows]
    names = [f"{row['item']}  {_size(end)}" for row, end in zip(rows, ends, strict=True)]
    pixels_name = f"pixels on disk  {_size(pixels[-1])}"
    _name_lines(axes, factors[-1], [*ends, pixels[-1]], [*names, pixels_name])


def _draw_reference(axes: Axes, factors: Sequence[int], values: Sequence[float]) -> None:
    axes.plot(factors, values, "--", color=GREY, linewidth=1.6)


def _finish(
    axes: Axes,
    report: dict[str, Any],
    title: str,
    marks: dict[float, str],
    limits: tuple[float, float],
) -> None:
    """Scales, marks and title; the labels on the right take the place of a legend."""
    axes.set_title(title, fontsize=TITLE_SIZE, fontweight="bold", color=INK, loc="left")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(limits)
    shown = {value: text for value, text in marks.items() if limits[0] <= value <= limits[1]}
    axes.set_yticks(list(shown), list(shown.values()))
    axes.set_xticks(report["factors"], _size_labels(report))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.set_xlabel("size of the competition, in tiles", fontsize=LABEL_SIZE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL_SIZE, colors=INK)


def _size_labels(report: dict[str, Any]) -> list[str]:
    sizes = zip(report["factors"], report["tiles"], strict=True)
    return [f"{factor}x\n{tiles:,}" for factor, tiles in sizes]


def _name_lines(axes: Axes, x: float, ends: Sequence[float], names: Sequence[str]) -> None:
    """Write each line's name beside its end, pushed up where two would overlap."""
    low, high = np.log(axes.get_ylim())
    place = -np.inf
    colours = [*COLOURS, GREY]
    for end, name, colour in sorted(zip(ends, names, colours, strict=True)):
        place = max(float(np.log(end)), place + LABEL_GAP * (high - low))
        axes.annotate(
            name, (x, np.exp(place)), xytext=(9, 0), textcoords="offset points", va="center",
            fontsize=LABEL_SIZE, color=colour, annotation_clip=False,
        )  # fmt: skip


def _size(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 999.5 else f"{megabytes:.0f} MB"
