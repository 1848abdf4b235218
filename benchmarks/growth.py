"""``scripts/growth``: what happens to time and memory when a competition grows.

The same work is done on the competition's size and on multiples of it. Time should grow as the
tiles do, and memory not at all where tiles are mapped from files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.growth_plot import draw_growth
from benchmarks.growth_work import PIECES, Piece
from benchmarks.items import FULL, Size
from benchmarks.machine import describe_machine, machine_lines
from benchmarks.material import DRAWN, likely_probabilities, write_competition
from benchmarks.memory import Finished, run_measured
from kaggle_salt.competition.archive import read_table
from kaggle_salt.competition.rle import decode
from kaggle_salt.files import write_json
from kaggle_salt.predictions import create, release

FACTORS = (1, 4, 16)


def main(arguments: Sequence[str] | None = None, *, size: Size = FULL) -> int:
    """Measure all pieces of work at all sizes.

    Args:
        arguments: The command line's, without the program's name.
        size: What a factor of 1 means.

    Returns:
        The exit code.
    """
    options = _parse(arguments)
    report = run(options.factors, size)
    print("\n".join([*machine_lines(report["machine"]), "", *table_lines(report), ""]))
    print("\n".join(f"- {row['item']}: {row['what']}" for row in report["items"]))
    if options.json:
        write_json(options.json, report)
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
    """Take the figures, one after the other.

    Args:
        factors: Multiples of ``size``, two at least, ascending.
        size: What a factor of 1 means.

    Returns:
        Machine and figures, JSON values; lists are in the order of the factors.
    """
    machine = describe_machine()
    imports = {piece.name: measure(piece.name).peak_memory for piece in PIECES}
    measured: dict[str, list[Finished]] = {piece.name: [] for piece in PIECES}
    for factor in factors:
        with tempfile.TemporaryDirectory(prefix="salt-growth-") as name:
            print(f"{factor}x: writing the tiles", file=sys.stderr)
            write_material(Path(name), size, factor)
            for piece in PIECES:
                print(f"{factor}x: {piece.name}", file=sys.stderr)
                measured[piece.name].append(measure(piece.name, Path(name)))
    return {
        "machine": machine,
        "full_size": size == FULL,
        "factors": list(factors),
        "tiles": [factor * (size.train_tiles + size.test_tiles) for factor in factors],
        "pixel_mb": [
            factor * (2 * size.train_tiles + size.test_tiles) * size.tile_side**2 / 1e6
            for factor in factors
        ],
        "items": [
            _row(piece, factors, size, measured[piece.name], imports[piece.name])
            for piece in PIECES
        ],
    }


def write_material(folder: Path, size: Size, factor: int) -> None:
    """Write a competition, and predictions of its tiles as ``train`` and ``test``."""
    competition, side = folder / "competition", size.tile_side
    write_competition(competition, factor * size.train_tiles, factor * size.test_tiles, side)
    training = read_table(competition / "train.csv", ["id", "rle_mask"])
    masks = [decode(text, (side, side)) for text in training["rle_mask"][:DRAWN]]
    maps = likely_probabilities(np.stack(masks))
    test = read_table(competition / "sample_submission.csv", ["id"])
    _write_repeated(folder / "train", training["id"].tolist(), maps)
    _write_repeated(folder / "test", test["id"].tolist(), maps)


def _write_repeated(stem: Path, ids: Sequence[str], maps: NDArray[np.uint8]) -> None:
    """Write predictions that are the same few maps again and again, as the tiles are."""
    with create(stem, ids, maps.shape[1:], {}) as out:
        for start in range(0, len(out), len(maps)):
            out[start : start + len(maps)] = maps[: len(out) - start]
            release(out)


def measure(name: str, folder: Path | None = None) -> Finished:
    """Do a piece of work in a process of its own; without a folder only import for it."""
    command = [sys.executable, "-m", "benchmarks.growth_work", name]
    return run_measured(command if folder is None else [*command, str(folder)])


def _row(
    piece: Piece, factors: Sequence[int], size: Size, measured: Sequence[Finished], imports: int
) -> dict[str, Any]:
    splits = {"train": size.train_tiles, "test": size.test_tiles}
    of_one = splits.get(piece.works_on, sum(splits.values()))
    tiles = [factor * of_one for factor in factors]
    seconds = [float(finished.printed) for finished in measured]
    memory = [finished.peak_memory for finished in measured]
    return {
        "item": piece.name,
        "what": piece.what,
        "tiles": tiles,
        "seconds": seconds,
        "seconds_per_tile": [s / n for s, n in zip(seconds, tiles, strict=True)],
        "exponent": exponent(tiles, seconds),
        "imports_mb": imports / 1e6,
        "peak_mb": [peak / 1e6 for peak in memory],
        "bytes_per_tile": (memory[-1] - memory[0]) / (tiles[-1] - tiles[0]),
    }


def exponent(tiles: Sequence[int], seconds: Sequence[float]) -> float:
    """The p of ``seconds = c · tiles^p`` that fits best, in logarithms: 1 is linear."""
    return float(np.polyfit(np.log(tiles), np.log(seconds), 1)[0])


def table_lines(report: dict[str, Any]) -> list[str]:
    """The figures as a Markdown table: seconds, exponent, and memory in MB."""
    times = [f"{factor}x" for factor in report["factors"]]
    header = ["item", *(f"{t}, s" for t in times), "µs a tile", "exponent", "imports, MB"]
    header += [*(f"{t}, MB" for t in times), "bytes a tile"]
    rows = [
        [
            row["item"], *(f"{s:.3g}" for s in row["seconds"]),
            f"{1e6 * row['seconds_per_tile'][-1]:.3g}", f"{row['exponent']:.2f}",
            f"{row['imports_mb']:.0f}", *(f"{mb:.0f}" for mb in row["peak_mb"]),
            f"{row['bytes_per_tile']:.0f}",
        ]
        for row in report["items"]
    ]  # fmt: skip
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, *rows)]
    return [lines[0], "|---" * len(header) + "|", *lines[1:]]


if __name__ == "__main__":
    sys.exit(main())
