"""``python -m benchmarks``: run the items, print a table, write JSON."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import commands, loops, lovasz, masks, tiles
from benchmarks.items import FULL, QUICK, Item, Measurement, Setting, Size
from benchmarks.machine import describe_machine, machine_lines, peer_line, peer_versions
from kaggle_salt.errors import ConfigError, SaltError, nearest
from kaggle_salt.runs import write_json

#: Every item, in the order of the table.
ITEMS = (
    tiles.open_first,
    tiles.open_again,
    tiles.folds,
    tiles.epoch,
    tiles.augment,
    masks.decision,
    masks.decision_kernel,
    masks.decision_numpy,
    masks.decision_smp,
    masks.decision_torchmetrics,
    masks.weights,
    masks.rle,
    masks.rle_numpy,
    masks.rle_pycocotools,
    masks.rle_rlemasklib,
    masks.submission,
    commands.help_text,
    commands.ensemble_memory,
    lovasz.lovasz,
    lovasz.lovasz_symmetric,
    loops.train_resnet34,
    loops.train_quick_half,
    loops.train_quick,
    loops.flip_tta,
)

HEADER = ("item", "ours", "peer", "ratio", "aim", "met", "equal")


def main(arguments: Sequence[str] | None = None, *, size: Size | None = None) -> int:
    """Run the items that are asked for.

    Args:
        arguments: The command line's, without the program's name.
        size: How much to work on, in place of what the arguments say.

    Returns:
        The exit code: 0 even where a target is missed.
    """
    options = _parse(arguments)
    try:
        report = run(
            _chosen(options.only), size or (QUICK if options.quick else FULL), options.data
        )
    except SaltError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join([*machine_lines(report["machine"]), peer_line(report["peers"])]))
    print("\n".join([_scope(report), "", *table_lines(report["items"])]))
    print("\n".join(["", *(f"- {row['item']}: {row['what']}" for row in report["items"])]))
    if options.json:
        write_json(options.json, report)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure speed and memory, beside what people use instead. "
        "Threads: OMP_NUM_THREADS, all cores by default.",
        epilog="items: " + ", ".join(item.name for item in ITEMS),
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, rough figures")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="Kaggle's files, not synthetic")
    parser.add_argument("--only", default="", metavar="NAME,...", help="these items only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    return parser.parse_args(arguments)


def _chosen(only: str) -> list[Item]:
    by_name = {item.name: item for item in ITEMS}
    names = [name.strip() for name in only.split(",") if name.strip()] or list(by_name)
    for name in names:
        if name not in by_name:
            raise ConfigError(f"there is no item '{name}'", expected=nearest(name, by_name))
    return [by_name[name] for name in names]


def run(items: Sequence[Item], size: Size, data: Path | None = None) -> dict[str, Any]:
    """Take the figures, one after the other.

    Returns:
        Machine and figures, JSON values.
    """
    machine = describe_machine()
    rows = []
    with tempfile.TemporaryDirectory(prefix="salt-bench-") as folder:
        setting = Setting(size, Path(folder), data)
        for number, item in enumerate(items, start=1):
            print(f"{number}/{len(items)} {item.name}", file=sys.stderr)
            rows.append(_row(item, item.measure(setting), size))
    return {
        "machine": machine,
        "peers": peer_versions(),
        "full_size": size == FULL,
        "tiles": "synthetic" if data is None else "the competition's",
        "items": rows,
    }


def _scope(report: dict[str, Any]) -> str:
    size = "full size" if report["full_size"] else "not the full size that the table names: rough"
    return f"{report['tiles']} tiles; {size}"


def _row(item: Item, measured: Measurement, size: Size) -> dict[str, Any]:
    return {
        "item": item.name,
        "unit": item.unit,
        "ours": measured.ours,
        "peer": measured.peer,
        "peer_name": item.peer,
        "ratio": measured.ratio,
        "target": item.target and item.target.limit,
        "met": item.meets_target(measured, size),
        "equal": measured.equal,
        "what": item.what,
        "details": dict(measured.details),
    }


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


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    has_peer = row["peer"] is not None
    ours = f"{_figure(row['ours'])} {row['unit']}"
    peer = f"{_figure(row['peer'])} {row['unit']} ({row['peer_name']})" if has_peer else "-"
    ratio = _figure(row["ratio"]) if has_peer else "-"
    aim = "-"
    if row["target"] is not None:
        aim = f"≥ {row['target']:g}" if has_peer else f"< {row['target']:g} {row['unit']}"
    return row["item"], ours, peer, ratio, aim, _said(row["met"]), _said(row["equal"])


def _figure(value: float) -> str:
    """Three digits, and all before the point."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def _said(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "-"}[value]


if __name__ == "__main__":
    sys.exit(main())
