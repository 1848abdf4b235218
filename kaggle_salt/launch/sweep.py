"""``salt sweep --jobs`` and ``--on``: each fold of each run a task of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kaggle_salt.errors import SaltError
from kaggle_salt.launch.folds import LaunchedFolds, fold_tasks, refuse_minutes, set_up
from kaggle_salt.launch.following import Failure, Watcher, failures
from kaggle_salt.launch.tasks import Engine, Task
from kaggle_salt.pipeline.choose import Chosen
from kaggle_salt.pipeline.training import sweep as pipeline
from kaggle_salt.pipeline.training.sweep import SweepReport, trouble_of
from kaggle_salt.pipeline.training.sweep_file import Sweep
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.runs import RunFolder

#: A fold of one of the runs; its place in the list of all is the number of its task.
Fold = tuple[RunFolder, int]


def sweep(
    workspace: Workspace,
    file: Path,
    engine: Engine,
    watcher: Watcher,
    *,
    device: str = "auto",
    html: Path | None = None,
) -> SweepReport:
    """Train what a file describes, folds of all runs side by side, and compare with the base.

    All runs are set up here, first. A fold that fails stops no other.

    Args:
        workspace: Where data, fold table and runs lie, for all machines alike.
        file: See :func:`kaggle_salt.pipeline.training.sweep.sweep`, as the others below.
        engine: Runs the folds.
        watcher: Shows how they go.
        device: Where each process is to compute.
        html: Where to write the page of the comparison.

    Raises:
        ConfigError: The file is no sweep, or has minutes for other machines.
    """

    def train_all(plan: Sweep, chosen: Mapping[str, Chosen]) -> dict[str, str]:
        refuse_minutes(engine, plan.budget)
        folds: list[Fold] = []
        troubles = {}
        for name, (run, config, _) in chosen.items():
            try:
                numbers = set_up(
                    workspace, run, config, engine, watcher.listener, folds=plan.folds,
                    device=device, resume=True, budget=plan.budget,
                )  # fmt: skip
            except Exception as error:  # a fault of one variant's network
                troubles[name] = trouble_of(error)
            else:
                folds += [(run, number) for number in numbers]
        tasks = _tasks(workspace, folds, workspace.runs / file.stem / "logs", device)
        return troubles | _troubles(folds, failures(engine, tasks, watcher))

    return pipeline.sweep(
        workspace, file, device=device, html=html, listener=watcher.listener, train_all=train_all
    )


def _tasks(workspace: Workspace, folds: Sequence[Fold], logs: Path, device: str) -> list[Task]:
    """Those of the folds that are not finished; all logs in one folder, as engines want it."""
    return [
        replace(task, number=number, name=f"{run.name} {task.name}",
                log=logs / f"sweep{number}.log")
        for number, (run, fold) in enumerate(folds)
        for task in fold_tasks(workspace, run, [fold], device)
    ]  # fmt: skip


def _troubles(folds: Sequence[Fold], failed: Mapping[int, Failure]) -> dict[str, str]:
    """What went wrong with each run, where something did, by its name."""
    troubles = {}
    for run in dict(folds):
        mine = {fold: number for number, (one, fold) in enumerate(folds) if one == run}
        wrong = {fold: failed[number] for fold, number in mine.items() if number in failed}
        try:
            LaunchedFolds.of(run, list(mine), wrong).refuse_failed()
        except SaltError as error:
            troubles[run.name] = trouble_of(error)
    return troubles
