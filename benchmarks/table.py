"""The figures as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

HEADER = ("item", "ours", "peer", "ratio", "aim", "met", "equal")


def table_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The figures as a Markdown table, its columns aligned."""
    cells = [HEADER, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def note_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What each item measures, and what else there is to say of its figure."""
    return [
        f"- {row['item']}: {row['what']}" + (f" ({row['note']})" if row["note"] else "")
        for row in rows
    ]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    has_peer = row["peer"] is not None
    ours = f"{_figure(row['ours'])} {row['unit']}"
    peer = f"{_figure(row['peer'])} {row['unit']} ({row['peer_name']})" if has_peer else "-"
    ratio = _ratio(row["ratio"], row["spread"]) if has_peer else "-"
    aim = "-"
    if row["target"] is not None:
        aim = f"≥ {row['target']:g}" if has_peer else f"< {row['target']:g} {row['unit']}"
    return row["item"], ours, peer, ratio, aim, _said(row["met"]), _said(row["equal"])


def _figure(value: float) -> str:
    """Three digits, and all before the point."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def _ratio(value: float, spread: float | None) -> str:
    """Three digits, and the spread to the last of them."""
    decimals = max(0, 2 - math.floor(math.log10(value)))
    told = f"{value:,.{decimals}f}"
    return told if spread is None else f"{told} ± {spread:,.{decimals}f}"


def _said(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "-"}[value]
