"""Tasks on a Ray cluster: Ray finds them a machine, and another if that one dies."""

from __future__ import annotations

import logging
import os
import platform
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kaggle_salt.errors import ConfigError, TrainingError, reason
from kaggle_salt.launch.following import begun_on
from kaggle_salt.launch.tasks import (
    FINAL_CODES,
    GRACE,
    State,
    Task,
    appears,
    end_processes,
    start_process,
    threads_environment,
    wait_while_owned,
)

#: Seconds between two looks at a process.
LOOK_EVERY = 0.2

#: Ray reports to its makers how it is used, unless it is told not to.
SILENCE = {"RAY_USAGE_STATS_ENABLED": "0"}


class TryAgainError(Exception):
    """A command failed in a way that a retry may mend.

    Args:
        code: How it ended.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def run_task(task: Task, folder: str, threads: int) -> int:
    """Run a task's command to its end: what Ray calls, on one of its machines.

    Args:
        task: What to run.
        folder: The current folder of who asks, on a disk that all machines share.
        threads: Its share of the cores.

    Returns:
        Its exit code.

    Raises:
        TryAgainError: It failed, and a retry may mend that.
    """
    import ray

    os.chdir(folder)
    wait_while_owned(task.folder)
    node = ray.get_runtime_context().get_node_id()[:8]
    process = start_process(task, threads_environment(threads), f"{platform.node()}/{node}")
    try:
        while (code := process.poll()) is None:
            time.sleep(LOOK_EVERY)  # awake often: a cancellation waits for the next line
    except BaseException:
        end_processes([process])
        raise
    if code and code not in FINAL_CODES:
        raise TryAgainError(code)
    return code


class RayEngine:
    """Gives tasks to Ray; notes come back by their logs.

    Args:
        address: Of a cluster; None for the one that ``RAY_ADDRESS`` names, or else one that is
            started on this machine and ends with this process.
        at_once: How many tasks to run at a time; None for as many as there is room for.
        device: As the command line takes it.
        retries: How often a task is begun again, wherever it was lost.
    """

    every = 1.0
    elsewhere = True

    def __init__(self, address: str | None, at_once: int | None, device: str, retries: int) -> None:
        self._address = address
        self.at_once = at_once
        self._device = device
        self._retries = retries
        self._ray = _import_ray()
        self._tasks: dict[int, Task] = {}
        self._references: dict[int, Any] = {}
        self._begun: dict[int, Callable[[], list[str]]] = {}
        self._ended: dict[int, State] = {}

    def start(self, tasks: Sequence[Task]) -> str:
        self._connect()
        there = self._ray.cluster_resources()
        gpus = self._device.startswith(("auto", "cuda")) and there.get("GPU", 0) >= 1
        cpus = self._cpus(int(there.get("GPU" if gpus else "CPU", 1)), len(tasks), gpus)
        run = self._ray.remote(run_task)
        for task in tasks:
            self._tasks[task.number] = task
            self._begun[task.number] = begun_on(task.log)
            self._references[task.number] = run.options(
                name=task.name, num_cpus=cpus, num_gpus=int(gpus),
                max_retries=self._retries, retry_exceptions=[TryAgainError],
            ).remote(task, os.getcwd(), cpus)  # fmt: skip
        return f"given to Ray: each has {'a GPU' if gpus else f'{cpus} of the CPUs'}"

    def poll(self) -> Mapping[int, State]:
        for number in self._references.keys() - self._ended.keys():
            if self._ray.wait([self._references[number]], timeout=0)[0]:
                self._ended[number] = self._ending(number)
        return {number: self._state(number) for number in self._references}

    def stop(self) -> str:
        left = [ref for number, ref in self._references.items() if number not in self._ended]
        try:
            for reference in left:
                self._ray.cancel(reference)
            if left:  # in order: each saves its state first
                self._ray.wait(left, num_returns=len(left), timeout=GRACE)
        finally:
            self._ray.shutdown()
        return ""

    def _connect(self) -> None:
        os.environ.update(SILENCE)
        ours = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        begins = self._address is None and "RAY_ADDRESS" not in os.environ
        try:
            self._ray.init(
                address=self._address, logging_level=logging.ERROR, log_to_driver=False,
                **({"include_dashboard": False} if begins else {}),
            )  # fmt: skip
        except Exception as error:  # of many kinds, and its own limits of time among them
            what = "start" if begins else "answer"
            raise TrainingError(
                f"Ray does not {what}: {reason(error)}",
                expected="a machine with a free core, for Ray waits no longer than half a minute "
                "for its parts"
                if begins
                else "a Ray cluster that runs at that address",
                next_step="the same again once the load is lower, or --jobs 2 in place of --on ray",
            ) from error
        finally:
            for number, handler in ours.items():
                signal.signal(number, handler)

    def _cpus(self, room: int, tasks: int, gpus: bool) -> int:
        """CPUs for each task: what the smallest machine can give, shared among all."""
        smallest = min(
            int(node["Resources"].get("CPU", 1)) for node in self._ray.nodes() if node["Alive"]
        )
        at_once = min(tasks, self.at_once or tasks)
        total = int(self._ray.cluster_resources().get("CPU", 1))
        beside = min(at_once, room) if gpus else at_once
        return max(1, min(smallest, total // max(1, beside)))

    def _state(self, number: int) -> State:
        if number in self._ended:
            return self._ended[number]
        places = self._begun[number]()
        return State("running" if places else "waiting", places[-1] if places else "", len(places))

    def _ending(self, number: int) -> State:
        code: int | None
        try:
            code = self._ray.get(self._references[number])
        except self._ray.exceptions.RayError as error:
            code = getattr(getattr(error, "cause", None), "code", None)
        places = self._begun[number]()
        done = code == 0 and appears(self._tasks[number].done)
        return State("done" if done else "failed", places[-1] if places else "", len(places), code)


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise ConfigError(
            "--on ray wants a package that is not installed",
            expected="ray",
            next_step="pip install 'kaggle-salt[ray]', on every machine",
        ) from error
    return ray
