"""``salt train``: folds of a run, each in its own folder, none ever overwritten by accident."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from kaggle_salt.competition.fold_files import another_table
from kaggle_salt.config.file import differences, load_run_config
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, salt_command
from kaggle_salt.learning.batches import TrainingTiles
from kaggle_salt.learning.device import Compute, choose_compute, thread_count
from kaggle_salt.learning.fold import FoldSummary, check_trainable, read_summary, train_fold
from kaggle_salt.pipeline.budget import Budget
from kaggle_salt.pipeline.health.crowding import crowd
from kaggle_salt.pipeline.training.claims import (
    claim,
    refuse_both,
    refuse_other_data,
    refuse_other_weights,
    refuse_unclaimed,
)
from kaggle_salt.pipeline.training.planner import Planner
from kaggle_salt.pipeline.training.starting_weights import (
    examine_weights,
    refuse_to_delete,
    warn_of_slow_start,
)
from kaggle_salt.pipeline.training.training_data import TrainingData, settle_for
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.report.curves import learning_curve
from kaggle_salt.report.prediction_pictures import draw_fold
from kaggle_salt.runs import FoldFolder, RunFolder, train_anew
from kaggle_salt.storage.lease import clear_dead, hold, refuse_owned

#: Seconds to wait for another process that sets up the same run.
SETTING_UP = 30.0


def train(
    workspace: Workspace,
    run: RunFolder,
    config: Config,
    *,
    folds: str = "0",
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    because: str = "",
    budget: Budget | None = None,
    listener: Listener | None = None,
) -> list[FoldSummary]:
    """Train folds of a run, one after the other.

    A finished fold is left as it is; a half-trained one goes on with ``resume`` and starts
    anew with ``overwrite``.

    Args:
        workspace: Where data, fold table and runs lie.
        run: The run's folder.
        config: The run's configuration.
        folds: ``0``, ``0,2`` or ``all``.
        device: See :func:`kaggle_salt.learning.device.choose_compute`.
        resume: Go on with half-trained folds.
        overwrite: Throw away what the folds asked for hold.
        because: Why this preset, where nobody named one; for the run's manifest.
        budget: What a fold may take; see :mod:`kaggle_salt.pipeline.training.planner`.
        listener: Told how the work goes.

    Returns:
        A summary of each fold asked for, finished before or now.

    Raises:
        SaltError: Before any training, if something asked for cannot be done.
    """
    listener = listener or Listener()
    with set_up(
        workspace, run, config, folds, device, resume=resume, overwrite=overwrite,
        because=because, budget=budget, listener=listener,
    ) as ready:  # fmt: skip
        if ready.leases and ready.compute.device.type == "cpu":
            if told := crowd(workspace.runs, thread_count()):
                listener.warn(told)
        return [_train_one(run, ready, fold, listener) for fold in ready.data.folds]


@dataclass(frozen=True)
class Ready:
    """All that the training of a run's folds needs; the leases are of those not finished."""

    config: Config
    data: TrainingData
    compute: Compute
    leases: Mapping[int, ExitStack]


@contextmanager
def set_up(
    workspace: Workspace,
    run: RunFolder,
    config: Config,
    folds: str,
    device: str,
    *,
    resume: bool,
    overwrite: bool,
    because: str,
    budget: Budget | None,
    listener: Listener,
) -> Iterator[Ready]:
    """Own the folds to train, and have all that is known before any of them is trained.

    The run's configuration and plan are written, and folds to begin anew are empty: other
    processes may train them once the block is left. For arguments and errors see :func:`train`.
    """
    data = TrainingData.open(workspace, config, folds, listener)
    config = settle_for(data.competition, config, listener)
    compute = choose_compute(device, config.training.precision, config.training.channels_last)
    planner = Planner(run, config, budget, compute, frozenset(data.folds if overwrite else ()))
    config, plan = planner.recorded(listener)
    asked = {"resume": resume, "overwrite": overwrite}
    _check_folders(run, config, data, **asked)
    to_train, weights = _checked_start(run, config, data, workspace.folds, overwrite, listener)
    if budget and not plan:
        config, plan = planner.make(data.tiles(to_train[0]), listener)
    write = partial(claim, run, config, {**data.hashes, **weights}, plan, compute, because)
    with _owned(run, config, data, to_train, weights, write, **asked) as leases:
        yield Ready(config, data, compute, leases)


@contextmanager
def _owned(
    run: RunFolder,
    config: Config,
    data: TrainingData,
    folds: Sequence[int],
    weights: Mapping[str, Any],
    write: Callable[[], None],
    *,
    resume: bool,
    overwrite: bool,
) -> Iterator[Mapping[int, ExitStack]]:
    """Own the folds to train, each until its stack is closed; what begins anew is empty.

    All is looked at again, for another process may have begun the run or a fold since. What the
    run is made of is written (``write``) before any fold begins. Owned are finished folds, too,
    that were left untidy.
    """
    folds = sorted({*folds, *(number for number in data.folds if not run.fold(number).tidy)})
    with ExitStack() as all_of_them:
        with hold(run.path, patience=SETTING_UP):
            kept = _check_folders(run, config, data, resume=resume, overwrite=overwrite)
            refuse_other_weights(run, weights, data.folds if overwrite else ())
            leases = {number: all_of_them.enter_context(ExitStack()) for number in folds}
            for number, lease in leases.items():
                lease.enter_context(hold(run.fold(number).path))
            for folder in map(run.fold, folds):
                if overwrite or not (folder.finished or folder.checkpoint.exists()):
                    folder.clear()
            for number in set(run.folders()) - set(folds):
                clear_dead(run.fold(number).path)
            if not kept:
                write()
        yield leases


def _checked_start(
    run: RunFolder,
    config: Config,
    data: TrainingData,
    folds: Path,
    overwrite: bool,
    listener: Listener,
) -> tuple[list[int], dict[str, Any]]:
    """The folds to train, and what the manifest says of the weights they start from."""
    refuse_to_delete(
        config.model.weights, [run.fold(n).path for n in data.folds] if overwrite else []
    )
    to_train = [n for n in data.folds if overwrite or not run.fold(n).finished]
    to_begin = [n for n in to_train if overwrite or not run.fold(n).checkpoint.exists()]
    weights = examine_weights(config, to_begin, data.hashes, listener)
    if to_begin:
        warn_of_slow_start(config, listener)
    refuse_other_weights(run, weights, data.folds if overwrite else ())
    if to_train:
        fewest, shape = min(map(data.tiles_to_train_on, to_train)), data.competition.tile_shape
        check_trainable(
            config, shape, pretrained=bool(to_begin), tiles=fewest, more_tiles=another_table(folds)
        )
    return to_train, weights


def _train_one(run: RunFolder, ready: Ready, fold: int, listener: Listener) -> FoldSummary:
    """Train a fold, and give it back."""
    config, data, compute = ready.config, ready.data, ready.compute
    folder = run.fold(fold)
    listener.fold_starts(folder)
    if fold not in ready.leases or (folder.finished and folder.tidy):
        listener.note(f"fold {fold} of run {run.name} is finished; nothing to do")
        return read_summary(folder)
    tiles = data.tiles(fold)
    if folder.finished:
        listener.note(f"fold {fold} of run {run.name} is trained, and was not tidied up: done now")
        with ready.leases[fold]:
            return _tidied(run, ready, folder, read_summary(folder), tiles)
    pseudo = f"{len(tiles.pseudo_rows)} with pseudo-labels, " if len(tiles.pseudo_rows) else ""
    if any(stage.consistency.weight for stage in config.stage):
        pseudo += f"{len(tiles.unlabelled)} without masks, "
    listener.note(
        f"run {run.name}, fold {fold}: {len(tiles.train_rows)} tiles to train on, {pseudo}"
        f"{len(tiles.validation_rows)} to validate, on {compute}"
    )
    if config.training.compile:
        listener.note("the first step with each input size compiles the network: a minute or more")
    with ready.leases[fold]:
        summary = train_fold(config, tiles, data.competition.ids, folder, compute, listener)
        return _tidied(run, ready, folder, summary, tiles)


def _tidied(
    run: RunFolder, ready: Ready, folder: FoldFolder, summary: FoldSummary, tiles: TrainingTiles
) -> FoldSummary:
    """Draw a trained fold, and remove what it needs no more; whoever is killed here left that."""
    folder.checkpoint.unlink(missing_ok=True)
    title = f"{run.name}, fold {folder.fold}: out-of-fold score {summary.score:.4f} with flip TTA"
    learning_curve(pd.read_csv(folder.history), folder.learning_curve, title=title)
    draw_fold(ready.config, folder, tiles, ready.data.competition.ids, ready.compute)
    return summary


def _check_folders(
    run: RunFolder,
    config: Config,
    data: TrainingData,
    *,
    resume: bool,
    overwrite: bool,
) -> bool:
    """Refuse to mix configurations or data in a run, or to touch a half-trained fold unasked.

    Refused are also folds that another process trains.

    Returns:
        Whether folds stay that were trained with the configuration there.
    """
    refuse_both(resume=resume, overwrite=overwrite)
    for number in data.folds:
        refuse_owned(run.fold(number).path)
    asked = ("train", "--run", run.name, "--fold", ",".join(map(str, data.folds)))
    others = set(run.claimed_folds()) - (set(data.folds) if overwrite else set())
    if others:
        refuse_unclaimed(run)
        changed = differences(load_run_config(run.config), config)
        if changed:
            raise ConfigError(
                f"run {run.name} exists with another configuration ({'; '.join(changed)})",
                expected="one configuration for all folds of a run",
                next_step="--run NEW_NAME for a new run, or with the configuration it has: "
                + salt_command(*asked, "--config", run.config, *["--resume"] * resume),
            )
        refuse_other_data(run, data.hashes)
    halves = [fold for fold in data.folds if fold in run.unfinished_folds()]
    if halves and not (resume or overwrite):
        raise ConfigError(
            f"fold {halves[0]} of run {run.name} is half trained",
            expected="a decision about what is there",
            next_step=f"go on with it: {salt_command(*asked, '--resume')}, or start it anew: "
            + train_anew(run.fold(halves[0]).path),
        )
    return bool(others)
