"""Optimiser steps, in float16 with a scaled loss.

float16 has no numbers between 0 and 6e-8, and many gradients are as small. So the loss is
multiplied before the backward pass, and the gradients are divided by the same in float32. The
scale seeks its own size: a step whose gradients overflow is skipped and halves it, and after a
long row of steps without an overflow it doubles.

What is scaled is the way back alone. A loss that is no number stays one whatever the scale, and
a training ends on it in float16 as in any other format.

Source: Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kaggle_salt.learning.device import Compute

#: Scale at the start, and steps without an overflow after which it doubles: torch's own.
INITIAL_SCALE, GROWTH_INTERVAL = 2.0**16, 2000

#: Steps skipped in a row after which no scale will help: the first has become 2 ** -14 by then.
MOST_SKIPPED = 30


class LossScaling:
    """Makes the optimiser's steps.

    In float32 and bf16 it does so as they come, and neither scales, reads nor waits for anything.
    In float16 it waits for the device at each step, to know whether the step was made.

    Args:
        compute: Device and number format.
    """

    def __init__(self, compute: Compute) -> None:
        self.scales = compute.precision == "float16"
        self._scaler = torch.amp.GradScaler(
            compute.device.type, INITIAL_SCALE, growth_interval=GROWTH_INTERVAL,
            enabled=self.scales,
        )  # fmt: skip
        self.skipped = 0  #: steps in all; whoever counts by epochs sets it to 0
        self.row = 0  #: steps skipped since the last that was made

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs; nothing where nothing is scaled."""
        return {"scaler": self._scaler.state_dict(), "row": self.row} if self.scales else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the scale of :meth:`state_dict`.

        A training that went on in another number format, on another machine, has none.
        """
        if self.scales and state:
            self._scaler.load_state_dict(state["scaler"])
            self.row = state["row"]

    def step(
        self, loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer, clip: float
    ) -> bool:
        """Learn from a loss: backward pass, clipping, and the optimiser's step.

        Args:
            loss: A scalar that knows its gradient.
            network: Whose gradients are clipped.
            optimizer: Steps along its gradients, which are no longer scaled then.
            clip: Their largest norm; 0: no clipping.

        Returns:
            Whether the step was made. Where it was skipped, weights and optimiser are untouched.
        """
        optimizer.zero_grad()
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(optimizer)
        if clip:
            nn.utils.clip_grad_norm_(network.parameters(), clip)
        self._scaler.step(optimizer)
        return self._settle() if self.scales else True

    def _settle(self) -> bool:
        """Let the scale follow the step; whether it was made."""
        before = self._scaler.get_scale()
        self._scaler.update()
        made = self._scaler.get_scale() >= before
        self.row = 0 if made else self.row + 1
        self.skipped += not made
        return made
