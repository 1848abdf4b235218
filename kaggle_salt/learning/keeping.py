"""Which weights a stage hands on: the last, the best, an average, or one snapshot per cycle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from kaggle_salt.config.stage import StageConfig
from kaggle_salt.errors import DataError, TrainingError
from kaggle_salt.learning.averaging import WeightAverage
from kaggle_salt.runs import TrainingFolder
from kaggle_salt.storage.files import atomic_path, read_json
from kaggle_salt.storage.reading import parse

Summary = TypeVar("Summary")

#: Key of the metadata in a file of weights.
ORIGIN = "kaggle_salt"


class Keeper:
    """Collects over a stage what its ``keep`` asks for.

    Args:
        stage: The stage.
        folder: Where snapshots are written.
        state: :meth:`state_dict` of the keeper whose work is continued; empty at the start.
    """

    def __init__(self, stage: StageConfig, folder: TrainingFolder, state: dict[str, Any]) -> None:
        self.stage = stage
        self.folder = folder
        self.best: dict[str, Tensor] = {}
        self.average = WeightAverage(stage.ema_decay if stage.keep == "ema" else 1.0)
        if state:
            self.best = state["best"]
            self.average.load_state_dict(state["average"])

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "average": self.average.state_dict()}

    def after_step(self, network: nn.Module) -> None:
        """The optimiser made a step."""
        if self.stage.keep == "ema":
            self.average.update(network)

    def after_epoch(self, network: nn.Module, epochs: int, *, improved: bool) -> None:
        """An epoch was trained and validated.

        Args:
            network: With the epoch's last weights.
            epochs: Epochs of the stage that are behind.
            improved: Whether the monitored figure was never as good.
        """
        stage = self.stage
        cycles, rest = divmod(epochs, stage.cycle)
        if stage.keep == "best" and improved:
            self.best = _copy(network)
        elif stage.keep == "average" and (stage.average_over == "epochs" or not rest):
            self.average.update(network)
        elif stage.keep == "snapshots" and not rest:
            save_weights(network, self.folder.snapshot(cycles), self.folder.origin())

    def hand_on(self, network: nn.Module) -> bool:
        """Give the network the weights kept.

        Returns:
            Whether its batch-norm statistics have to be estimated anew.
        """
        if self.best:
            network.load_state_dict(self.best)
        if self.average.count:
            self.average.apply(network)
        return self.average.count > 0


def save_weights(network: nn.Module, path: Path, origin: Mapping[str, Any]) -> None:
    """Write a network's parameters and buffers as safetensors, atomically.

    Args:
        network: The network.
        path: The file.
        origin: What the file says of its training, as :func:`read_origin` gives it back.
    """
    state = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    _write(state, path, origin)


def _write(state: dict[str, Tensor], path: Path, origin: Mapping[str, Any]) -> None:
    # one entry: of several the order, and with it the file's hash, would be left to chance
    metadata = {ORIGIN: json.dumps(origin, sort_keys=True)} if origin else None
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(state, temporary, metadata)


def halve_weights(path: Path, out: Path) -> None:
    """Write weights again with half the bytes, atomically; what the file says of itself stays.

    Kernels become float16. Biases, norms and their statistics are few and stay as they are: a
    variance can be larger than float16 holds.

    Args:
        path: Safetensors.
        out: The file to write.

    Raises:
        TrainingError: A weight is too large for float16.
    """
    state, origin = safetensors.torch.load_file(path), read_origin(path)
    for name, tensor in state.items():
        if tensor.ndim > 1 and tensor.dtype == torch.float32:
            state[name] = tensor.half()
            if not state[name].isfinite().all():
                raise TrainingError(
                    f"{path}: {name} holds a weight that float16 cannot hold",
                    expected=f"weights below {torch.finfo(torch.float16).max:.0f}",
                    next_step="another fold or run",
                )
    _write(state, out, origin)


def read_origin(path: Path) -> dict[str, Any]:
    """What weights say of their training: see :meth:`kaggle_salt.runs.TrainingFolder.origin`.

    Returns:
        Nothing if the file says nothing, or is no safetensors file.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            origin = parse(json.loads, (file.metadata() or {}).get(ORIGIN, "{}"))
    except (OSError, ValueError, safetensors.SafetensorError):
        return {}
    return origin if isinstance(origin, dict) else {}


def summary_of(folder: TrainingFolder, kind: Callable[..., Summary]) -> Summary:
    """What a finished training says of itself, as the dataclass that it was written from.

    Raises:
        DataError: The file is missing or damaged.
    """
    anew = f"train anew: {folder.anew}"
    try:
        return kind(**read_json(folder.summary, next_step=anew))
    except TypeError as error:
        raise DataError(
            f"{folder.summary} is not a training's summary: {error}",
            expected="the file as it was written",
            next_step=anew,
        ) from error


def _copy(network: nn.Module) -> dict[str, Tensor]:
    """The network's state, detached from it: a reference would change with the next step."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
