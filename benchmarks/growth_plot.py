"""The picture of ``scripts/growth``: time and memory over the size of the competition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator

from kaggle_salt.report.drawing import BLUE, GREY, INK, VERMILLION, save_figure

#: Of the items in their order; Okabe and Ito's, like the report's.
COLOURS = (VERMILLION, "#E69F00", BLUE, "#CC79A7")


def draw_growth(report: Mapping[str, Any], path: Path) -> None:
    """Write a PNG of every item's time and peak memory; what they are like is dashed.

    Args:
        report: What :func:`benchmarks.growth.run` gave.
        path: Where.
    """
    figure = Figure(figsize=(11.2, 4.8), layout="constrained")
    times, memory = figure.subplots(1, 2)
    factors, rows = report["factors"], report["items"]
    sizes = [f"{n}x\n{tiles:,}" for n, tiles in zip(factors, report["tiles"], strict=True)]
    least = 0.6 * min(row["seconds"][0] for row in rows)
    proportional = [least * factor / factors[0] for factor in factors]
    _dash(times, factors, proportional, "proportional ($n$)")
    _dash(memory, factors, [1e6 * mb for mb in report["pixel_mb"]], "pixels on disk")
    alone = factors[0] ** 1.5 / factors[1] ** 0.5  # where the imports' memory is drawn
    for row, colour in zip(rows, COLOURS, strict=True):
        style = {"color": colour, "linewidth": 2, "markersize": 5}
        power = f"{row['item']} ($n^{{{row['exponent']:.2f}}}$)"
        times.plot(factors, row["seconds"], "o-", label=power, **style)
        peaks = [1e6 * mb for mb in (row["imports_mb"], *row["peak_mb"])]
        largest = f"{row['item']} ({row['peak_mb'][-1]:,.0f} MB)"
        memory.plot([alone, *factors], peaks, "o-", label=largest, **style)
    _finish(times, "time", "s", factors, sizes)
    _finish(memory, "peak memory", "B", [alone, *factors], ["imports\nalone", *sizes])
    save_figure(figure, path)


def _dash(axes: Axes, factors: Sequence[int], values: Sequence[float], name: str) -> None:
    axes.plot(factors, values, "--", color=GREY, linewidth=1.6, label=name)


def _finish(
    axes: Axes, title: str, unit: str, places: Sequence[float], names: Sequence[str]
) -> None:
    axes.set_title(title, fontweight="bold", color=INK, loc="left")
    axes.set(xscale="log", yscale="log", xlabel="size of the competition, in tiles")
    axes.set_xticks(places, names)
    axes.yaxis.set_major_formatter(EngFormatter(unit))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.7)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
