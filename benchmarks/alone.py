"""An item or a command in a process of its own, whose memory is then its own.

``python -m benchmarks.alone MODULE ITEM SIZE FOLDER`` measures an item in a folder where its
material is, and prints the figure; without size and folder it imports what the item needs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from benchmarks.harness import Item, Setting, Size

#: A child starts with the memory of the process it is forked from on its account; a small
#: process in between keeps our own out of it. Prints the peak in bytes after what the command
#: itself prints.
_REPORT_PEAK_MEMORY = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Finished:
    """What a command left: what it printed, and its largest resident memory in bytes.

    Pages of memory-mapped files count as long as they are resident.
    """

    printed: str
    peak_memory: int


def run_measured(command: Sequence[str]) -> Finished:
    """Run a command in a process of its own.

    Raises:
        subprocess.CalledProcessError: The command failed.
    """
    finished = subprocess.run(
        [sys.executable, "-c", _REPORT_PEAK_MEMORY, *command],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    *printed, peak = finished.stdout.splitlines()
    return Finished("\n".join(printed), int(peak))


def measure_alone(item: Item, setting: Setting | None = None) -> Finished:
    """Measure an item in a process of its own; without a setting only import for it."""
    arguments = [item.measure.__module__, item.measure.__name__]
    if setting is not None:
        arguments += [json.dumps(asdict(setting.size)), str(setting.folder)]
    return run_measured([sys.executable, "-m", "benchmarks.alone", *arguments])


def main(module: str, name: str, *where: str) -> None:
    """What the child does."""
    item: Item = getattr(import_module(module), name)
    if where:
        size, folder = where
        print(item.measure(Setting(Size(**json.loads(size)), Path(folder))).ours)


if __name__ == "__main__":
    main(*sys.argv[1:])
