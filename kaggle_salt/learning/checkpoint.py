"""What a resume needs, saved after every epoch and restored to the bit.

The file is the zip that torch writes. It holds a CRC-32 of each member, which torch never compares:
:func:`damage` does. The zip's directory, which says where the members lie, is vouched for by its
SHA-256 in the zip's comment. So the whole file is checked, and to write costs no second pass.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kaggle_salt.errors import TrainingError, reason
from kaggle_salt.runs import TrainingFolder
from kaggle_salt.storage.files import atomic_path, bytes_hash

#: Bytes in which a zip says how long its comment is; they stand before the comment.
_COMMENT_LENGTH = 2


@dataclass
class Progress:
    """How far a fold has come, and everything that cannot be computed again.

    ``stage`` and ``stage_epoch`` count what is behind: (1, 0) means that the first stage is
    over and its weights have been handed on. Data order and augmentation follow from the seed
    and the epoch, so that only torch's generator has to be kept (dropout).
    """

    stage: int = 0
    stage_epoch: int = 0
    epoch: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_cost: float = float("inf")
    bad_epochs: int = 0
    schedule: dict[str, float] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    teacher: dict[str, Any] = field(default_factory=dict)
    scaling: dict[str, Any] = field(default_factory=dict)

    def judge(self, cost: float) -> bool:
        """Take note of an epoch's cost (lower is better); whether it was never as low."""
        improved = cost < self.best_cost
        if improved:
            self.best_cost, self.bad_epochs = cost, 0
        else:
            self.bad_epochs += 1
        return improved

    def next_stage(self) -> None:
        """Leave the stage behind, and forget what only it needed."""
        self.stage += 1
        self.stage_epoch = 0
        self.best_cost, self.bad_epochs = float("inf"), 0
        self.schedule, self.kept, self.teacher = {}, {}, {}


def save_checkpoint(
    path: Path,
    progress: Progress,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer | None,
) -> None:
    """Write a checkpoint atomically; the previous one stays until the new one is whole."""
    state = {
        "progress": {name: getattr(progress, name) for name in asdict(Progress())},
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict() if optimizer else {},
        "generator": torch.get_rng_state(),
        "cuda_generators": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    with atomic_path(path) as temporary:
        torch.save(state, temporary)
        _seal(temporary)


def _seal(path: Path) -> None:
    """Write the hash of a zip's directory into the zip's comment, the last thing in the file."""
    with zipfile.ZipFile(path) as file:
        directory = _directory(file, path)
    seal = bytes_hash(directory).encode()
    with path.open("r+b") as out:
        out.seek(-_COMMENT_LENGTH, os.SEEK_END)
        out.write(len(seal).to_bytes(_COMMENT_LENGTH, "little") + seal)


def _directory(file: zipfile.ZipFile, path: Path) -> bytes:
    """The directory of a zip, up to the length of the comment."""
    with path.open("rb") as content:
        content.seek(file.start_dir)
        return content.read()[: -len(file.comment) - _COMMENT_LENGTH]


def damage(path: Path) -> str:
    """What is wrong with a checkpoint; empty where it is as it was written.

    One of an earlier version has no seal: only its members are looked at.
    """
    try:
        with zipfile.ZipFile(path) as file:
            if file.comment and file.comment != bytes_hash(_directory(file, path)).encode():
                return "its directory has changed since it was written"
            member = file.testzip()
    except Exception as error:  # on a damaged file zipfile raises whatever it trips over
        return reason(error)
    return f"{member} has changed since it was written" if member else ""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it was read: apply it with :meth:`restore`."""

    folder: TrainingFolder
    progress: Progress
    network: dict[str, Tensor]
    optimizer: dict[str, Any]
    generator: Tensor
    cuda_generators: list[Tensor]

    def restore(self, network: torch.nn.Module) -> Progress:
        """Give the network its weights and torch its random state; return the progress.

        Raises:
            TrainingError: The weights are another network's.
        """
        with self._fitting():
            network.load_state_dict(self.network)
            torch.set_rng_state(self.generator)
            if self.cuda_generators and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(self.cuda_generators)
        return self.progress

    def restore_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Give the optimiser of the stage that was left its state.

        Raises:
            TrainingError: It is another optimiser's, or another network's.
        """
        with self._fitting():
            optimizer.load_state_dict(self.optimizer)

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # torch raises whatever it trips over
            raise TrainingError(
                f"the checkpoint {self.folder.checkpoint} is of another network or optimiser: "
                f"{reason(error)}",
                expected="a checkpoint of this run's configuration",
                next_step=f"train anew: {self.folder.anew}",
            ) from error


def load_checkpoint(folder: TrainingFolder, device: torch.device) -> Checkpoint:
    """Read a checkpoint, tensors on ``device``; nothing but tensors and plain values is unpickled.

    Args:
        folder: Of the training.
        device: Where the tensors go.

    Raises:
        TrainingError: The file is damaged.
    """
    if damaged := damage(folder.checkpoint):
        raise _unreadable(folder, damaged)
    try:
        state = torch.load(folder.checkpoint, map_location=device, weights_only=True)
        return Checkpoint(
            folder=folder,
            progress=Progress(**state["progress"]),
            network=state["network"],
            optimizer=state["optimizer"],
            generator=state["generator"].cpu(),
            cuda_generators=[generator.cpu() for generator in state["cuda_generators"]],
        )
    except Exception as error:  # on a damaged file torch raises whatever it trips over
        raise _unreadable(folder, reason(error)) from error


def _unreadable(folder: TrainingFolder, why: str) -> TrainingError:
    return TrainingError(
        f"the checkpoint {folder.checkpoint} cannot be read: {why}",
        expected="a checkpoint that the same training wrote",
        next_step=f"train anew: {folder.anew}",
    )
