"""``torch.compile`` for the network of a training, and what to do where it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from kaggle_salt.errors import TrainingError, reason

#: Who turns the traced network into machine code.
BACKEND = "inductor"


def compiled(network: nn.Module) -> nn.Module:
    """The same network with the same weights, to be compiled at the first step of each size.

    Only calls of what is returned run compiled code; the network itself stays as it is.
    """
    return torch.compile(network, backend=BACKEND, dynamic=False)  # type: ignore[return-value]


@contextmanager
def explained_failures() -> Iterator[None]:
    """Say what to do where the network cannot be compiled.

    Raises:
        TrainingError: The compiler is missing, or fails.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch._dynamo.exc.TorchDynamoException):
            raise
        raise TrainingError(
            f"the network cannot be compiled: {reason(error)}",
            expected="a C++ compiler (g++, or what CXX names) for the CPU, Triton for a GPU",
            next_step="--set training.compile=false",
        ) from error
