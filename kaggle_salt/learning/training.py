"""The stages of a training: a loop that can be read from top to bottom.

What is learnt from a batch is the stage's step: masks, or what a pretraining can learn from tiles
alone. A stage has its optimiser and schedule, and hands on its last, best or averaged weights; the
next stage starts from those with a fresh optimiser. After every epoch everything a resume needs is
on disk, so that a kill costs the running epoch and nothing else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kaggle_salt.config.schema import Config
from kaggle_salt.config.stage import OptimizerConfig, StageConfig
from kaggle_salt.errors import TrainingError
from kaggle_salt.learning.averaging import reestimate_batch_norm
from kaggle_salt.learning.batches import (
    EpochSampler,
    PretrainingTiles,
    TileDataset,
    TrainingTiles,
    train_loader,
)
from kaggle_salt.learning.checkpoint import (
    Checkpoint,
    Progress,
    load_checkpoint,
    save_checkpoint,
)
from kaggle_salt.learning.consistency import MeanTeacher
from kaggle_salt.learning.device import Compute, compiled, explained_failures
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.keeping import Keeper
from kaggle_salt.learning.mishaps import living_workers
from kaggle_salt.learning.optim import Schedule, make_optimizer, set_learning_rate
from kaggle_salt.learning.pretext import learner_of, pretext_step
from kaggle_salt.learning.running_loss import RunningLoss
from kaggle_salt.learning.scaling import MOST_SKIPPED, LossScaling
from kaggle_salt.learning.steps import SegmentationStep, Step
from kaggle_salt.runs import TrainingFolder
from kaggle_salt.storage.files import write_text

#: Optimiser steps between two looks at the loss.
LOOK_EVERY = 20


class Watcher(Protocol):
    """Whoever follows a training: the command line's bar, or nobody."""

    def epoch_starts(self, title: str, steps: int) -> None: ...
    def steps_done(self, steps: int, loss: float) -> None: ...
    def epoch_ends(self, row: dict[str, object], epochs_left: float) -> None: ...


class FoldTraining:
    """Trains one fold, or pretrains a network, or goes on with it where its checkpoint ends.

    Args:
        config: The run's configuration.
        network: Built under the fold's seed; overwritten by the checkpoint if there is one.
        tiles: Training and validation tiles; for a pretraining tiles alone.
        folder: Where checkpoint and history are written.
        compute: Device and number format.
        watcher: Told of every epoch and some steps.
    """

    def __init__(
        self,
        config: Config,
        network: nn.Module,
        tiles: TrainingTiles | PretrainingTiles,
        folder: TrainingFolder,
        compute: Compute,
        watcher: Watcher,
    ) -> None:
        self.config = config
        self.tiles = tiles
        self.folder = folder
        self.compute = compute
        self.watcher = watcher
        self.network = compute.place(learner_of(config, network, tiles.tile_shape))
        training = config.training
        # for the steps alone: validation, averages and checkpoints keep to the network itself
        self.step_network = compiled(self.network) if training.compile else self.network
        self.seed = fold_seed(config, folder.fold)
        self.sampler = EpochSampler(
            tiles.train_rows, training.batch_size, self.seed, tiles.pseudo_rows
        )
        dataset = TileDataset(tiles, config.augment, self.seed)
        self.loader = train_loader(dataset, self.sampler, compute.device, training.workers)
        self.scaling = LossScaling(compute)
        self.progress = Progress()

    def run(self) -> Progress:
        """Train all stages; the network then holds the last stage's weights.

        Raises:
            TrainingError: The loss is not a number any more, no step can be made in float16, the
                checkpoint is damaged, or the network cannot be compiled.
        """
        checkpoint = None
        if self.folder.checkpoint.exists():
            checkpoint = load_checkpoint(self.folder, self.compute.device)
            self.progress = checkpoint.restore(self.network)
            self.scaling.load_state_dict(self.progress.scaling)
        for number in range(self.progress.stage, len(self.config.stage)):
            self._train_stage(self.config.stage[number], checkpoint)
            checkpoint = None
        return self.progress

    def _train_stage(self, stage: StageConfig, checkpoint: Checkpoint | None) -> None:
        progress = self.progress
        self.sampler.choose(stage.tiles, self.config.pseudo.share)
        framing = Framing(self.tiles.tile_shape, self.config.input, stage.shrink)
        step = self._step(stage, framing)
        optimizer = make_optimizer(stage.optimizer, self.network)
        schedule = Schedule(stage.schedule, stage.optimizer.lr, stage.epochs, len(self.sampler))
        keeper = Keeper(stage, self.folder, progress.kept)
        if checkpoint and progress.stage_epoch > 0:
            checkpoint.restore_optimizer(optimizer)
            schedule.state = dict(progress.schedule)
        while progress.stage_epoch < stage.epochs and not self._stops_early(stage):
            started = time.monotonic()
            with explained_failures(), living_workers(self.loader, self.folder):
                train_loss = self._train_epoch(stage, step, optimizer, schedule, keeper)
            improved = self._end_epoch(stage, schedule, train_loss, step, started)
            keeper.after_epoch(self.network, progress.stage_epoch, improved=improved)
            progress.kept = keeper.state_dict()
            progress.teacher = step.state_dict()
            progress.scaling = self.scaling.state_dict()
            save_checkpoint(self.folder.checkpoint, progress, self.network, optimizer)
        if keeper.hand_on(self.network):
            reestimate_batch_norm(self.network, self._plain_inputs(framing), self.compute.forward)
        progress.next_stage()
        save_checkpoint(self.folder.checkpoint, progress, self.network, None)

    def _step(self, stage: StageConfig, framing: Framing) -> Step:
        own, called, compute = self.network, self.step_network, self.compute
        if not isinstance(self.tiles, TrainingTiles):
            return pretext_step(self.config, own, called, framing, compute)
        teacher = None
        if stage.consistency.weight:
            teacher = MeanTeacher(
                self.config, stage, own, self.tiles.unlabelled, framing, compute,
                seed=self.seed, steps=len(self.sampler), state=self.progress.teacher,
            )  # fmt: skip
        return SegmentationStep(stage, own, called, self.tiles, framing, compute, teacher)

    def _train_epoch(
        self,
        stage: StageConfig,
        step: Step,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        keeper: Keeper,
    ) -> float:
        """One pass over the training tiles; returns the mean loss, for which alone it waits."""
        progress, steps = self.progress, len(self.sampler)
        self.sampler.epoch = progress.epoch
        self.network.train()
        self.watcher.epoch_starts(f"{stage.name} {progress.stage_epoch + 1}/{stage.epochs}", steps)
        running = RunningLoss(self.compute.device)
        self.scaling.skipped = 0
        first_step = progress.stage_epoch * steps
        step.begin_epoch(progress.epoch, first_step)
        for number, batch in enumerate(self.loader, start=1):
            set_learning_rate(optimizer, schedule.learning_rate(first_step + number - 1))
            batch_loss = step.loss(
                [part.to(self.compute.device, non_blocking=True) for part in batch]
            )
            if self.scaling.step(batch_loss, self.network, optimizer, stage.optimizer.clip):
                keeper.after_step(self.network)
                step.after_step()
            running.add(batch_loss)
            self._refuse_endless_skipping(stage, number)
            if number % LOOK_EVERY == 0 and number < steps:
                self._report(stage, number, running.look())
        mean = running.mean()
        self._report(stage, steps, mean)
        return mean

    def _report(self, stage: StageConfig, steps: int, loss: float | None) -> None:
        """Tell the watcher the mean loss, if one is known already."""
        if loss is not None:
            self._refuse_nan(loss, stage)
            self.watcher.steps_done(steps, loss)

    def _refuse_nan(self, loss: float, stage: StageConfig) -> None:
        if math.isfinite(loss):
            return
        epoch = self.progress.stage_epoch + 1
        exact = str(self.compute).endswith("float32")  # what it fails in is no advice
        raise TrainingError(
            f"the training loss of stage '{stage.name}' is {loss} in epoch {epoch}",
            expected="a finite loss; the checkpoint of the epoch before is untouched",
            next_step=f"a run with a lower rate: {self._slower_run(stage)}"
            + ("" if exact else ", or one with --set training.precision=float32"),
        )

    def _refuse_endless_skipping(self, stage: StageConfig, step: int) -> None:
        if self.scaling.row < MOST_SKIPPED:
            return
        raise TrainingError(
            f"the gradients of stage '{stage.name}' overflow float16 in {self.scaling.row} steps "
            f"one after the other, up to step {step} of epoch {self.progress.stage_epoch + 1}",
            expected="gradients that float16 holds at some scale of the loss; the checkpoint of "
            "the epoch before is untouched",
            next_step="a run in another number format: "
            f"{self.folder.variation('float32', '--set', 'training.precision=float32')}",
        )

    def _slower_run(self, stage: StageConfig) -> str:
        """The command for a new run of the same; the run that failed keeps what it has."""
        key, optimizer = f"stage.{stage.name}.optimizer", stage.optimizer
        clips = optimizer.normalized or 0 < optimizer.clip <= 1
        lower = optimizer.lr / 4 if optimizer.lr <= 4 else OptimizerConfig().lr
        clip = [] if clips else ["--set", f"{key}.clip=1.0"]
        return self.folder.variation("slower", "--set", f"{key}.lr={lower:g}", *clip)

    def _end_epoch(
        self,
        stage: StageConfig,
        schedule: Schedule,
        train_loss: float,
        step: Step,
        started: float,
    ) -> bool:
        """Judge the epoch and write it down; whether its monitored figure was never as good."""
        progress, measured = self.progress, step.measure(train_loss)
        last_step = (progress.stage_epoch + 1) * len(self.sampler) - 1
        lr = schedule.learning_rate(last_step)
        improved = progress.judge(measured.cost)
        schedule.end_epoch(measured.cost)
        progress.schedule = dict(schedule.state)
        progress.stage_epoch += 1
        progress.epoch += 1
        seconds = time.monotonic() - started
        progress.seconds += seconds
        row: dict[str, object] = {
            "stage": stage.name,
            "epoch": progress.epoch,
            "lr": lr,
            "train_loss": train_loss,
            **measured.figures,
            **({"skipped": self.scaling.skipped} if self.scaling.scales else {}),
            "seconds": round(seconds, 3),
        }
        progress.history.append(row)
        # in the columns of today: the first epochs may be from before some of them were measured
        table = pd.DataFrame(progress.history, columns=list(row))
        write_text(self.folder.history, table.to_csv(index=False, float_format="%.6g"))
        self.watcher.epoch_ends(row, self._epochs_left(stage))
        return improved

    def _epochs_left(self, stage: StageConfig) -> float:
        """Work to do, in epochs as long as the one just ended; an epoch costs as its pixels."""
        later = self.config.stage[self.progress.stage + 1 :]
        rest = stage.epochs - self.progress.stage_epoch
        return rest + sum(other.epochs * (stage.shrink / other.shrink) ** 2 for other in later)

    def _stops_early(self, stage: StageConfig) -> bool:
        """Whether nothing has improved for long, and nothing kept would be lost by stopping."""
        stalled = 0 < stage.early_stopping <= self.progress.bad_epochs
        return stalled and stage.may_stop_after(self.progress.stage_epoch)

    def _plain_inputs(self, framing: Framing) -> Iterator[Tensor]:
        """Network inputs of all training tiles as they are, in batches of nearly one size."""
        # no short rest: batch norm behind a global pooling fails on a single tile
        rows, size = self.tiles.train_rows, self.config.training.batch_size
        for batch in np.array_split(rows, math.ceil(len(rows) / size)):
            tiles = torch.from_numpy(self.tiles.images[batch])
            yield framing.prepare(tiles.to(self.compute.device))


def fold_seed(config: Config, fold: int) -> int:
    """Seed of a fold's initial weights, batches and augmentation: folds draw differently."""
    return config.training.seed * 1000 + fold
