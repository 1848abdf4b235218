"""``salt train --jobs`` and ``--on``: each fold of a run a task of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, TrainingError, salt_command
from kaggle_salt.launch.following import Failure, Watcher, failures, told
from kaggle_salt.launch.tasks import Engine, Task
from kaggle_salt.learning.device import limited_threads
from kaggle_salt.learning.fold import FoldSummary, read_summary
from kaggle_salt.pipeline.budget import Budget
from kaggle_salt.pipeline.health.machine import usable_cores
from kaggle_salt.pipeline.training import train
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.runs import RunFolder


@dataclass(frozen=True)
class LaunchedFolds:
    """What became of the folds asked for.

    Args:
        run: The run's folder.
        summaries: Of those that are finished, before or now.
        failed: The others, by their numbers.
    """

    run: RunFolder
    summaries: tuple[FoldSummary, ...]
    failed: dict[int, Failure]

    @classmethod
    def of(cls, run: RunFolder, folds: Sequence[int], failed: dict[int, Failure]) -> LaunchedFolds:
        """Look at the folds of a run, of which some may have failed."""
        done = [read_summary(run.fold(number)) for number in folds if number not in failed]
        return cls(run, tuple(done), failed)

    def refuse_failed(self) -> None:
        """Refuse what is not whole.

        Raises:
            TrainingError: Which folds failed, why, and how to go on with them.
        """
        if not self.failed:
            return
        total, folds = len(self.failed) + len(self.summaries), ",".join(map(str, self.failed))
        raise TrainingError(
            told(list(self.failed.values()), total, f"folds of run {self.run.name}"),
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
        folds: See :func:`kaggle_salt.pipeline.training.train.train`, as the others below.
        device: Where each process is to compute.
        log: For which tool each of them writes events.
        resume: Go on with half-trained folds.
        overwrite: Throw away what the folds asked for hold.
        because: Why this preset, where nobody named one.
        budget: What a fold may take.

    Raises:
        SaltError: Before any training, if something asked for cannot be done.
    """
    refuse_minutes(engine, budget)
    numbers = set_up(
        workspace, run, config, engine, watcher.listener, folds=folds, device=device,
        resume=resume, overwrite=overwrite, because=because, budget=budget,
    )  # fmt: skip
    tasks = fold_tasks(workspace, run, numbers, device, log)
    return LaunchedFolds.of(run, numbers, failures(engine, tasks, watcher))


def refuse_minutes(engine: Engine, budget: Budget | None) -> None:
    """Refuse a plan by this machine's clock for others.

    Raises:
        ConfigError: Minutes are given, and another machine may train.
    """
    if engine.elsewhere and budget and budget.minutes is not None:
        raise ConfigError(
            f"--minutes {budget.minutes:g} for folds that other machines train",
            expected="a plan that holds on each: minutes are timed on this one",
            next_step="--epochs 60, or --minutes without --on",
        )


def set_up(
    workspace: Workspace,
    run: RunFolder,
    config: Config,
    engine: Engine,
    listener: Listener,
    *,
    folds: str,
    device: str,
    resume: bool,
    overwrite: bool = False,
    because: str = "",
    budget: Budget | None = None,
) -> list[int]:
    """Set up a run whose folds an engine is to train; gives the numbers of those asked for.

    For the arguments see :func:`train_folds`.
    """
    jobs = 0 if engine.elsewhere else engine.at_once
    share = limited_threads(max(1, usable_cores() // jobs)) if jobs else nullcontext()
    with share, train.set_up(
        workspace, run, config, folds, "auto" if engine.elsewhere else device,
        resume=resume, overwrite=overwrite, because=because, budget=budget, listener=listener,
    ) as ready:  # fmt: skip
        return list(ready.data.folds)


def fold_tasks(
    workspace: Workspace, run: RunFolder, folds: Sequence[int], device: str, log: str | None = None
) -> list[Task]:
    """A task for each fold that is not finished, or was left untidy.

    The run's own configuration says how to train; the rest is where things lie.
    """
    options = ("--resume", *places(workspace), "--device", device, *(("--log", log) if log else ()))
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


def places(workspace: Workspace) -> tuple[object, ...]:
    """Where things lie, for a task's command."""
    return ("--data", workspace.data, "--runs", workspace.runs, "--folds", workspace.folds)
