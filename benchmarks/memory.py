"""Memory of a process, from its first import to its end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

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
