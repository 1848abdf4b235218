"""The learning-rate range test: a short training whose rate rises exponentially.

Source: Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from kaggle_salt.config.schema import Config
from kaggle_salt.config.stage import OptimizerConfig, StageConfig
from kaggle_salt.errors import TrainingError
from kaggle_salt.learning.batches import (
    EpochSampler,
    TileDataset,
    TrainingTiles,
    targets_of,
    train_loader,
)
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.losses import make_loss
from kaggle_salt.learning.mishaps import enough_memory, set_batch_size
from kaggle_salt.learning.networks import build
from kaggle_salt.learning.optim import make_optimizer, set_learning_rate
from kaggle_salt.learning.scaling import LossScaling
from kaggle_salt.learning.training import Watcher, fold_seed

#: What a step leaves of the smoothed loss before it.
SMOOTHING = 0.9
#: A smoothed loss this many times its lowest ends the sweep: the training has diverged.
DIVERGED = 4.0

#: Network inputs float ``[B, C, S, S]`` and target float32 ``[B, 1, H, W]`` in [0, 1].
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Suggestion:
    """Two readings of a sweep, rounded to two digits; both are customary highest rates.

    Args:
        steepest: Where the smoothed loss falls fastest against the logarithm of the rate.
        tenth_of_lowest: A tenth of the rate at which the smoothed loss is lowest.
    """

    steepest: float
    tenth_of_lowest: float


def sweep_stage(
    config: Config,
    stage: StageConfig,
    tiles: TrainingTiles,
    fold: int,
    rates: Sequence[float],
    compute: Compute,
    watcher: Watcher,
) -> pd.DataFrame:
    """Sweep the rates with a stage's loss and optimiser, on the batches that the fold begins with.

    The network starts from ``model.weights``, as the first stage does, whichever stage it is.
    What a stage learns from tiles without masks is left out.

    Args:
        config: The run's configuration.
        stage: One of its stages.
        tiles: All tiles with masks, and the fold's rows.
        fold: Number of the fold: part of the seed.
        rates: Learning rates, ascending, one a step.
        compute: Device and number format.
        watcher: Told of every step.

    Returns:
        See :func:`sweep_rates`.
    """
    seed = fold_seed(config, fold)
    torch.manual_seed(seed)
    network = compute.place(build(config.model, config.input.channel_count))
    framing = Framing(tiles.tile_shape, config.input, stage.shrink)
    loss = make_loss(stage.loss)

    def loss_of(batch: Batch) -> Tensor:
        inputs, target = batch
        return loss(compute.outputs(network, inputs).map(framing.unframe), target)

    batches = _batches(config, tiles, seed, framing, compute.device)
    watcher.epoch_starts(f"{stage.name}, rising rate", len(rates))
    with enough_memory(config.training.batch_size, set_batch_size):
        return sweep_rates(
            network, batches, loss_of, stage.optimizer, rates, watcher.steps_done, compute
        )


def _batches(
    config: Config, tiles: TrainingTiles, seed: int, framing: Framing, device: torch.device
) -> Iterator[Batch]:
    """The batches of a training, epoch after epoch without end."""
    sampler = EpochSampler(tiles.train_rows, config.training.batch_size, seed)
    dataset = TileDataset(tiles, config.augment, seed)
    loader = train_loader(dataset, sampler, device, config.training.workers)
    while True:
        for images, labels in loader:
            inputs = framing.prepare(images.to(device, non_blocking=True))  # [B, C, S, S]
            yield inputs, targets_of(labels.to(device, non_blocking=True))  # [B, 1, H, W]
        sampler.epoch += 1


def sweep_rates(
    network: nn.Module,
    batches: Iterable[Batch],
    loss_of: Callable[[Batch], Tensor],
    optimizer: OptimizerConfig,
    rates: Sequence[float],
    steps_done: Callable[[int, float], None],
    compute: Compute,
) -> pd.DataFrame:
    """Train for one step with each rate and look at the loss; then undo it all.

    The sweep ends early when the loss is not a number or its smoothed value is four times the
    lowest before. Afterwards the network's weights, batch-norm statistics and mode are what they
    were, and so is torch's random state.

    Args:
        network: What ``loss_of`` trains.
        batches: At least as many as rates.
        loss_of: The loss of a batch, a scalar that knows its gradient.
        optimizer: The table that describes it; its ``lr`` does not matter.
        rates: Learning rates, ascending.
        steps_done: Called with (steps, smoothed loss) after every step.
        compute: Device and number format.

    Returns:
        A row for each step: ``lr``, ``loss`` (before the step), and ``smoothed``, its
        bias-corrected exponential moving average.
    """
    rows = []
    lowest = math.inf
    smoothing, scaling = _Smoothing(), LossScaling(compute)
    with _undone(network):
        network.train()
        stepper = make_optimizer(optimizer, network)
        for rate, batch in zip(rates, batches, strict=False):
            loss = loss_of(batch)
            value = loss.item()
            smoothed = smoothing.add(value)
            if not math.isfinite(smoothed):
                break
            rows.append((rate, value, smoothed))
            steps_done(len(rows), smoothed)
            lowest = min(lowest, smoothed)
            if smoothed > DIVERGED * lowest:
                break
            set_learning_rate(stepper, rate)
            scaling.step(loss, network, stepper, optimizer.clip)
    return pd.DataFrame(rows, columns=["lr", "loss", "smoothed"])


class _Smoothing:
    """An exponential moving average, corrected for the zero that it starts from."""

    def __init__(self) -> None:
        self.average, self.steps = 0.0, 0

    def add(self, value: float) -> float:
        """Take a value in; the average so far."""
        self.steps += 1
        self.average = SMOOTHING * self.average + (1 - SMOOTHING) * value
        return self.average / (1 - SMOOTHING**self.steps)


@contextmanager
def _undone(network: nn.Module) -> Iterator[None]:
    """Give back what a training changes: state and mode of the network, torch's random state."""
    state = copy.deepcopy(network.state_dict())
    was_training = network.training
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            yield
        finally:
            network.load_state_dict(state)
            network.zero_grad()
            network.train(was_training)


def suggest(curve: pd.DataFrame) -> Suggestion:
    """Read a sweep: see :class:`Suggestion`.

    The descent is that of a straight line through a fifth of the steps. From one step to the
    next it would be the noise of single batches: for the preset ``quick``, whose own rate is
    .004, that picked .02 with two seeds, where the line picks .0033 and .0025.

    Args:
        curve: See :func:`sweep_rates`; the rates are spaced evenly in their logarithm.

    Raises:
        TrainingError: The loss falls nowhere.
    """
    rates, smoothed = curve["lr"].to_numpy(), curve["smoothed"].to_numpy()
    reach = max(len(curve) // 10, 1)
    width = 2 * reach + 1
    slopes = np.zeros(0)
    if len(curve) >= width:
        windows = np.lib.stride_tricks.sliding_window_view(smoothed, width)  # [N - 2 reach, width]
        slopes = np.polyfit(np.arange(width), windows.T, deg=1)[0]  # [N - 2 reach], per step
    if slopes.min(initial=0) >= 0:
        raise TrainingError(
            f"the loss falls nowhere in the {len(curve)} steps of the sweep",
            expected="a range of rates in which it falls before it rises",
            next_step="lower --min and --max, or more --steps",
        )
    steepest, lowest = rates[reach + slopes.argmin()], rates[smoothed.argmin()]
    return Suggestion(float(f"{steepest:.2g}"), float(f"{lowest / 10:.2g}"))
