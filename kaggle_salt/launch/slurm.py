"""Tasks as a job array of SLURM: it finds them nodes, and others if those die."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from kaggle_salt.errors import ConfigError, TrainingError
from kaggle_salt.launch.following import begun_on
from kaggle_salt.launch.tasks import BEGINS, FINAL_CODES, LATE, PLACE, THREAD_VARIABLES, State, Task
from kaggle_salt.storage.files import write_text
from kaggle_salt.storage.lease import BEAT_EVERY, DEAD_AFTER, owner

#: States of a job in which it will compute, or does.
WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD",
           "SPECIAL_EXIT", "SUSPENDED", "STOPPED", "PREEMPTED"}  # fmt: skip
RUNNING = {"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING"}

#: Seconds between two tries on a node: whoever held the fold and died is known to be dead then.
PAUSE = int(DEAD_AFTER + BEAT_EVERY)

_OPTION = re.compile(r"[a-z][a-z-]*(=[^\n\r]+)?")


class SlurmEngine:
    """Submits tasks as one job array, and follows it.

    Args:
        options: Of ``sbatch``, each ``KEY=VALUE`` or ``KEY``.
        at_once: How many tasks to run at a time; None for as many as there is room for.
        device: As the command line takes it.
        retries: How often a task that failed is begun again on its node; SLURM requeues it if
            the node dies, whatever this is.

    Raises:
        ConfigError: There is no SLURM here, or an option is none.
    """

    every = 5.0
    elsewhere = True

    def __init__(
        self, options: Sequence[str], at_once: int | None, device: str, retries: int
    ) -> None:
        if not (shutil.which("sbatch") and shutil.which("squeue")):
            raise ConfigError(
                "there is no sbatch and squeue on this machine",
                expected="a login node of a SLURM cluster",
                next_step="--jobs auto in place of --on slurm, or the same on a login node",
            )
        for option in options:
            if not _OPTION.fullmatch(option):
                raise ConfigError(
                    f"--sbatch {option}",
                    expected="KEY=VALUE or KEY, an option of sbatch without its dashes",
                    next_step="--sbatch partition=gpu",
                )
        self._options = list(options)
        self.at_once = at_once
        self._device = device
        self._retries = retries
        self._job = ""
        self._tasks: dict[int, Task] = {}
        self._begun: dict[int, Callable[[], list[str]]] = {}
        self._states: dict[int, State] = {}
        self._missed: dict[int, float] = {}

    def start(self, tasks: Sequence[Task]) -> str:
        script = tasks[0].log.parent / "slurm.sh"
        write_text(script, "".join(f"{line}\n" for line in self._script(tasks)))
        self._tasks = {task.number: task for task in tasks}
        self._begun = {task.number: begun_on(task.log) for task in tasks}
        self._states = {task.number: State("waiting") for task in tasks}
        told = _call("sbatch", "--parsable", str(script))
        if told.returncode:
            raise TrainingError(
                f"sbatch refuses the job: {' '.join(told.stderr.split())}",
                expected="options that this cluster takes, and a controller that answers",
                next_step=f"--sbatch KEY=VALUE for what it lacks; the script is {script}",
            )
        self._job = told.stdout.strip().partition(";")[0]
        return f"submitted to SLURM as job {self._job}; to cancel it: scancel {self._job}"

    def poll(self) -> Mapping[int, State]:
        told = _call("squeue", "-h", "-r", "-t", "all", "-j", self._job, "-o", "%K %T")
        if told.returncode and "nvalid job id" not in told.stderr:
            return self._states  # the controller is busy, or away for a moment
        listed = dict(line.split(maxsplit=1) for line in told.stdout.splitlines() if line.strip())
        for number, task in self._tasks.items():
            if not self._states[number].ended:
                self._states[number] = self._state(task, listed.get(str(number), "").strip())
        return self._states

    def stop(self) -> str:
        if not self._job or all(state.ended for state in self._states.values()):
            return ""
        return f"job {self._job} goes on without this command; to cancel it: scancel {self._job}"

    def _state(self, task: Task, told: str) -> State:
        places = self._begun[task.number]()
        place, tries = places[-1] if places else "", len(places)
        if told in WAITING:
            return State("waiting", "", tries)
        if told in RUNNING:
            return State("running", place, tries)
        if task.done.exists():
            return State("done", place, tries, 0)
        if holder := owner(task.folder):  # its node was given up, and it computes all the same
            return State("running", holder.host, tries)
        if time.monotonic() < self._missed.setdefault(task.number, time.monotonic() + LATE):
            if told in ("COMPLETED", ""):
                return State("running", place, tries)
        return State("failed", f"{place} {told}".strip(), tries)

    def _script(self, tasks: Sequence[Task]) -> Iterator[str]:
        log = str(tasks[0].log.resolve()).replace("%", "%%")
        pattern = log.removesuffix(f"{tasks[0].number}.log") + "%a.log"
        array = ",".join(str(task.number) for task in tasks)
        given = {option.partition("=")[0] for option in self._options}
        wants_gpu = self._device.startswith(("auto", "cuda")) and _has_gpus()
        yield "#!/bin/sh"
        for option in (
            f"job-name=salt-{tasks[0].log.parent.parent.name}",
            f"array={array}" + (f"%{self.at_once}" if self.at_once else ""),
            f"output={pattern}",
            "open-mode=append",
            "requeue",
            *(["gres=gpu:1"] if wants_gpu and not any("gpu" in o for o in self._options) else []),
        ):
            if option.partition("=")[0] not in given:
                yield _directive(option)
        yield from map(_directive, self._options)
        for name in THREAD_VARIABLES:
            yield f'export {name}="${{SLURM_CPUS_PER_TASK:-1}}"'
        yield 'case "$SLURM_ARRAY_TASK_ID" in'
        for task in tasks:
            yield f"{task.number}) told={shlex.quote(task.told)}"
            yield f"    set -- {shlex.join(task.command)} ;;"
        yield "esac"
        yield from _RETRIES.format(
            begins=BEGINS, place=PLACE, final="|".join(map(str, (0, *FINAL_CODES, 129, 143))),
            retries=self._retries, pause=PAUSE,
        ).splitlines()  # fmt: skip


#: Runs the command in the script's arguments; a requeued job begins here anew.
_RETRIES = """\
tries=0
while :; do
    echo "{begins}$told{place}$SLURMD_NODENAME"
    "$@" >/dev/null
    code=$?
    case $code in {final}) exit $code ;; esac
    tries=$((tries + 1))
    [ $tries -le {retries} ] || exit $code
    sleep {pause}
done
"""


def _directive(option: str) -> str:
    key, equals, value = option.partition("=")
    return f"#SBATCH --{key}{equals}{shlex.quote(value) if value else ''}"


def _has_gpus() -> bool:
    return "gpu" in _call("sinfo", "-h", "-o", "%G").stdout


def _call(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)
