"""Results on stdout: one JSON document, or a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import typer


def emit(document: Any) -> None:
    """Print one JSON document to stdout."""
    typer.echo(json.dumps(document, indent=2, default=str))


def interval_text(interval: tuple[float, float]) -> str:
    """An interval as the tables show it."""
    return f"[{interval[0]:.4f}, {interval[1]:.4f}]"


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    texts: Sequence[str] = (),
    least: Sequence[str] = (),
) -> None:
    """Print a table to stdout, whole at any width; see :func:`results_table`.

    On a terminal it is as wide as that; elsewhere nothing is wrapped or left out, unless the
    environment sets ``COLUMNS``.
    """
    from rich.console import Console

    from kaggle_salt.cli.tables import UNLIMITED, results_table

    console = Console(highlight=False)
    if not sys.stdout.isatty() and "COLUMNS" not in console._environ:
        console = Console(width=UNLIMITED, highlight=False)
    console.print(results_table(columns, rows, texts, least, width=console.width))
