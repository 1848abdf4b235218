"""The figures as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

HEADER = ("item", "ours", "peer", "ratio", "aim", "met")


def table_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The figures as a Markdown table, its columns aligned."""
    return aligned([HEADER, *(_cells(row) for row in rows)])


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; the first row of cells is its header."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
        for row in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    alone = row["peer"] is None
    ours = f"{_figure(row['ours'])} {row['unit']}"
    peer = "-" if alone else f"{_figure(row['peer'])} {row['unit']} ({row['peer_name']})"
    ratio = "-" if alone else _ratio(row["ratio"], row["spread"])
    aim = "-"
    if row["aim"] is not None:
        aim = f"< {row['aim']:g} {row['unit']}" if alone else f"≥ {row['aim']:g}"
    return row["item"], ours, peer, ratio, aim, {True: "yes", False: "no", None: "-"}[row["met"]]


def _figure(value: float) -> str:
    """Three digits, and all before the point."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def _ratio(value: float, spread: float) -> str:
    """Three digits, and the spread to the last of them."""
    decimals = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{decimals}f} ± {spread:,.{decimals}f}"
