"""``scripts/score-minutes``: score against training time, from ``docs/score-minutes.csv``.

Each row of the table is one training, or the same of several folds. It says where it was trained,
for minutes on unequal machines are comparable by order of magnitude at most.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from kaggle_salt.report.drawing import BLUE, GREY, INK, SMALL_SIZE, VERMILLION, clean, save_figure

DOCS = Path(__file__).parents[1] / "docs"

#: Marks of the time axis, in minutes, and what they are called.
TIMES = {
    2: "2 min",
    5: "5",
    15: "15",
    30: "30",
    60: "1 h",
    180: "3 h",
    1000: "17 h",
    23000: "16 days",
}

#: What predicting no salt anywhere scores on the training tiles.
NOTHING = 0.3875


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the table."""
    parser = argparse.ArgumentParser(prog="scripts/score-minutes", description=__doc__)
    parser.add_argument("--table", type=Path, default=DOCS / "score-minutes.csv")
    parser.add_argument("--plot", type=Path, default=DOCS / "score-minutes.png")
    options = parser.parse_args(arguments)
    draw(pd.read_csv(options.table), options.plot)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Write the picture.

    Args:
        table: Columns ``what``, ``series`` (rows of one are joined by a line; ``winners`` are
            others' reports), ``minutes`` of training a fold, ``score`` in [0, 1] and its interval
            ``low`` to ``high`` where there is one.
        path: Of the PNG.
    """
    figure = Figure(figsize=(10.5, 4.8), layout="constrained")
    axes = figure.subplots()
    clean(axes)
    for series, rows in table.groupby("series", sort=False):
        _draw_series(axes, str(series), rows.sort_values("minutes"))
    axes.set(xscale="log", xlim=(0.85, 40_000), ylim=(0.65, 0.9))
    axes.xaxis.set_major_locator(FixedLocator(list(TIMES)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda minutes, _: TIMES[round(minutes)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("training time of a fold (one CPU core; the winners: their GPUs)", color=INK)
    axes.set_ylabel(f"score out of fold (no salt anywhere: {NOTHING:.3f})", color=INK)
    axes.legend(loc="lower right", frameon=False, fontsize=SMALL_SIZE)
    save_figure(figure, path)


def _draw_series(axes: Axes, series: str, rows: pd.DataFrame) -> None:
    theirs = series == "winners"
    colour = GREY if theirs else {"fold 0": BLUE}.get(series, VERMILLION)
    spread = [(rows.score - rows.low).fillna(0), (rows.high - rows.score).fillna(0)]
    axes.errorbar(
        rows.minutes, rows.score, yerr=spread, fmt="D" if theirs else "o-", color=colour,
        capsize=2, linewidth=1.8, markersize=6, label=series,
    )  # fmt: skip
    below = series != "fold 0"  # whose line goes up: there is room above it
    for row in rows.itertuples():
        axes.annotate(
            f"{row.what}\n{row.score:.3f}",
            (row.minutes, row.score),
            (5 if series == "five folds" else -5, -4 if below else 4),
            textcoords="offset points",
            ha="left" if series == "five folds" else "right",
            va="top" if below else "bottom",
            fontsize=SMALL_SIZE,
            color=colour,
        )


if __name__ == "__main__":
    main()
