"""``python -m benchmarks``: run the items, print a table, write JSON."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import commands, lovasz, masks, networks, tiles, time_to_score
from benchmarks.harness import FULL, QUICK, Item, PeerError, Setting, Size
from benchmarks.machine import describe_machine, machine_lines
from benchmarks.table import table_lines
from kaggle_salt.errors import ConfigError, SaltError, nearest
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.presets import preset_path

#: Every item, in the order of the table: those of these modules, from top to bottom.
ITEMS = tuple(
    value
    for module in (tiles, masks, lovasz, networks, commands, time_to_score)
    for value in vars(module).values()
    if isinstance(value, Item)
)

#: A load of the minute before from which on something else must be running, and what that does.
BUSY = 0.7
BUSY_MEANS = (
    "where other work runs, threads wait for one another, a minute becomes ten, and the figures "
    "mean nothing"
)


def main(arguments: Sequence[str] | None = None, *, size: Size | None = None) -> int:
    """Run the items that are asked for.

    Args:
        arguments: The command line's, without the program's name.
        size: How much to work on, in place of what the arguments say.

    Returns:
        The exit code: 0 even where an aim is missed, 1 where a peer's answer is not ours.
    """
    options = _parse(arguments)
    size = size or (QUICK if options.quick else FULL)
    try:
        items = _chosen(options.only)
        preset_path(options.preset)  # refuses an unknown one before anything is measured
        with tempfile.TemporaryDirectory(prefix="salt-bench-") as folder:
            setting = Setting(
                replace(size, batch=options.batch or size.batch),
                Path(folder),
                device=choose_compute(options.device).device.type,
                preset=options.preset,
                data=options.data,
            )
            report = run(items, setting, rough=size != FULL)
    except SaltError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    _print(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2), encoding="utf-8")
    return 1 if report["disagreements"] else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure speed and memory, beside what people use instead. "
        "Threads: OMP_NUM_THREADS, all cores by default.",
        epilog="items: " + ", ".join(item.name for item in ITEMS),
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the size, rough figures: about a minute"
    )
    parser.add_argument(
        "--device", default="cpu", choices=("cpu", "cuda", "mps", "auto"),
        help="where networks and losses are computed (cpu)",
    )  # fmt: skip
    parser.add_argument("--preset", default="quick", help="whose network trains, predicts (quick)")
    parser.add_argument("--batch", type=int, metavar="N", help="tiles of a training step (32)")
    parser.add_argument("--only", default="", metavar="NAME,...", help="these items only")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="real tiles, for time-to-score")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    return parser.parse_args(arguments)


def _chosen(only: str) -> list[Item]:
    by_name = {item.name: item for item in ITEMS}
    names = [name.strip() for name in only.split(",") if name.strip()]
    names = names or [item.name for item in ITEMS if not item.needs_data]
    for name in names:
        if name not in by_name:
            raise ConfigError(f"there is no item '{name}'", expected=nearest(name, by_name))
    return [by_name[name] for name in names]


def run(items: Sequence[Item], setting: Setting, *, rough: bool) -> dict[str, Any]:
    """Take the figures, one after the other.

    Args:
        items: What to measure.
        setting: On what, and where.
        rough: At a size that aims are not meant for.

    Returns:
        Machine and figures, JSON values.

    Raises:
        SaltError: An item cannot be measured.
    """
    machine = describe_machine(setting.device)
    if machine["load"] > BUSY:
        print(f"load {machine['load']}: {BUSY_MEANS}", file=sys.stderr)
    rows, disagreements = [], {}
    for number, item in enumerate(items, start=1):
        print(f"{number}/{len(items)} {item.name}", file=sys.stderr)
        try:
            measured = item.measure(setting)
        except PeerError as error:  # must not cost the figures of the others
            disagreements[item.name] = error.found
        else:
            said = {"item": item.name, "unit": item.unit, "peer_name": item.peer, "what": item.what}
            met = None if rough else item.is_met_by(measured)
            rows.append({**said, **asdict(measured), "aim": item.aim, "met": met})
    return {
        "machine": machine,
        "rlemasklib": version("rlemasklib"),
        "rough": rough,
        "preset": setting.preset,
        "batch": setting.size.batch,
        "items": rows,
        "disagreements": disagreements,
    }


def _print(report: dict[str, Any]) -> None:
    size = "not the full size that is named below: rough" if report["rough"] else "full size"
    print("\n".join(machine_lines(report["machine"])))
    print(f"synthetic tiles; {size}; preset {report['preset']}, batch {report['batch']}\n")
    print("\n".join([*table_lines(report["items"]), ""]))
    print("\n".join(f"- {row['item']}: {row['what']}" for row in report["items"]))
    for name, why in report["disagreements"].items():
        print(f"- {name} is left out: {why}")


if __name__ == "__main__":
    sys.exit(main())
