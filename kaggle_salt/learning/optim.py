"""Optimisers, and learning-rate schedules as functions of the progress of a stage."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from kaggle_salt.config.stage import OptimizerConfig, ScheduleConfig

#: Share of the highest rate at which a warm-up begins; a 25th is one-cycle's usual start.
WARMUP_START = 0.04


def make_optimizer(config: OptimizerConfig, network: nn.Module) -> torch.optim.Optimizer:
    """Build the optimiser; weight decay spares biases and normalisation (one-dimensional)."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = _build(config, [group for group in groups if group["params"]])
    if config.normalized:
        normalize_gradients(optimizer)
    return optimizer


def _build(config: OptimizerConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if config.name == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov)
    betas, decoupled = (config.momentum, 0.999), config.name == "adamw"
    return _Adam(groups, config.lr, betas, fused=True, decoupled_weight_decay=decoupled)


class _Adam(torch.optim.Adam):
    """Torch's Adam, or with decoupled weight decay its AdamW, to the bit.

    Its kernel copies a tensor of every weight that is laid out with the channels last (torch 2.15,
    on a CPU). Seen as rows, which those are in memory, there is nothing to copy; that takes a third
    off the step.
    """

    def _init_group(self, group: dict[str, Any], *lists: list[Tensor]) -> bool:
        has_complex: bool = super()._init_group(group, *lists)  # type: ignore[no-untyped-call]
        for tensors in lists:  # of weights, gradients and moments, as they go to the kernel
            tensors[:] = [_as_rows(tensor) for tensor in tensors]
        return has_complex


def _as_rows(tensor: Tensor) -> Tensor:
    """The same memory, ``[O, h, w, I]`` of a weight ``[O, I, h, w]`` with its channels last."""
    last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return tensor.permute(0, 2, 3, 1) if last else tensor


def normalize_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Make an optimiser step along layer-wise normalised gradients.

    Before each step the gradient of every parameter tensor is divided by its L2 norm, in place;
    a gradient of zeros stays as it is. The optimiser then does what it always does: momentum
    and Adam's moments are those of the normalised gradients, and weight decay comes on top of
    them. The size of the loss no longer matters, and clipping the gradients beforehand has no
    effect. Nothing is added to the optimiser's state.

    Args:
        optimizer: Any optimiser of torch; it keeps its class and its state.

    Source: Yu et al., "Block-Normalized Gradient Method: An Empirical Study for Training Deep
    Neural Network", 2017, arXiv 1707.04822.
    """
    optimizer.register_step_pre_hook(_normalize)


def _normalize(optimizer: torch.optim.Optimizer, *_: object) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                norm = torch.linalg.vector_norm(parameter.grad)
                parameter.grad.div_(norm + (norm == 0))  # no look at it: a GPU need not wait


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the learning rate ``lr``."""
    for group in optimizer.param_groups:
        group["lr"] = lr


class Schedule:
    """Learning rate of a stage.

    Every schedule is a descent over a cycle, which is the whole stage but for
    ``cosine-restarts``, from 1 to the floor. With a warm-up the first cycle rises for that share
    of its length, whatever the floor, and descends over the rest; the cycles that follow begin
    at the top. Cycles end where they would without a warm-up.

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
        cycle = config.cycle if config.name == "cosine-restarts" else epochs
        self.steps_per_cycle = cycle * steps_per_epoch
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
        cycle, step = divmod(step, self.steps_per_cycle)
        progress = step / self.steps_per_cycle
        warmup = self.config.warmup if cycle == 0 else 0.0
        if progress < warmup:
            return WARMUP_START + (1 - WARMUP_START) * progress / warmup
        return self._descent((progress - warmup) / (1 - warmup))

    def _descent(self, progress: float) -> float:
        """Share of the highest rate, ``progress`` (0 to 1) of the way from it to the floor."""
        if self.config.name == "constant":
            return 1.0
        if self.config.name == "plateau":
            return self.state["share"]
        if self.config.name == "poly":
            left: float = (1 - progress) ** self.config.power
        else:
            left = 0.5 * (1 + math.cos(math.pi * progress))
        return self.config.floor + (1 - self.config.floor) * left
