"""``python -m benchmarks``: run the items, print a table, write JSON."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import commands, compiling, kept_memory, loops, lovasz, masks, precision, tiles
from benchmarks.items import (
    FULL,
    QUICK,
    DisagreementError,
    Item,
    LackingError,
    Measurement,
    Setting,
    Size,
)
from benchmarks.machine import describe_machine, machine_lines, peer_line, peer_versions
from benchmarks.table import note_lines, table_lines
from kaggle_salt.errors import ConfigError, SaltError, nearest
from kaggle_salt.files import write_json
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.runs import open_run

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
    kept_memory.kept_memory,
    compiling.compile_quick,
    loops.flip_tta,
    precision.bf16_quick,
    precision.bf16_resnet34,
    precision.bf16_score,
)


def main(arguments: Sequence[str] | None = None, *, size: Size | None = None) -> int:
    """Run the items that are asked for.

    Args:
        arguments: The command line's, without the program's name.
        size: How much to work on, in place of what the arguments say.

    Returns:
        The exit code: 0 even where a target is missed, 1 where a peer's answer is not ours.
    """
    options = _parse(arguments)
    try:
        items = _chosen(options.only)
        with tempfile.TemporaryDirectory(prefix="salt-bench-") as folder:
            setting = Setting(
                size or (QUICK if options.quick else FULL),
                Path(folder),
                data=options.data,
                device=choose_compute(options.device).device.type,
                batch=options.batch,
                run=options.run and open_run(options.run.parent, options.run.name),
            )
            report = run(items, setting, insist=bool(options.only))
    except SaltError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join([*machine_lines(report["machine"]), peer_line(report["peers"])]))
    print("\n".join([_scope(report), "", *table_lines(report["items"])]))
    print("\n".join(["", *note_lines(report["items"])]))
    for name, why in [*report["left_out"].items(), *report["disagreements"].items()]:
        print(f"- {name} is left out: {why}")
    if options.json:
        write_json(options.json, report)
    return 1 if report["disagreements"] else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure speed and memory, beside what people use instead. "
        "Threads: OMP_NUM_THREADS, all cores by default.",
        epilog="items: " + ", ".join(item.name for item in ITEMS),
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the size, rough figures")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="Kaggle's files, not synthetic")
    parser.add_argument(
        "--device", default="cpu", choices=("cpu", "cuda", "mps", "auto"),
        help="where networks and losses are computed (cpu)",
    )  # fmt: skip
    parser.add_argument("--batch", type=int, metavar="N", help="tiles of a training step (32)")
    parser.add_argument(
        "--run", type=Path, metavar="runs/NAME",
        help="a finished run on the tiles of --data, for the items that need one",
    )  # fmt: skip
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


def run(items: Sequence[Item], setting: Setting, *, insist: bool) -> dict[str, Any]:
    """Take the figures, one after the other.

    Args:
        items: What to measure.
        setting: On what, and where.
        insist: Refuse to leave out an item that lacks something.

    Returns:
        Machine and figures, JSON values.

    Raises:
        SaltError: An item cannot be measured.
    """
    machine = describe_machine(setting.device)
    left_out = _left_out(items, setting, insist=insist)
    items = [item for item in items if item.name not in left_out]
    rows, disagreements = [], {}
    for number, item in enumerate(items, start=1):
        print(f"{number}/{len(items)} {item.name}", file=sys.stderr)
        try:
            rows.append(_row(item, item.measure(setting), setting))
        except DisagreementError as error:  # must not cost the figures of the others
            disagreements[item.name] = error.found
    return {
        "machine": machine,
        "peers": peer_versions(),
        "full_size": setting.size == FULL,
        "tiles": "synthetic" if setting.data is None else "the competition's",
        "batch": setting.training_batch,
        "items": rows,
        "left_out": left_out,
        "disagreements": disagreements,
    }


def _left_out(items: Sequence[Item], setting: Setting, *, insist: bool) -> dict[str, str]:
    """Items that cannot be measured here, and why."""
    reasons = {}
    for item in items:
        try:
            item.require(setting)
        except LackingError as error:
            if insist:
                raise
            reasons[item.name] = f"{error.found}; {error.next_step}"
    return reasons


def _scope(report: dict[str, Any]) -> str:
    size = "full size" if report["full_size"] else "not the full size that the table names: rough"
    return f"{report['tiles']} tiles; {size}; training batches of {report['batch']}"


def _row(item: Item, measured: Measurement, setting: Setting) -> dict[str, Any]:
    return {
        "item": item.name,
        "unit": item.unit,
        "ours": measured.ours,
        "peer": measured.peer,
        "peer_name": item.peer,
        "ratio": measured.ratio,
        "spread": measured.spread,
        "target": item.limit(setting),
        "met": item.meets_target(measured, setting),
        "equal": measured.equal,
        "what": item.what,
        "note": measured.note,
        "details": dict(measured.details),
    }


if __name__ == "__main__":
    sys.exit(main())
