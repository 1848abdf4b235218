"""Training and inference, beside loops that do nothing but what they must."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console

from benchmarks.harness import Measurement, Setting, in_turn, item, seconds
from kaggle_salt.cli.console import ConsoleListener
from kaggle_salt.config.file import load_config
from kaggle_salt.config.schema import Config
from kaggle_salt.learning.batches import TrainingTiles, targets_of
from kaggle_salt.learning.channels import settle_channels
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import predict
from kaggle_salt.learning.keeping import Keeper
from kaggle_salt.learning.losses import make_loss
from kaggle_salt.learning.networks import build
from kaggle_salt.learning.optim import Schedule, make_optimizer
from kaggle_salt.learning.training import FoldTraining
from kaggle_salt.presets import preset_path
from kaggle_salt.runs import FoldFolder

#: Ours and the peer's way to go through the same batches.
Loops = tuple[Callable[[], object], Callable[[], object]]


@item("train", "ms", 0.97, peer="bare loop")
def train(setting: Setting) -> Measurement:
    """A training step of the preset at full size, in the loop of ``salt train``.

    Ours is an epoch of it: loader, augmentation, framing, clipping, progress bar. The bare loop
    takes framed batches from the device's memory and runs forward, loss, backward and step with
    the same network, loss and optimiser.
    """
    return _rehearsed(setting, shrink=1)


@item("train-half", "ms", 0.95, peer="bare loop")
def train_half(setting: Setting) -> Measurement:
    """A training step of the preset at half its input size, likewise."""
    return _rehearsed(setting, shrink=2)


def _rehearsed(setting: Setting, shrink: int) -> Measurement:
    def loops(steps: int) -> Loops:
        rehearsal = Rehearsal(setting, steps, shrink)
        return rehearsal.ours, rehearsal.bare

    return _in_loops_of_fitting_length(setting, loops)


@item("flip-tta", "ms", 0.97, peer="two bare forwards")
def flip_tta(setting: Setting) -> Measurement:
    """Predicting a batch, twice as large as in training, with flip TTA."""

    def loops(steps: int) -> Loops:
        stream = Stream(setting, steps)
        return stream.predict, stream.two_forwards

    return _in_loops_of_fitting_length(setting, loops)


def _in_loops_of_fitting_length(setting: Setting, loops: Callable[[int], Loops]) -> Measurement:
    """Compare two loops of so many steps that each takes about ``loop_seconds``."""
    ours, _ = loops(1)
    ours()  # the first call is slower
    steps = max(2, int(setting.size.loop_seconds / seconds(ours)))
    return in_turn(*loops(steps), setting.size.pairs, scales=(1000 / steps, 1000 / steps))


def config_of(setting: Setting) -> Config:
    """The preset without pretrained weights, which take no time, with the setting's batches."""
    batch = setting.size.batch
    given = ["model.weights=none", f"training.batch_size={batch}"]
    given.append(f"inference.batch_size={2 * batch}")
    if setting.size.input_side is not None:
        given.append(f"input.size={setting.size.input_side}")
    return settle_channels(load_config(preset_path(setting.preset), given), coloured=False)


class Rehearsal:
    """A stage of the preset at a size of one's own, on so many steps' worth of tiles.

    It is the stage that shrinks its input least, at the ``shrink`` asked for: ``quick`` has none
    at full size.
    """

    def __init__(self, setting: Setting, steps: int, shrink: int) -> None:
        config, tiles = config_of(setting), setting.competition
        self.stage = min(config.stage, key=lambda stage: stage.shrink)  # the first of equals
        rows = np.arange(steps * config.training.batch_size) % len(tiles.ids)
        self.compute = choose_compute(
            setting.device, config.training.precision, config.training.channels_last
        )
        self.network = build(config.model, config.input.channel_count)
        self.watcher = ConsoleListener()
        self.watcher.console = Console(file=io.StringIO(), force_terminal=True)
        self.training = FoldTraining(
            config,
            self.network,
            TrainingTiles(tiles.images, tiles.masks, rows, rows[:0]),
            FoldFolder(setting.folder / "training", 0),
            self.compute,
            self.watcher,
        )
        self.framing = Framing(tiles.tile_shape, config.input, shrink)
        self.loss = make_loss(self.stage.loss)
        self.optimizer = make_optimizer(self.stage.optimizer, self.network)
        self.schedule = Schedule(
            self.stage.schedule, self.stage.optimizer.lr, self.stage.epochs, steps
        )
        self.keeper = Keeper(self.stage, self.training.folder, {})
        device = self.compute.device
        self.batches = [
            (self.framing.prepare(images.to(device)), targets_of(labels.to(device)))
            for images, labels in self.training.loader
        ]

    def ours(self) -> None:
        """An epoch of ``salt train``."""
        step = self.training._step(self.stage, self.framing)
        loss = self.training._train_epoch(
            self.stage, step, self.optimizer, self.schedule, self.keeper
        )
        row: dict[str, object] = {
            "epoch": 1, "stage": self.stage.name, "train_loss": loss, "val_loss": 0.0,
            "score": 0.0, "seconds": 1.0,
        }  # fmt: skip
        self.watcher.epoch_ends(row, 0)  # closes the bar, which else would go on drawing

    def bare(self) -> None:
        """The same batches, framed beforehand: forward, loss, backward and step."""
        self.network.train()
        scaler = torch.amp.GradScaler(
            self.compute.device.type, enabled=self.compute.precision == "float16"
        )
        for inputs, target in self.batches:
            outputs = self.compute.outputs(self.network, inputs).map(self.framing.unframe)
            loss = self.loss(outputs, target)
            self.optimizer.zero_grad()
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(self.optimizer)
            scaler.update()


class Stream:
    """So many batches of tiles, and the preset's network to predict them with flip TTA."""

    def __init__(self, setting: Setting, steps: int) -> None:
        config, tiles = config_of(setting), setting.competition
        self.config = config.inference
        self.compute = choose_compute(
            setting.device, config.training.precision, config.training.channels_last
        )
        network = build(config.model, config.input.channel_count)
        self.network = self.compute.place(network).eval()
        self.tiles = tiles.images[np.arange(steps * self.config.batch_size) % len(tiles.ids)]
        self.framing = Framing(tiles.tile_shape, config.input)
        self.out = np.empty_like(self.tiles)
        self.inputs = [
            self.framing.prepare(torch.from_numpy(batch).to(self.compute.device))
            for batch in np.split(self.tiles, steps)
        ]

    def predict(self) -> None:
        """The way of ``salt ensemble``; fills :attr:`out`."""
        predict(
            [self.network], self.tiles, self.out,
            framing=self.framing, compute=self.compute, config=self.config,
        )  # fmt: skip

    @torch.inference_mode()
    def two_forwards(self) -> None:
        """The network on the framed batches, twice, and nothing else."""
        for batch in self.inputs:
            self.compute.forward(self.network, batch)
            self.compute.forward(self.network, batch)
