"""Where and with what the figures were taken."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import torch

from kaggle_salt.learning.device import choose_compute
from kaggle_salt.runs import package_versions

#: Distributions that we are measured beside, besides those we stand on.
PEERS = ("pycocotools", "rlemasklib", "torchmetrics")


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
        "opencv_threads": cv2.getNumThreads(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "compute": str(choose_compute(device)),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "packages": {"python": platform.python_version(), **package_versions()},
    }


def machine_lines(machine: dict[str, Any]) -> list[str]:
    """The same for people."""
    gpu = f"{machine['gpu']}, " if machine["gpu"] else ""
    return [
        f"{gpu}{machine['cpu']}, {machine['cores']} cores, {machine['compute']}, "
        f"load {machine['load']} before, {machine['date']}",
        f"threads: torch and BLAS {machine['threads']}, OpenCV {machine['opencv_threads']}, "
        f"NumPy's sorts and loops 1, PNG decoding {machine['cores']}",
        f"{machine['system']}; {_listed(machine['packages'])}",
    ]


def peer_versions() -> dict[str, str]:
    """Versions of the peers that are packages of their own."""
    return {name: version(name) for name in PEERS}


def peer_line(versions: Mapping[str, str]) -> str:
    """The same for people."""
    return f"peers: {_listed(versions)}"


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _cpu_model() -> str:
    """The processor's name; ``platform`` knows it on few systems only."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
