"""Tasks side by side on this machine: one for each GPU, or so many with a share of the cores."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kaggle_salt.errors import ConfigError
from kaggle_salt.launch.tasks import (
    FINAL_CODES,
    State,
    Task,
    end_processes,
    start_process,
    threads_environment,
)
from kaggle_salt.learning.device import visible_gpus
from kaggle_salt.pipeline.health.machine import usable_cores


@dataclass(frozen=True)
class Slot:
    """Room for one task at a time.

    Args:
        name: What a person calls it.
        environment: The variables that keep a process to it.
    """

    name: str
    environment: Mapping[str, str]


@dataclass(frozen=True)
class _Job:
    """A task that runs."""

    task: Task
    slot: Slot
    process: subprocess.Popen[bytes]


def count_jobs(asked: str, device: str) -> int:
    """How many tasks to run at a time.

    Args:
        asked: A number, or ``auto``: one for each GPU that the device means, one without.
        device: As the command line takes it.

    Raises:
        ConfigError: It is neither.
    """
    if asked == "auto":
        return max(1, len(visible_gpus(device)))
    if not (asked.isdecimal() and int(asked)):
        raise ConfigError(
            f"--jobs {asked}", expected="auto, or a number above 0", next_step="--jobs auto"
        )
    return int(asked)


def make_slots(jobs: int, gpus: Sequence[str], cores: int) -> list[Slot]:
    """Divide a machine.

    Args:
        jobs: How many tasks are to run at a time.
        gpus: As ``CUDA_VISIBLE_DEVICES`` names them; tasks take turns at them.
        cores: To be divided, at least one for each.
    """
    threads = max(1, cores // jobs)
    told = f"{threads} thread{'s' if threads > 1 else ''}"
    share = threads_environment(threads)
    if not gpus:
        return [Slot(told, share)] * jobs
    ours = [gpus[number % len(gpus)] for number in range(jobs)]
    return [Slot(f"GPU {gpu}", {**share, "CUDA_VISIBLE_DEVICES": gpu}) for gpu in ours]


class LocalEngine:
    """Runs tasks as processes of this machine.

    Args:
        at_once: How many at a time.
        device: As the command line takes it.
        retries: How often one that failed is begun again.
    """

    every = 0.5
    elsewhere = False

    def __init__(self, at_once: int, device: str, retries: int) -> None:
        self.at_once = at_once
        self._device = device
        self._retries = retries
        self._waiting: deque[Task] = deque()
        self._free: list[Slot] = []
        self._running: list[_Job] = []
        self._states: dict[int, State] = {}

    def start(self, tasks: Sequence[Task]) -> str:
        self._waiting = deque(tasks)
        self._states = {task.number: State("waiting") for task in tasks}
        jobs = min(self.at_once, len(tasks))
        self._free = make_slots(jobs, visible_gpus(self._device), usable_cores())
        return ""

    def poll(self) -> Mapping[int, State]:
        for job in list(self._running):
            if (code := job.process.poll()) is not None:
                self._running.remove(job)
                self._free.append(job.slot)
                self._end(job.task, code)
        while self._waiting and self._free:
            task, slot = self._waiting.popleft(), self._free.pop(0)
            tries = self._states[task.number].tries + 1
            self._states[task.number] = State("running", slot.name, tries)
            self._running.append(_Job(task, slot, start_process(task, slot.environment, slot.name)))
        return self._states

    def stop(self) -> str:
        end_processes([job.process for job in self._running])
        self._running = []
        return ""

    def _end(self, task: Task, code: int) -> None:
        state = replace(self._states[task.number], code=code)
        if code == 0:
            self._states[task.number] = replace(state, phase="done")
        elif code in FINAL_CODES or state.tries > self._retries:
            self._states[task.number] = replace(state, phase="failed")
        else:
            self._states[task.number] = replace(state, phase="waiting")
            self._waiting.append(task)
