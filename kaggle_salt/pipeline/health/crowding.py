"""Whether trainings that run already leave this one any cores."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from kaggle_salt.pipeline.health.machine import usable_cores
from kaggle_salt.storage.lease import owner

#: Where the leases of trainings lie, below the folder of the runs.
LEASES = ("*/lease-*.json", "*/fold*/lease-*.json")


def crowd(runs: Path, threads: int) -> str:
    """Say in a line that trainings of this machine have more threads together than cores.

    Args:
        runs: Folder of the runs; trainings of others are not known here.
        threads: That this process computes with.

    Returns:
        Empty where there is room.
    """
    cores = usable_cores()
    others = {pid: _threads(pid, cores) for pid in _trainings(runs)}
    if not others or threads + sum(others.values()) <= cores:
        return ""
    told = ", ".join(f"process {pid} with {count}" for pid, count in others.items())
    return (
        f"the machine is taken: {told} of its {cores} cores, and this one with {threads}, which "
        "can cost each tens of times; give each its share with OMP_NUM_THREADS, or train folds "
        f"side by side with --jobs {cores}"
    )


def _trainings(runs: Path) -> list[int]:
    """Other processes of this machine that write in a run."""
    folders = {path.parent for pattern in LEASES for path in runs.glob(pattern)}
    holders = filter(None, map(owner, folders))
    return sorted({one.pid for one in holders if one.known_here} - {os.getpid()})


def _threads(pid: int, cores: int) -> int:
    """Threads that a process was told to take; all cores where it was told nothing."""
    try:
        told = psutil.Process(pid).environ().get("OMP_NUM_THREADS", "")
    except psutil.Error:  # ended since, or not ours
        return 0
    return int(told) if told.isdecimal() else cores
