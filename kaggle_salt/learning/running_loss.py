"""The mean loss of an epoch, followed without making a GPU wait."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor


class RunningLoss:
    """Sums the losses of an epoch's steps where they are computed.

    Reading a number from a GPU waits for all the work that was handed to it. A look asks for a
    copy instead, to be made when that work is done, and reads the newest copy that has arrived.

    Args:
        device: Where the losses are.
    """

    def __init__(self, device: torch.device) -> None:
        self._total = torch.zeros((), device=device)
        self._steps = 0
        self._on_their_way: deque[_Copy] = deque()

    def add(self, loss: Tensor) -> None:
        """Count a step's loss, a scalar on the device."""
        self._total += loss.detach()
        self._steps += 1

    def look(self) -> float | None:
        """The newest mean that is known without waiting; None where there is no newer one.

        On the CPU it is that of all steps; on a GPU usually that of the look before.
        """
        self._on_their_way.append(_Copy.ask_for(self._total, self._steps))
        mean = None
        while self._on_their_way and self._on_their_way[0].has_arrived():
            copy = self._on_their_way.popleft()
            mean = float(copy.total) / copy.steps
        return mean

    def mean(self) -> float:
        """Mean over all steps; waits for the last of them."""
        return float(self._total) / self._steps


@dataclass(frozen=True)
class _Copy:
    """The sum of the first ``steps`` losses, in the processor's memory once it has arrived."""

    total: Tensor
    steps: int
    arrival: torch.cuda.Event | None

    @classmethod
    def ask_for(cls, total: Tensor, steps: int) -> _Copy:
        if total.device.type != "cuda":
            return cls(total.to("cpu", copy=True), steps, None)
        copy = total.to("cpu", non_blocking=True)  # into pinned memory
        return cls(copy, steps, torch.cuda.current_stream(total.device).record_event())

    def has_arrived(self) -> bool:
        return self.arrival is None or bool(self.arrival.query())  # type: ignore[no-untyped-call]
