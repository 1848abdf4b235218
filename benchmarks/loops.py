"""Training and inference on the CPU, beside loops that do nothing but what they must."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console

from benchmarks.items import Measurement, Setting, Target, calls_within, in_turn, item
from kaggle_salt.cli.console import ConsoleListener
from kaggle_salt.config import Config
from kaggle_salt.config_file import load_config
from kaggle_salt.learning.batches import TrainingTiles
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


@item("train-resnet34", "ms", Target(0.97, at_any_size=True), peer="bare loop")
def train_resnet34(setting: Setting) -> Measurement:
    """A training step of ``resnet34``, batch of 32, beside a bare loop's.

    Ours is the loop of ``salt train`` for an epoch: loader, augmentation, framing, clipping,
    progress bar. The bare one takes framed batches from memory and runs forward, loss,
    backward and step with the same network, loss and optimiser. Target: 0.97.
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


@item("flip-tta", "ms", Target(0.97, at_any_size=True), peer="two bare forwards")
def flip_tta(setting: Setting) -> Measurement:
    """Predicting a batch of 64 with ``resnet34`` and flip TTA, beside two bare forwards.

    Target: 0.97.
    """
    return _in_loops_of_fitting_length(setting, lambda steps: _inference(setting, steps))


Loops = tuple[Callable[[], object], Callable[[], object]]


def _training(setting: Setting, preset: str, shrink: int) -> Measurement:
    def loops(steps: int) -> Loops:
        rehearsal = _Rehearsal(setting, _config(setting, preset), shrink, steps)
        return rehearsal.ours, rehearsal.bare

    return _in_loops_of_fitting_length(setting, loops)


def _in_loops_of_fitting_length(setting: Setting, loops: Callable[[int], Loops]) -> Measurement:
    """Compare two loops of so many steps that each takes about ``loop_seconds``."""
    ours, _ = loops(1)
    steps = calls_within(ours, setting.size.loop_seconds)
    to_ms_a_step = 1000 / steps
    return in_turn(*loops(steps), setting.size.pairs, scales=(to_ms_a_step, to_ms_a_step))


class _Rehearsal:
    """The first stage of a preset with a given shrink, on a few steps' worth of tiles."""

    def __init__(self, setting: Setting, config: Config, shrink: int, steps: int) -> None:
        self.stage = next(stage for stage in config.stage if stage.shrink == shrink)
        tiles, batch = setting.competition, config.training.batch_size
        rows = np.arange(steps * batch) % len(tiles.ids)
        self.compute = choose_compute(
            "cpu", config.training.precision, config.training.channels_last
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
        self.batches = [
            (self.framing.prepare(images), masks[:, None]) for images, masks in self.training.loader
        ]

    def ours(self) -> None:
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

    def bare(self) -> None:
        self.network.train()
        for inputs, target in self.batches:
            logits = self.framing.unframe(self.compute.forward(self.network, inputs))
            loss = self.loss(Outputs(logits), target)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()


def _inference(setting: Setting, steps: int) -> Loops:
    """Predict batches of tiles with flip TTA, and run the network on them and nothing else."""
    config = _config(setting, "resnet34")
    compute = choose_compute("cpu", config.training.precision, config.training.channels_last)
    network = compute.place(build(config.model, config.input.channel_count)).eval()
    images = setting.competition.images
    batch = config.inference.batch_size
    tiles = images[np.arange(steps * batch) % len(images)]
    framing = Framing(setting.competition.tile_shape, config.input)
    parts = np.split(tiles, steps)
    inputs = [framing.prepare(torch.from_numpy(part)) for part in parts]
    out = np.empty_like(tiles)

    def ours() -> None:
        predict([network], tiles, out, framing=framing, compute=compute, config=config.inference)

    @torch.inference_mode()
    def bare() -> None:
        for part in inputs:
            compute.forward(network, part)
            compute.forward(network, part)

    return ours, bare


def _config(setting: Setting, preset: str) -> Config:
    """A preset without pretrained weights, which take no time, with the setting's batches."""
    batch = setting.size.batch
    overrides = [
        "model.weights=none",
        f"training.batch_size={batch}",
        f"inference.batch_size={2 * batch}",
    ]
    if setting.size.input_side is not None:
        overrides.append(f"input.size={setting.size.input_side}")
    return load_config(preset_path(preset), overrides)
