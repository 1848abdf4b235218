"""Where and with what the figures were taken."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from kaggle_salt.learning.device import choose_compute
from kaggle_salt.versions import package_versions


def describe_machine(device: str = "cpu") -> dict[str, Any]:
    """Processor, cores, threads, GPU, load, date and versions; JSON values.

    ``threads`` are those of torch, and of BLAS and OpenMP where ``OMP_NUM_THREADS`` is set. NumPy
    sorts and counts in one thread; PNG files are decoded in as many as there are cores.

    Args:
        device: Where networks are computed; only a GPU in use is named.
    """
    return {
        "date": datetime.now().astimezone().isoformat(timespec="minutes"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "compute": str(choose_compute(device)),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "packages": {"python": platform.python_version(), **package_versions()},
    }


def machine_lines(machine: Mapping[str, Any]) -> list[str]:
    """The same for people."""
    gpu = f"{machine['gpu']}, " if machine["gpu"] else ""
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return [
        f"{gpu}{machine['cpu']}, {machine['cores']} cores, {machine['compute']}, "
        f"load {machine['load']} before, {machine['date']}",
        f"{machine['system']}; {packages}",
    ]


def _cpu_model() -> str:
    """The processor's name; ``platform`` knows it on few systems only."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    named = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()
