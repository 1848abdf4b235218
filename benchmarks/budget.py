"""A configuration made to fit a training time.

A step of each stage is timed, and the epochs are scaled down until all of them fit, in the
proportions of their stages. Where fewer than eight epochs would fit, the input is shrunk first: on
a processor a network that has seen the tiles often at half the size beats one that has hardly
seen them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.harness import seconds as seconds_of
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config import Config, StageConfig
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.device import Compute, choose_compute
from kaggle_salt.learning.fold import check_trainable
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.losses import make_loss
from kaggle_salt.learning.networks import build
from kaggle_salt.learning.optim import make_optimizer

#: Inputs are shrunk by the first of these at which so many epochs fit into the budget.
SHRINKS, ENOUGH_EPOCHS = (1, 2, 4), 8

#: Time of an epoch over that of its bare steps: validation, loader, checkpoint.
OVERHEAD = 1.15


@dataclass(frozen=True)
class Plan:
    """A configuration made to fit."""

    overrides: tuple[str, ...]  #: what does it, each as ``KEY=VALUE``
    size: int  #: input of the largest stage, in pixels
    epochs: int  #: of all stages


def fit(config: Config, competition: Competition, seconds: float, device: str = "cpu") -> Plan:
    """Scale a configuration's epochs, and if need be its input, to a training time.

    Args:
        config: What would be trained with all the time in the world.
        competition: The tiles; one in five is held out.
        seconds: Wall time of one fold.
        device: Where it is trained.

    Returns:
        The plan with the largest input at which :data:`ENOUGH_EPOCHS` fit, or else the smallest.
        One epoch a stage (one a cycle) is the least, even where it takes longer.

    Raises:
        ConfigError: The network cannot be trained at any of the sizes.
    """
    compute = choose_compute(device, config.training.precision, config.training.channels_last)
    plans = []
    for shrink in SHRINKS:
        shrunk = _shrink(config, competition, shrink)
        if shrunk is not None:
            plans.append(_scale(shrunk, competition, seconds, compute))
            if plans[-1].epochs >= ENOUGH_EPOCHS:
                break
    if not plans:
        check_trainable(config, competition.tile_shape, pretrained=False)  # says why
    return plans[-1]


def _shrink(config: Config, competition: Competition, shrink: int) -> Config | None:
    """Every stage at 1/shrink of its size, the input a little larger where that needs it."""
    stages = tuple(s.model_copy(update={"shrink": s.shrink * shrink}) for s in config.stage)
    unit = 32 * shrink
    for size in (config.input.size, -(-config.input.size // unit) * unit):
        changed = {"stage": stages, "input": config.input.model_copy(update={"size": size})}
        shrunk = config.model_copy(update=changed)
        try:
            check_trainable(shrunk, competition.tile_shape, pretrained=False)
        except ConfigError:
            continue  # the network halves more often than this size allows
        return shrunk
    return None


def _scale(config: Config, competition: Competition, seconds: float, compute: Compute) -> Plan:
    steps = len(competition.ids) * 4 // 5 // config.training.batch_size
    wanted = sum(
        stage.epochs * steps * seconds_per_step(config, stage, competition, compute)
        for stage in config.stage
    )
    scale = min(seconds / (OVERHEAD * wanted), 1)
    overrides, epochs = [f"input.size={config.input.size}"], 0
    for stage in config.stage:
        own = max(1, int(stage.epochs * scale))
        cycle = max(1, own // (stage.epochs // stage.cycle))
        own = own // cycle * cycle
        epochs += own
        overrides.append(f"stage.{stage.name}.epochs={own}")
        overrides.append(f"stage.{stage.name}.shrink={stage.shrink}")
        if stage.schedule.name == "cosine-restarts":
            overrides.append(f"stage.{stage.name}.schedule.cycle={cycle}")
    size = config.input.size // min(stage.shrink for stage in config.stage)
    return Plan(tuple(overrides), size, epochs)


def seconds_per_step(
    config: Config, stage: StageConfig, competition: Competition, compute: Compute
) -> float:
    """Time of one optimiser step of a stage, after one that warms up."""
    network = compute.place(build(config.model, config.input.channel_count, pretrained=False))
    framing = Framing(competition.tile_shape, config.input, stage.shrink)
    loss, optimizer = make_loss(stage.loss), make_optimizer(stage.optimizer, network)
    batch = slice(config.training.batch_size)
    tiles = torch.from_numpy(competition.images[batch].copy()).to(compute.device)
    target = torch.from_numpy(competition.masks[batch].copy())[:, None].to(compute.device)
    network.train()

    def step() -> None:
        outputs = compute.outputs(network, framing.prepare(tiles)).map(framing.unframe)
        optimizer.zero_grad()
        loss(outputs, target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    step()
    return seconds_of(step)
