"""Averages of weights over a training, and batch-norm statistics to match."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """Running average of a network's parameters: equal (SWA), or exponential (EMA).

    Buffers (batch-norm statistics) are not averaged: after :meth:`apply` they belong to none of
    the averaged networks and must be estimated anew, see :func:`reestimate_batch_norm`.

    Args:
        decay: What an update leaves of the average before it. At 1 all updates weigh the same;
            below 1 they do until ``1 / count`` has fallen to ``1 - decay``, so that the first
            weights, still untrained, are soon forgotten.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization",
    UAI 2018.
    """

    def __init__(self, decay: float = 1.0) -> None:
        self.decay = decay
        self.count = 0
        self.mean: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take the network's present parameters into the average."""
        self.count += 1
        rate = max(1 / self.count, 1 - self.decay)
        for name, parameter in network.named_parameters():
            if self.count == 1:
                self.mean[name] = parameter.detach().clone()
            else:
                self.mean[name].lerp_(parameter, rate)

    @torch.no_grad()
    def apply(self, network: nn.Module) -> None:
        """Give the network the averaged parameters."""
        for name, parameter in network.named_parameters():
            parameter.copy_(self.mean[name])

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "mean": self.mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count, self.mean = state["count"], state["mean"]


def batch_norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The layers of a network that keep batch-norm statistics."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return [norm for norm in norms if norm.track_running_stats]


@torch.no_grad()
def reestimate_batch_norm(
    network: nn.Module,
    batches: Iterable[Tensor],
    forward: Callable[[nn.Module, Tensor], Tensor],
) -> None:
    """Estimate all batch-norm statistics anew from ``batches``, each weighted by its size.

    Unlike ``torch.optim.swa_utils.update_bn``, which counts a short last batch like a full one,
    this gives every tile the same weight.

    Args:
        network: Left in the mode (train or eval) it came in.
        batches: Network inputs float ``[B, C, S, S]``.
        forward: Runs the network on a batch, in the number format it is used with.
    """
    norms = batch_norms(network)
    if not norms:
        return
    was_training, momenta = network.training, [norm.momentum for norm in norms]
    # Dropout stays off, as at prediction time: only the norms themselves go to train mode.
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    seen = 0
    for batch in batches:
        seen += len(batch)
        for norm in norms:
            norm.momentum = len(batch) / seen
        forward(network, batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(was_training)
