"""``salt train --rounds``: students become teachers, each round a run of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.fold import FoldSummary
from kaggle_salt.pipeline.budget import Budget
from kaggle_salt.pipeline.training.pseudo_label import PseudoReport, pseudo_label
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.pseudo_labels import read_manifest
from kaggle_salt.pseudo_origin import MadeOf
from kaggle_salt.runs import RunFolder


def train_rounds(
    workspace: Workspace,
    run: RunFolder,
    config: Config,
    *,
    rounds: int,
    folds: str = "0",
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    because: str = "",
    budget: Budget | None = None,
    listener: Listener | None = None,
) -> list[FoldSummary]:
    """Train a run; or runs ``<run>-1``, ``<run>-2``, ..., each on the labels of the one before.

    The first round trains on ``config.pseudo.file``. What is finished is left as it is.

    Args:
        workspace: Where data, fold table and runs lie.
        run: The run, or whose name the rounds' names begin with.
        config: Its configuration.
        rounds: How many; one is :func:`train`.
        folds: See :func:`train`, like those that are not explained here.
        device: Where to compute.
        resume: Go on with half-trained folds.
        overwrite: Throw away what the folds asked for hold, and the labels made from them.
        because: See :func:`train`.
        budget: What a fold of each round may take.
        listener: Told how the work goes.

    Returns:
        The last round's summaries.

    Raises:
        ConfigError: There is no file of pseudo-labels to begin with.
    """
    train_one = partial(
        train, workspace, folds=folds, device=device, resume=resume, overwrite=overwrite,
        because=because, budget=budget, listener=listener,
    )  # fmt: skip
    if rounds == 1:
        return train_one(run, config)
    label = partial(pseudo_label, workspace, overwrite=overwrite, device=device, listener=listener)
    return _train_students(run, config, rounds, train_one, label)


def _train_students(
    run: RunFolder,
    config: Config,
    rounds: int,
    train_one: Callable[[RunFolder, Config], list[FoldSummary]],
    label: Callable[..., PseudoReport],
) -> list[FoldSummary]:
    """Train a student on the labels given, then each further one on those of the one before."""
    given = _given_labels(config)
    student = _student(run, 1)
    summaries = train_one(student, config)
    for number in range(2, rounds + 1):
        labels = label([student.name], wanted=given.settings, teachers=given.teachers)
        pseudo = config.pseudo.model_copy(update={"file": str(labels.csv)})
        student = _student(run, number)
        summaries = train_one(student, config.model_copy(update={"pseudo": pseudo}))
    return summaries


def _student(run: RunFolder, number: int) -> RunFolder:
    return RunFolder(run.path.with_name(f"{run.name}-{number}"))


def _given_labels(config: Config) -> MadeOf:
    """What the labels of the first round were made of; those of the others are made likewise."""
    if not config.pseudo.file:
        raise ConfigError(
            "there are no pseudo-labels for the first of several rounds",
            expected="labels that trained runs gave to the test tiles",
            next_step="salt pseudo-label RUN, then --pseudo FILE",
        )
    return read_manifest(Path(config.pseudo.file)).made_of
