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


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], texts: Sequence[str] = ()
) -> None:
    """Print a table to stdout; ``texts`` are columns of words, which are left-aligned."""
    from rich.console import Console

    from kaggle_salt.cli.console import results_table

    width = None if sys.stdout.isatty() else 120
    Console(width=width, highlight=False).print(results_table(columns, rows, texts))
