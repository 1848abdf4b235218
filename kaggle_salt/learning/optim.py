"""Optimisers, and learning-rate schedules as functions of the progress of a stage."""

from __future__ import annotations

import math

import torch
from torch import nn

from kaggle_salt.config import OptimizerConfig, ScheduleConfig


def make_optimizer(config: OptimizerConfig, network: nn.Module) -> torch.optim.Optimizer:
    """Build the optimiser; weight decay spares biases and normalisation (one-dimensional)."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.name == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov)
    betas = (config.momentum, 0.999)
    if config.name == "adam":
        return torch.optim.Adam(groups, lr=config.lr, betas=betas, fused=True)
    return torch.optim.AdamW(groups, lr=config.lr, betas=betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the learning rate ``lr``."""
    for group in optimizer.param_groups:
        group["lr"] = lr


class Schedule:
    """Learning rate of a stage.

    All schedules but ``plateau`` depend on the step alone, so that a resumed stage needs no
    state to go on; ``plateau`` carries its share, its best value and its count of bad epochs.

    Args:
        config: Which schedule, and its parameters.
        lr: Highest learning rate.
        epochs: Length of the stage.
        steps_per_epoch: Optimiser steps in one epoch.
    """

    def __init__(
        self, config: ScheduleConfig, lr: float, epochs: int, steps_per_epoch: int
    ) -> None:
        self.config = config
        self.lr = lr
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.state: dict[str, float] = {"share": 1.0, "best": math.inf, "bad_epochs": 0}

    def learning_rate(self, step: int) -> float:
        """Learning rate of optimiser step ``step``, counted from 0 at the start of the stage."""
        return self.lr * self._share(step)

    def end_epoch(self, cost: float) -> None:
        """Tell a plateau schedule the epoch's cost (lower is better); others don't listen."""
        if self.config.name != "plateau":
            return
        if cost < self.state["best"]:
            self.state.update(best=cost, bad_epochs=0)
            return
        self.state["bad_epochs"] += 1
        if self.state["bad_epochs"] >= self.config.patience:
            share = max(self.state["share"] * self.config.factor, self.config.floor)
            self.state.update(share=share, bad_epochs=0)

    def _share(self, step: int) -> float:
        config = self.config
        progress = step / (self.epochs * self.steps_per_epoch)
        if progress < config.warmup:
            return 0.04 + 0.96 * progress / config.warmup
        progress = (progress - config.warmup) / (1 - config.warmup)
        if config.name == "constant":
            return 1.0
        if config.name == "plateau":
            return self.state["share"]
        if config.name == "poly":
            return config.floor + (1 - config.floor) * (1 - progress) ** config.power
        if config.name == "cosine":
            return _cosine(progress, config.floor)
        cycle = config.cycle * self.steps_per_epoch
        return _cosine(step % cycle / cycle, config.floor)


def _cosine(progress: float, floor: float) -> float:
    """Half a cosine from 1 at progress 0 to ``floor`` at progress 1."""
    return floor + 0.5 * (1 - floor) * (1 + math.cos(math.pi * progress))
