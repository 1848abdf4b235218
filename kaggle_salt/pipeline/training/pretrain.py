"""``salt pretrain``: a network learns from all tiles, and from no mask, before it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config.file import differences, load_run_config
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, salt_command
from kaggle_salt.learning.batches import PretrainingTiles
from kaggle_salt.learning.device import Compute, choose_compute
from kaggle_salt.learning.fold import check_trainable
from kaggle_salt.learning.pretraining import (
    PretrainingSummary,
    pretraining_panels,
    read_pretraining,
)
from kaggle_salt.learning.pretraining import pretrain as learn
from kaggle_salt.pipeline.budget import Budget
from kaggle_salt.pipeline.training.claims import (
    claim,
    refuse_both,
    refuse_other_data,
    refuse_unclaimed,
)
from kaggle_salt.pipeline.training.planner import Planner
from kaggle_salt.pipeline.training.starting_weights import examine_for_pretraining, refuse_to_delete
from kaggle_salt.pipeline.training.training_data import settle_for
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.report.pretraining_sheet import pretraining_sheet
from kaggle_salt.runs import PRETRAINING
from kaggle_salt.runs_pretraining import NO_FOLD, PretrainingRun
from kaggle_salt.storage.lease import hold, refuse_owned

#: Tiles in the picture.
SHOWN = 8


@dataclass(frozen=True)
class PretrainingReport:
    """What a pretraining left.

    Args:
        run: Name of the run.
        weights: For ``--set model.weights=...``.
        picture: Tiles, and what the network makes of them.
        summary: Of the training.
    """

    run: str
    weights: Path
    picture: Path
    summary: PretrainingSummary


def pretrain(
    workspace: Workspace,
    run: PretrainingRun,
    config: Config,
    *,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    budget: Budget | None = None,
    listener: Listener | None = None,
) -> PretrainingReport:
    """Pretrain a network on all tiles, training and test; no mask is looked at.

    What is finished is left as it is; what is half done goes on with ``resume`` and starts anew
    with ``overwrite``.

    Args:
        workspace: Where data and runs lie; there need be no fold table.
        run: The run's folder.
        config: With a pretext: see :func:`kaggle_salt.pipeline.choose.choose_pretraining`.
        device: See :func:`kaggle_salt.learning.device.choose_compute`.
        resume: Go on with what is half done.
        overwrite: Throw away what the run holds.
        budget: What the pretraining may take; see :mod:`kaggle_salt.pipeline.training.planner`.
        listener: Told how the work goes.

    Raises:
        SaltError: Before any training, if something asked for cannot be done.
    """
    listener = listener or Listener()
    _refuse_masks(config)
    competition = workspace.open(listener)
    config = settle_for(competition, config, listener)
    hashes = {"data_hash": competition.data_hash}
    compute = choose_compute(device, config.training.precision, config.training.channels_last)
    planner = Planner(run, config, budget, compute, frozenset([NO_FOLD] if overwrite else ()))
    config, plan = planner.recorded(listener)
    refuse_owned(run.path)
    _check_folder(run, config, hashes, resume=resume, overwrite=overwrite)
    if run.training.finished and run.training.tidy and not overwrite:
        listener.note(f"pretraining {run.name} is finished; nothing to do")
        return _report(run, read_pretraining(run.training))
    tiles = PretrainingTiles.of(_all_images(competition))
    weights = _checked_start(run, config, tiles, overwrite, listener)
    if budget and not plan:
        config, plan = planner.make(tiles, listener)
    write = partial(claim, run, config, {**hashes, **weights}, plan, compute, "", kind=PRETRAINING)
    with _owned(run, config, hashes, write, resume=resume, overwrite=overwrite):
        return _learn(run, config, tiles, compute, listener)


@contextmanager
def _owned(
    run: PretrainingRun,
    config: Config,
    hashes: dict[str, str],
    write: Callable[[], None],
    *,
    resume: bool,
    overwrite: bool,
) -> Iterator[None]:
    """Own the run, and let what it is made of be written (``write``) if it is begun anew.

    All is looked at again, for another process may have begun it since.
    """
    with hold(run.path):
        kept = _check_folder(run, config, hashes, resume=resume, overwrite=overwrite)
        if run.pretraining and not kept:
            run.training.clear()
        if not kept:
            write()
        yield


def _learn(
    run: PretrainingRun,
    config: Config,
    tiles: PretrainingTiles,
    compute: Compute,
    listener: Listener,
) -> PretrainingReport:
    if run.training.finished:  # by one that was killed before it was tidy, or by another meanwhile
        summary = read_pretraining(run.training)
        run.training.checkpoint.unlink(missing_ok=True)
    else:
        listener.note(
            f"pretraining {run.name}: {config.pretext.name} on {len(tiles.train_rows)} tiles, "
            f"masks unseen, on {compute}"
        )
        summary = learn(config, tiles, run.training, compute, listener)
    _draw(run, config, tiles.images, summary, compute)
    return _report(run, summary)


def _checked_start(
    run: PretrainingRun,
    config: Config,
    tiles: PretrainingTiles,
    overwrite: bool,
    listener: Listener,
) -> dict[str, Any]:
    """What the manifest says of the weights to start from; what cannot be trained is refused."""
    refuse_to_delete(config.model.weights, [run.path] if overwrite else [])
    begins = overwrite or not run.training.checkpoint.exists()
    weights = examine_for_pretraining(config, listener) if begins else {}
    check_trainable(config, tiles.tile_shape, pretrained=begins, tiles=len(tiles.train_rows))
    return weights


def _refuse_masks(config: Config) -> None:
    if not config.pretrains:
        raise ConfigError(
            "pretext.name = none: these stages learn from masks, and a pretraining sees none",
            expected="a way to learn from tiles alone",
            next_step="--method masked, or --method vicreg",
        )


def _all_images(competition: Competition) -> NDArray[np.uint8]:
    """The pixels of all tiles: all that a pretraining is given of a competition."""
    return np.concatenate([competition.images, competition.test_images])


def _check_folder(
    run: PretrainingRun, config: Config, hashes: dict[str, str], *, resume: bool, overwrite: bool
) -> bool:
    """Refuse to mix configurations or data, or to touch what is half done unasked.

    Returns:
        Whether what was begun with the configuration there stays.
    """
    refuse_both(resume=resume, overwrite=overwrite)
    if overwrite or not run.claimed_folds():
        return False
    refuse_unclaimed(run)
    again = ("pretrain", "--run", run.name)
    changed = differences(load_run_config(run.config), config)
    if changed:
        raise ConfigError(
            f"pretraining {run.name} exists with another configuration ({'; '.join(changed)})",
            expected="one configuration for a run",
            next_step="--run NEW_NAME for a new one, or with the configuration it has: "
            + salt_command(*again, "--config", run.config, *["--resume"] * resume),
        )
    refuse_other_data(run, hashes)
    if not (run.training.finished or resume):
        raise ConfigError(
            f"pretraining {run.name} is half done",
            expected="a decision about what is there",
            next_step=f"go on with it: {salt_command(*again, '--resume')}, or start it anew: "
            + run.training.anew,
        )
    return True


def _report(run: PretrainingRun, summary: PretrainingSummary) -> PretrainingReport:
    return PretrainingReport(run.name, run.training.weights, run.training.picture, summary)


def _draw(
    run: PretrainingRun,
    config: Config,
    images: NDArray[np.uint8],
    summary: PretrainingSummary,
    compute: Compute,
) -> None:
    """Draw some tiles that are not of one grey level, every time the same."""
    order = np.random.default_rng(0).permutation(len(images))[: 8 * SHOWN]
    spread = images[order].reshape(len(order), -1).std(axis=1)
    shown = order[np.argsort(spread < spread.mean() / 2, kind="stable")][:SHOWN]
    panels = pretraining_panels(config, run.training, images[shown], compute)
    pretraining_sheet(
        panels,
        run.training.picture,
        title=f"{run.name}: {summary.method}, {summary.epochs} epochs of {summary.tiles:,} tiles, "
        f"loss {summary.loss:.3f}",
    )
