"""``scripts/growth``: what happens to time and memory when a competition grows.

Some of the benchmarks' items are measured at the competition's size and at multiples of it, each
in a process of its own. Time should grow as the tiles do, and memory not at all where tiles are
mapped from files.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import masks, tiles
from benchmarks.alone import Finished, measure_alone
from benchmarks.growth_plot import draw_growth
from benchmarks.harness import FULL, Setting, Size
from benchmarks.machine import describe_machine, machine_lines
from benchmarks.table import aligned

#: What is followed, in the order of the table. The first leaves the cache that the others open.
ITEMS = (tiles.open_first, tiles.open_again, masks.decision, masks.submission)

FACTORS = (1, 4, 16)

#: What a factor of 1 means.
ONCE = replace(FULL, patience=3)


def main(arguments: Sequence[str] | None = None, *, size: Size = ONCE) -> int:
    """Measure all items at all multiples of the size."""
    options = _parse(arguments)
    report = run(options.factors, size)
    print("\n".join([*machine_lines(report["machine"]), "", *table_lines(report), ""]))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2), encoding="utf-8")
    if options.plot:
        draw_growth(report, options.plot)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/growth",
        description="Time and memory at multiples of the competition's size, synthetic tiles. "
        "Threads: OMP_NUM_THREADS, all cores by default. Works where TMPDIR says, "
        "and leaves nothing there.",
    )
    parser.add_argument(
        "--factors", type=_factors, default=FACTORS, metavar="N,...",
        help="multiples of the competition's size, ascending (1,4,16)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw them there")
    return parser.parse_args(arguments)


def _factors(text: str) -> tuple[int, ...]:
    factors = [int(word) if word.isdecimal() else 0 for word in text.split(",")]
    if len(factors) < 2 or factors[0] < 1 or factors != sorted(set(factors)):
        raise argparse.ArgumentTypeError(f"'{text}' is not two whole numbers or more, ascending")
    return tuple(factors)


def run(factors: Sequence[int], size: Size) -> dict[str, Any]:
    """Machine and figures, JSON values; lists are in the order of the factors, which ascends."""
    machine = describe_machine()
    imports = [measure_alone(item).peak_memory / 1e6 for item in ITEMS]
    measured: list[list[Finished]] = []  # a list for each factor
    for factor in factors:
        with tempfile.TemporaryDirectory(prefix="salt-growth-") as folder:
            print(f"{factor}x: writing the tiles", file=sys.stderr)
            train, test = factor * size.train_tiles, factor * size.test_tiles
            setting = Setting(replace(size, train_tiles=train, test_tiles=test), Path(folder))
            setting.predicted("train"), setting.predicted("test")
            measured.append([])
            for item in ITEMS:
                print(f"{factor}x: {item.name}", file=sys.stderr)
                measured[-1].append(measure_alone(item, setting))
    rows = []
    for item, imported, finished in zip(ITEMS, imports, zip(*measured, strict=True), strict=True):
        seconds = [float(one.printed) for one in finished]
        peaks = [one.peak_memory / 1e6 for one in finished]
        row = {"item": item.name, "seconds": seconds, "exponent": exponent(factors, seconds)}
        rows.append({**row, "imports_mb": imported, "peak_mb": peaks})
    pixels = (2 * size.train_tiles + size.test_tiles) * size.tile_side**2
    return {
        "machine": machine,
        "factors": list(factors),
        "tiles": [factor * (size.train_tiles + size.test_tiles) for factor in factors],
        "pixel_mb": [factor * pixels / 1e6 for factor in factors],
        "items": rows,
    }


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The p of ``seconds = c · sizes^p`` that fits best, in logarithms: 1 is linear."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def table_lines(report: dict[str, Any]) -> list[str]:
    """The figures as a Markdown table: seconds, exponent, and memory in MB."""
    times = [f"{factor}x" for factor in report["factors"]]
    header = ["item", *(f"{t}, s" for t in times), "exponent", "imports, MB"]
    cells = [[*header, *(f"{t}, MB" for t in times)]]
    for row in report["items"]:
        figures = [*(f"{s:.3g}" for s in row["seconds"]), f"{row['exponent']:.2f}"]
        memory = [row["imports_mb"], *row["peak_mb"]]
        cells.append([row["item"], *figures, *(f"{mb:.0f}" for mb in memory)])
    return aligned(cells)


if __name__ == "__main__":
    sys.exit(main())
