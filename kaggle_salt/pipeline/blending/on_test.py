"""The test tiles of an ensemble: predicted by all folds of its runs, maybe in parts, and blended.

What is to be done are blocks of test tiles, fold by fold and run by run. A part is some of them in
a row: it leaves them beside the folds, and who makes the ensemble takes what is there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config.file import load_run_config
from kaggle_salt.ensembling.blending import blend
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.learning.on_test import FoldOnTest, predict_blocks, predict_test
from kaggle_salt.pipeline.blending.foreign import import_again
from kaggle_salt.pipeline.blending.members import Member, open_members
from kaggle_salt.pipeline.parts import parse_part, part_of
from kaggle_salt.pipeline.workspace import Listener, Progress, Workspace
from kaggle_salt.predictions import Predictions, load
from kaggle_salt.runs import RunFolder

#: A block of test tiles, and the fold that is to predict it.
Block = tuple[FoldOnTest, slice]


@dataclass(frozen=True)
class Helpers:
    """Other processes that predict the test tiles before they are blended.

    Args:
        predict: Is given the runs, all blocks, and the folder of the ensemble for what it has to
            keep; it comes back when the blocks are predicted.
        any_format: Whether they may compute in another number format than this machine.
    """

    predict: Callable[[Sequence[Member], Sequence[Block], Path], None]
    any_format: bool = False


@dataclass(frozen=True)
class PartReport:
    """What ``salt ensemble --part`` did.

    Args:
        runs: Names of the runs whose folds predict.
        blocks: Blocks of test tiles, of all their folds together.
        predicted: Those that are predicted by now.
    """

    runs: tuple[str, ...]
    blocks: int
    predicted: int


def blend_test(
    members: Sequence[Member],
    competition: Competition,
    stem: Path,
    how: str,
    device: str,
    listener: Listener,
    helpers: Helpers | None = None,
) -> None:
    """Predict the test tiles with every fold of the runs, and write their blend.

    All folds of all runs are averaged at once, each with its part of its run's weight. For
    ``mean`` that is the mean of the runs' means; a ``vote`` is one of all networks.

    Args:
        members: The runs and their weights.
        competition: Where the test tiles are.
        stem: Where to write the blend (see :mod:`kaggle_salt.predictions`).
        how: The average, one of :data:`kaggle_salt.ensembling.blending.AVERAGES`.
        device: Where the networks run.
        listener: Told how the work goes.
        helpers: Who predicts first; what they leave is predicted here.
    """
    if not competition.test_ids:
        listener.warn("there are no test tiles: the ensemble can be scored but not submitted")
        return
    any_format = helpers is not None and helpers.any_format
    if helpers:
        blocks = blocks_of(members, competition, device, listener, any_format)
        helpers.predict(members, blocks, stem.parent)
    parts, weights = [], []
    for member in members:
        if member.foreign:
            parts.append(load(member.run.test, next_step=import_again(member.run)))
            weights.append(member.weight)
        for fold in member.folds:
            parts.append(predict_fold(member.run, fold, competition, device, listener, any_format))
            weights.append(member.weight / len(member.folds))
    blend(parts, weights=weights, how=how, stem=stem)


def predict_fold(
    run: RunFolder,
    fold: int,
    competition: Competition,
    device: str,
    listener: Listener,
    any_format: bool = False,
) -> Predictions:
    """Predict the test tiles with a finished fold, or take the predictions that are there.

    Args:
        run: The run.
        fold: One of its finished folds.
        competition: Where the test tiles are.
        device: Where the network runs.
        listener: Told how the work goes.
        any_format: Take predictions that were made in another number format, too.

    Returns:
        Memory-mapped predictions.
    """
    ready = _on_test(run, fold, competition, device, listener, any_format)
    return predict_test(ready, _bar(ready, listener))


def predict_part(
    workspace: Workspace,
    runs: Sequence[str] = (),
    *,
    part: str,
    device: str = "auto",
    listener: Listener | None = None,
) -> PartReport:
    """Predict a part of the test tiles that an ensemble of the runs needs, and nothing more.

    What is there is not predicted again; several machines may do parts at the same time.

    Args:
        workspace: Where data, fold table and runs lie.
        runs: Names of runs; by default the one trained last.
        part: ``2/4`` for the second of four.
        device: Where the test tiles are predicted.
        listener: Told how the work goes.

    Raises:
        ConfigError: Unknown run, no trained fold, or no such part.
        DataError: There are no test tiles, or a run does not belong to this data.
    """
    listener, share = listener or Listener(), parse_part(part)
    competition = workspace.open(listener)
    competition.require_test_tiles("to predict")
    members = open_members(workspace, runs, None, competition, listener)
    everything = blocks_of(members, competition, device, listener)
    for fold, mine in itertools.groupby(blocks_in(everything, *share), lambda one: one[0]):
        predict_blocks(fold, [block for _, block in mine], _bar(fold, listener))
    names = tuple(member.run.name for member in members)
    return PartReport(names, len(everything), len(everything) - len(missing_in(everything)))


def blocks_of(
    members: Sequence[Member],
    competition: Competition,
    device: str,
    listener: Listener,
    any_format: bool = False,
) -> list[Block]:
    """All blocks of test tiles that the folds of the runs are to predict, in one order."""
    folds = [
        _on_test(member.run, fold, competition, device, listener, any_format)
        for member in members
        for fold in member.folds
    ]
    return [(fold, block) for fold in folds for block in fold.blocks]


def blocks_in(blocks: Sequence[Block], part: int, parts: int) -> Sequence[Block]:
    """A part of the blocks; see :func:`kaggle_salt.pipeline.parts.part_of`."""
    sizes = [block.stop - block.start for _, block in blocks]
    return blocks[part_of(sizes, part, parts)] if sizes else blocks


def missing_in(blocks: Sequence[Block]) -> list[Block]:
    """Those of some blocks that are still to be predicted."""
    return [
        (fold, block)
        for fold, some in itertools.groupby(blocks, lambda one: one[0])
        for block in fold.missing([block for _, block in some])
    ]


def _on_test(
    run: RunFolder,
    fold: int,
    competition: Competition,
    device: str,
    listener: Listener,
    any_format: bool,
) -> FoldOnTest:
    config = load_run_config(run.config)
    compute = choose_compute(device, config.training.precision, config.training.channels_last)
    return FoldOnTest(
        config, run.fold(fold), competition.test_ids, competition.test_images,
        competition.test_hash, compute, any_format, listener.warn,
    )  # fmt: skip


def _bar(fold: FoldOnTest, listener: Listener) -> Progress:
    return listener.progress(f"{fold.folder.run} fold {fold.folder.fold}: test tiles")
