"""Whether a machine is fit for a training: what slows it down, and what it runs out of."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from kaggle_salt.config.file import load_config
from kaggle_salt.learning.device import Abilities, abilities
from kaggle_salt.learning.networks import hub
from kaggle_salt.pipeline.health.folder_signs import look_at_folders
from kaggle_salt.pipeline.health.signs import Sign
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.presets import preset_names, preset_path
from kaggle_salt.versions import package_versions

GIB = 1 << 30

#: Free memory, of the machine or of a GPU, below which a training may fail.
LEAST_MEMORY = 2 * GIB

#: Seconds over which processes are watched, and the share of a core from which on one is busy.
WATCHED, BUSY = 0.5, 0.1

CGROUP = Path("/sys/fs/cgroup")
NVIDIA = Path("/dev/nvidia0")


def look_at_machine(workspace: Workspace, device: str = "auto") -> list[Sign]:
    """Look at packages, device, threads, load, memory, disks, folders and weights.

    Args:
        workspace: The folders that commands would write to.
        device: See :func:`kaggle_salt.learning.device.choose_compute`.

    Raises:
        ConfigError: The machine has no such device.
    """
    able = abilities(device)
    others = busy_trainings()
    return [
        versions_sign(),
        device_sign(able),
        threads_sign(able.threads, usable_cores(), os.environ.get("OMP_NUM_THREADS"), others),
        load_sign(able.threads, usable_cores(), psutil.getloadavg()[0], others),
        memory_sign(*_memory()),
        *look_at_folders(workspace),
        weights_sign(hub.offline(), {name: hub.is_cached(name) for name in pretrained_encoders()}),
    ]


def versions_sign() -> Sign:
    """The packages that can change a number, and whether they are those that were asked for."""
    found = {"Python": platform.python_version(), **package_versions()}
    try:
        asked = [Requirement(text) for text in metadata.requires("kaggle-salt") or ()]
    except metadata.PackageNotFoundError:  # a source tree that was never installed
        asked = []
    unmet = [f"'{one.name}{one.specifier}'" for one in asked if not _is_met(one)]
    advice = f"pip install {' '.join(unmet)}" if unmet else ""
    return Sign("versions", ", ".join(f"{name} {n}" for name, n in found.items()), advice)


def _is_met(asked: Requirement) -> bool:
    """Whether a package is there as asked for; those of extras need not be."""
    if asked.marker and not asked.marker.evaluate({"extra": ""}):
        return True
    try:
        return asked.specifier.contains(metadata.version(asked.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def device_sign(able: Abilities) -> Sign:
    """Where networks will be computed, and in which number format."""
    advice, found = "", f"{able.compute} ({able.because})"
    if able.gpu:
        found += f"; {able.gpu}, {_gib(able.gpu_free)} of {_gib(able.gpu_total)} GiB free"
        if able.gpu_free < LEAST_MEMORY:
            advice = "another process holds the GPU's memory: nvidia-smi names it"
    elif able.built_for and NVIDIA.exists():
        advice = (
            f"there is a GPU that torch cannot use: see whether nvidia-smi shows it, with a driver "
            f"for CUDA {able.built_for}, and whether CUDA_VISIBLE_DEVICES hides it"
        )
    return Sign("device", found, advice)


def threads_sign(threads: int, cores: int, told: str | None, others: list[int]) -> Sign:
    """Torch's threads against the cores.

    Args:
        threads: That torch takes.
        cores: That this process may use.
        told: ``OMP_NUM_THREADS``.
        others: Other busy trainings; beside one, fewer threads than cores are right.
    """
    source = f"OMP_NUM_THREADS={told}" if told else "OMP_NUM_THREADS is not set"
    advice = ""
    if threads > cores:
        advice = f"export OMP_NUM_THREADS={cores}: threads without a core wait for each other"
    elif threads < cores and not others:
        advice = f"export OMP_NUM_THREADS={cores}, unless another training is to run beside"
    return Sign("threads", f"{threads} for {cores} cores ({source})", advice)


def load_sign(threads: int, cores: int, load: float, others: list[int]) -> Sign:
    """What else the cores are doing.

    Args:
        threads: That torch takes.
        cores: That this process may use.
        load: Mean number of processes that compute or wait to, over the last minute.
        others: Ids of other processes that compute with torch.
    """
    found, advice = f"{load:.1f} on {cores} cores", ""
    if others:
        found += f"; torch computes in other processes ({', '.join(map(str, others))})"
    if others and threads > 1:
        advice = "export OMP_NUM_THREADS=1 in each: trainings that share cores cost tens of times"
    elif load > cores + threads:
        who = "these compute" if others else "others compute, which top names"
        advice = f"a training is slower than it could be while {who}"
    return Sign("load", found, advice)


def usable_cores() -> int:
    """Cores that this process may use: what the system and its container leave it, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota, _, period = _cgroup("cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def busy_trainings() -> list[int]:
    """Ids of other processes that have torch loaded and are computing, as far as one may see."""
    before = {one: _seconds(one) for one in psutil.process_iter() if one.pid != os.getpid()}
    time.sleep(WATCHED)
    busy = [one for one, seconds in before.items() if _seconds(one) - seconds > BUSY * WATCHED]
    return sorted(one.pid for one in busy if _has_torch(one))


def _seconds(process: psutil.Process) -> float:
    """Processor time that a process has taken; no number if it has ended or is hidden."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return math.nan
    return float(times.user + times.system)


def _has_torch(process: psutil.Process) -> bool:
    try:
        return any("libtorch" in one.path for one in process.memory_maps())
    except (psutil.Error, AttributeError):  # not ours, or a system that does not tell
        return False


def memory_sign(free: int, total: int) -> Sign:
    """Free memory, in bytes."""
    advice = ""
    if free < LEAST_MEMORY:
        advice = "close other programs, or make batches smaller: --set training.batch_size=8"
    return Sign("memory", f"{_gib(free)} of {_gib(total)} GiB free", advice)


def _memory() -> tuple[int, int]:
    """Free memory and all of it, in bytes: of the system, or of the container if that is less."""
    memory = psutil.virtual_memory()
    limit, used = _cgroup("memory.max"), _cgroup("memory.current")
    if not (limit.isdecimal() and used.isdecimal()):
        return memory.available, memory.total
    free = min(memory.available, int(limit) - int(used))
    return free, min(memory.total, int(limit))


def _cgroup(name: str) -> str:
    """What the container's limits say; empty where there are none."""
    try:
        return (CGROUP / name).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def weights_sign(offline: bool, cached: Mapping[str, bool]) -> Sign:
    """Which of the presets' pretrained encoders lie here.

    Args:
        offline: Whether downloads are switched off.
        cached: Whether an encoder's weights are in the hub's cache, by its name.
    """
    here = [name for name, there in cached.items() if there]
    missing = [name for name, there in cached.items() if not there]
    found = f"here: {', '.join(here) or 'none'}"
    advice = ""
    if missing:
        found += f"; to be downloaded when first needed: {', '.join(missing)}"
        if offline:
            advice = "unset HF_HUB_OFFLINE to have them fetched, or --set model.weights=none"
    return Sign("pretrained encoders", found, advice)


def pretrained_encoders() -> list[str]:
    """Encoders that presets start from ImageNet weights, sorted."""
    models = [load_config(preset_path(name)).model for name in preset_names()]
    return sorted({model.encoder for model in models if model.weights == "imagenet"})


def _gib(size: int) -> str:
    return f"{size / GIB:.1f}"
