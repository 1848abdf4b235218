"""``salt train --jobs`` and ``--on``: each fold of a run a task of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, TrainingError, salt_command
from kaggle_salt.launch.following import Watcher, follow, last_error
from kaggle_salt.launch.local import LocalEngine
from kaggle_salt.launch.tasks import Engine, State, Task
from kaggle_salt.learning.device import limited_threads
from kaggle_salt.learning.fold import FoldSummary, read_summary
from kaggle_salt.pipeline.budget import Budget
from kaggle_salt.pipeline.machine import usable_cores
from kaggle_salt.pipeline.train import begin
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.runs import RunFolder


@dataclass(frozen=True)
class LaunchedFolds:
    """What became of the folds asked for.

    Args:
        run: The run's folder.
        summaries: Of those that are finished, before or now.
        failed: How the others ended, by their numbers.
    """

    run: RunFolder
    summaries: tuple[FoldSummary, ...]
    failed: dict[int, State]

    def refuse_failed(self) -> None:
        """Refuse what is not whole.

        Raises:
            TrainingError: Which folds failed, why, and how to go on with them.
        """
        if not self.failed:
            return
        told = [_failure(self.run, fold, state) for fold, state in self.failed.items()]
        folds = ",".join(map(str, self.failed))
        raise TrainingError(
            f"{len(told)} of {len(told) + len(self.summaries)} folds of run {self.run.name} "
            f"failed: {'; '.join(told)}",
            expected="every fold trained to its end",
            next_step="go on with what they have: "
            + salt_command("train", "--run", self.run.name, "--fold", folds, "--resume"),
        )


def train_folds(
    workspace: Workspace,
    run: RunFolder,
    config: Config,
    engine: Engine,
    watcher: Watcher,
    *,
    folds: str = "all",
    device: str = "auto",
    log: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    because: str = "",
    budget: Budget | None = None,
) -> LaunchedFolds:
    """Train folds of a run, each in a process of its own.

    The run is set up here: what is wrong with it shows before anything is launched. A fold that
    fails stops no other.

    Args:
        workspace: Where data, fold table and runs lie, for all machines alike.
        run: The run's folder.
        config: The run's configuration.
        engine: Runs the folds.
        watcher: Shows how they go.
        folds: See :func:`kaggle_salt.pipeline.train.train`, as the others below.
        device: Where each process is to compute.
        log: For which tool each of them writes events.
        resume: Go on with half-trained folds.
        overwrite: Throw away what the folds asked for hold.
        because: Why this preset, where nobody named one.
        budget: What a fold may take.

    Raises:
        SaltError: Before any training, if something asked for cannot be done.
    """
    _refuse_minutes(engine, budget)
    jobs = engine.jobs if isinstance(engine, LocalEngine) else 0
    with limited_threads(max(1, usable_cores() // jobs)) if jobs else nullcontext():
        numbers = begin(
            workspace, run, config, folds=folds, device="auto" if engine.elsewhere else device,
            resume=resume, overwrite=overwrite, because=because, budget=budget,
            listener=watcher.listener,
        )  # fmt: skip
    tasks = fold_tasks(workspace, run, numbers, device, log)
    states = follow(engine, tasks, watcher) if tasks else {}
    failed = {number: state for number, state in states.items() if state.phase != "done"}
    done = [read_summary(run.fold(number)) for number in numbers if number not in failed]
    return LaunchedFolds(run, tuple(done), failed)


def _refuse_minutes(engine: Engine, budget: Budget | None) -> None:
    if engine.elsewhere and budget and budget.minutes is not None:
        raise ConfigError(
            f"--minutes {budget.minutes:g} for folds that other machines train",
            expected="a plan that holds on each: minutes are timed on this one",
            next_step="--epochs 60, or --minutes without --on",
        )


def fold_tasks(
    workspace: Workspace, run: RunFolder, folds: Sequence[int], device: str, log: str | None
) -> list[Task]:
    """A task for each fold that is not finished, or was left untidy.

    The run's own configuration says how to train; the rest is where things lie.
    """
    places = ("--data", workspace.data, "--runs", workspace.runs, "--folds", workspace.folds)
    options = ("--resume", *places, "--device", device, *(("--log", log) if log else ()))
    return [
        Task(
            number,
            f"fold {number}",
            tuple(map(str, ("train", "--run", run.name, "--fold", number, *options))),
            run.log(number),
            run.fold(number).summary,
            run.fold(number).path,
        )
        for number in folds
        if not (run.fold(number).finished and run.fold(number).tidy)
    ]


def _failure(run: RunFolder, fold: int, state: State) -> str:
    tries = f"{state.tries} tries" if state.tries > 1 else "1 try"
    why = last_error(run.log(fold)) or state.ending
    return f"fold {fold} after {tries} ({why}; see {run.log(fold)})"
