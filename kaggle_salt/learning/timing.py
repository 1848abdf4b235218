"""What an epoch of each stage costs on this machine: the training itself, in miniature, timed.

A few steps of every stage are trained and a few tiles validated by the very loop that will train
the fold, loader and checkpoint included. So nothing it does is forgotten, and there is no second
loop that could differ from it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from kaggle_salt.config.schema import Config
from kaggle_salt.config.stage import ScheduleConfig, StageConfig
from kaggle_salt.learning.batches import EpochSampler, PretrainingTiles, TrainingTiles
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.mishaps import enough_memory, set_batch_size
from kaggle_salt.learning.networks import build
from kaggle_salt.learning.training import FoldTraining
from kaggle_salt.runs import FoldFolder

#: Optimiser steps of a timed epoch, and the tiles validated after it.
STEPS, VALIDATED = 4, 64

#: Epochs of each stage: one that warms up, and those that are timed.
WARM_UP, TIMED = 1, 2

#: Gives seconds; only differences count.
Clock = Callable[[], float]


@dataclass(frozen=True)
class StageTime:
    """What a stage costs, in seconds.

    Args:
        step: An optimiser step, its batch included.
        validation: A tile validated after an epoch.
        checkpoint: Saving all that a resume needs, once an epoch.
        warm_up: What the first steps take longer than the others, once.
    """

    step: float
    validation: float
    checkpoint: float
    warm_up: float


@dataclass(frozen=True)
class StageCost:
    """What a stage costs with all the tiles of a fold, in seconds.

    Args:
        epoch: An epoch, validation and checkpoint included.
        once: What comes once, however many the epochs.
    """

    epoch: float
    once: float


class _Stopwatch:
    """A watcher that writes down when epochs begin, are trained, and are validated."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps = 0
        self.steps: list[int] = []  #: of each epoch
        self.begun: list[float] = []
        self.trained: list[float] = []
        self.validated: list[float] = []

    def epoch_starts(self, title: str, steps: int) -> None:
        self._steps = steps
        self.begun.append(self._clock())

    def steps_done(self, steps: int, loss: float) -> None:
        if steps == self._steps:  # the loss is known: a GPU is waited for
            self.trained.append(self._clock())
            self.steps.append(steps)

    def epoch_ends(self, row: dict[str, object], epochs_left: float) -> None:
        self.validated.append(self._clock())

    def read(self, first: int, tiles: int) -> StageTime:
        """The times of a stage whose epochs begin with the one numbered ``first``."""
        epochs = range(first, first + WARM_UP + TIMED)
        steps = [(self.trained[n] - self.begun[n]) / self.steps[n] for n in epochs]
        step = mean(steps[WARM_UP:])
        timed = epochs[WARM_UP:]
        return StageTime(
            step=step,
            validation=mean(self.validated[n] - self.trained[n] for n in timed) / max(tiles, 1),
            checkpoint=mean(self.begun[n + 1] - self.validated[n] for n in epochs[:-1]),
            warm_up=max(0.0, (steps[0] - step) * self.steps[first]),
        )


def time_stages(
    config: Config,
    tiles: TrainingTiles | PretrainingTiles,
    compute: Compute,
    *,
    clock: Clock = time.monotonic,
) -> list[StageTime]:
    """Train a few steps of every stage, and time them.

    Stages that cost the same are timed once; what comes once is then the first one's alone.

    Args:
        config: What would be trained. The weights it starts from are not read.
        tiles: All tiles with masks, and a fold's rows, or what is pretrained on; a few are taken.
        compute: Device and number format.
        clock: Gives seconds.

    Returns:
        The times of each stage.

    Raises:
        TrainingError: The network cannot be compiled.
    """
    kinds = [_kind(stage) for stage in config.stage]
    alike = {kind: number for number, kind in reversed(list(enumerate(kinds)))}
    numbers = sorted(alike.values())
    few = replace(
        tiles,
        train_rows=tiles.train_rows[: STEPS * config.training.batch_size],
        validation_rows=tiles.validation_rows[:VALIDATED],
    )
    short = config.model_copy(update={"stage": tuple(kinds[number] for number in numbers)})
    watch = _Stopwatch(clock)
    network = build(config.model, config.input.channel_count, pretrained=False)
    with tempfile.TemporaryDirectory(prefix="salt-timing-") as folder:
        with enough_memory(config.training.batch_size, set_batch_size):
            FoldTraining(short, network, few, FoldFolder(Path(folder), 0), compute, watch).run()
    count = len(few.validation_rows)
    times = {
        number: watch.read(place * (WARM_UP + TIMED), count) for place, number in enumerate(numbers)
    }
    return [
        times[number] if number in times else replace(times[alike[kind]], warm_up=0.0)
        for number, kind in enumerate(kinds)
    ]


def _kind(stage: StageConfig) -> StageConfig:
    """All of a stage that a step's time hangs on; stages of one kind cost the same."""
    # the rate does not, and the least of them leaves the loss a number
    changed = {
        "name": "timing",
        "epochs": WARM_UP + TIMED,
        "optimizer": stage.optimizer.model_copy(update={"lr": 1e-8}),
        "schedule": ScheduleConfig(name="constant"),
        "keep": "ema" if stage.keep == "ema" else "last",
        "average_over": "epochs",
        "monitor": "score",
        "early_stopping": 0,
    }
    return stage.model_copy(update=changed)


def stage_costs(
    config: Config, times: Sequence[StageTime], tiles: TrainingTiles | PretrainingTiles
) -> list[StageCost]:
    """What each stage costs with all tiles of a fold, or of a pretraining.

    What comes once: averaged weights see the training tiles again for their batch-norm
    statistics, and after the last stage its networks predict the validation tiles.

    Args:
        config: The configuration that was timed.
        times: Of each stage.
        tiles: The fold's.
    """
    sampler = EpochSampler(
        tiles.train_rows, config.training.batch_size, config.training.seed, tiles.pseudo_rows
    )
    validated, last = len(tiles.validation_rows), config.stage[-1]
    costs = []
    for stage, time_ in zip(config.stage, times, strict=True):
        sampler.choose(stage.tiles, config.pseudo.share)
        epoch = len(sampler) * time_.step + validated * time_.validation + time_.checkpoint
        passes = len(tiles.train_rows) if stage.keep in ("average", "ema") else 0
        if stage is last:
            networks = stage.epochs // stage.cycle if stage.keep == "snapshots" else 1
            passes += validated * networks * (2 if config.inference.tta == "flip" else 1)
        costs.append(StageCost(epoch, passes * time_.validation + time_.warm_up))
    return costs
