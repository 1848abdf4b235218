"""Training and inference, beside loops that do nothing but what they must."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from benchmarks.items import Measurement, Setting, Target, item
from benchmarks.timing import calls_within, in_turn
from kaggle_salt.cli.console import ConsoleListener
from kaggle_salt.config import Config
from kaggle_salt.config_file import load_config
from kaggle_salt.learning.averaging import reestimate_batch_norm
from kaggle_salt.learning.batches import TrainingTiles
from kaggle_salt.learning.channels import settle_channels
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import predict
from kaggle_salt.learning.keeping import Keeper
from kaggle_salt.learning.losses import make_loss
from kaggle_salt.learning.networks import build
from kaggle_salt.learning.optim import Schedule, make_optimizer
from kaggle_salt.learning.outputs import Outputs
from kaggle_salt.learning.training import FoldTraining
from kaggle_salt.presets import preset_path
from kaggle_salt.runs import FoldFolder


@item("train-resnet34", "ms", Target(0.97, at_any_size=True, on_gpu=0.95), peer="bare loop")
def train_resnet34(setting: Setting) -> Measurement:
    """A training step of ``resnet34`` beside a bare loop's.

    Ours is the loop of ``salt train`` for an epoch: loader, augmentation, framing, clipping,
    progress bar. The bare one takes framed batches from the device's memory and runs forward,
    loss, backward and step with the same network, loss and optimiser. Target: 0.97, on a GPU
    0.95.
    """
    return _training(setting, "resnet34", shrink=1)


@item("train-quick-half", "ms", peer="bare loop")
def train_quick_half(setting: Setting) -> Measurement:
    """A training step of ``quick`` at half its input size, likewise."""
    return _training(setting, "quick", shrink=2)


@item("train-quick", "ms", peer="bare loop")
def train_quick(setting: Setting) -> Measurement:
    """A training step of ``quick`` at its full input size, likewise."""
    return _training(setting, "quick", shrink=1)


@item("flip-tta", "ms", Target(0.97, at_any_size=True, on_gpu=0.97), peer="two bare forwards")
def flip_tta(setting: Setting) -> Measurement:
    """Predicting a batch with ``resnet34`` and flip TTA, beside two bare forwards.

    A batch is twice as large as in training. Target: 0.97.
    """

    def loops(steps: int) -> Loops:
        stream = Stream(setting, "resnet34", steps)
        return stream.predict, stream.two_forwards

    return in_loops_of_fitting_length(setting, loops)


Loops = tuple[Callable[[], object], Callable[[], object]]


def _training(setting: Setting, preset: str, shrink: int) -> Measurement:
    def loops(steps: int) -> Loops:
        rehearsal = Rehearsal(setting, preset, shrink, steps)
        return rehearsal.ours, rehearsal.bare

    return in_loops_of_fitting_length(setting, loops)


def in_loops_of_fitting_length(setting: Setting, loops: Callable[[int], Loops]) -> Measurement:
    """Compare two loops of so many steps that each takes about ``loop_seconds``."""
    ours, _ = loops(1)
    steps = calls_within(ours, setting.size.loop_seconds)
    to_ms_a_step = 1000 / steps
    return in_turn(*loops(steps), setting.size.pairs, scales=(to_ms_a_step, to_ms_a_step))


class Rehearsal:
    """The first stage of a preset with a given shrink, on so many steps' worth of tiles.

    Args:
        setting: Where the tiles come from, and where the network is trained.
        preset: Its name.
        shrink: That of the stage.
        steps: Number of batches.
        overrides: Keys of the preset to set, each as ``KEY=VALUE``.
    """

    def __init__(
        self, setting: Setting, preset: str, shrink: int, steps: int, *overrides: str
    ) -> None:
        config = config_of(setting, preset, *overrides)
        self.stage = next(stage for stage in config.stage if stage.shrink == shrink)
        tiles, batch = setting.competition, config.training.batch_size
        rows = np.arange(steps * batch) % len(tiles.ids)
        self.compute = choose_compute(
            setting.device, config.training.precision, config.training.channels_last
        )
        torch.manual_seed(0)  # two rehearsals of a preset begin with the same network
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
            (self.framing.prepare(images.to(device)), masks.to(device)[:, None])
            for images, masks in self.training.loader
        ]

    def ours(self) -> float:
        """An epoch of ``salt train``; its mean loss."""
        loss = self.training._train_epoch(
            self.stage,
            self.framing,
            self.loss,
            self.optimizer,
            self.schedule,
            self.keeper,
        )
        row: dict[str, object] = {
            "epoch": 1, "stage": self.stage.name, "train_loss": loss, "val_loss": 0.0,
            "score": 0.0, "seconds": 1.0,
        }  # fmt: skip
        self.watcher.epoch_ends(row, 0)  # closes the bar, which else would go on drawing
        return loss

    def bare(self) -> None:
        """The same batches, framed beforehand: forward, loss, backward and step."""
        self.network.train()
        for inputs, target in self.batches:
            logits = self.framing.unframe(self.compute.forward(self.network, inputs))
            loss = self.loss(Outputs(logits), target)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()


#: Enough to know how large activations are.
FEW_TILES = 8


class Stream:
    """So many batches of tiles, and a network of a preset to predict them with flip TTA.

    Args:
        setting: Where the tiles come from, and where the network runs.
        preset: Its name.
        steps: Number of batches.
        overrides: Keys of the preset to set, each as ``KEY=VALUE``.
    """

    def __init__(self, setting: Setting, preset: str, steps: int, *overrides: str) -> None:
        config = config_of(setting, preset, *overrides)
        self.config = config.inference
        self.compute = choose_compute(
            setting.device, config.training.precision, config.training.channels_last
        )
        torch.manual_seed(0)  # two streams of a preset have the same network
        network = build(config.model, config.input.channel_count)
        self.network = self.compute.place(network).eval()
        images = setting.competition.images
        self.tiles = images[np.arange(steps * self.config.batch_size) % len(images)]
        self.framing = Framing(setting.competition.tile_shape, config.input)
        self.out = np.empty_like(self.tiles)
        # an untrained network's activations grow from layer to layer unless they are normalised
        in_float32 = replace(self.compute, bf16=False).forward
        reestimate_batch_norm(self.network, [self.inputs[0][:FEW_TILES]], in_float32)

    @cached_property
    def inputs(self) -> list[Tensor]:
        """The framed batches, on the device."""
        batches = np.split(self.tiles, len(self.tiles) // self.config.batch_size)
        return [
            self.framing.prepare(torch.from_numpy(batch).to(self.compute.device))
            for batch in batches
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


def config_of(setting: Setting, preset: str, *given: str) -> Config:
    """A preset without pretrained weights, which take no time, with the setting's batches."""
    batch = setting.training_batch
    overrides = [
        "model.weights=none",
        f"training.batch_size={batch}",
        f"inference.batch_size={2 * batch}",
        *given,
    ]
    if setting.size.input_side is not None:
        overrides.append(f"input.size={setting.size.input_side}")
    return settle_channels(load_config(preset_path(preset), overrides), coloured=False)
