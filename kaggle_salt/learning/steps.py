"""What differs between trainings: the loss of a batch, and what an epoch is judged by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kaggle_salt.config.stage import StageConfig
from kaggle_salt.learning.batches import TrainingTiles, targets_of
from kaggle_salt.learning.consistency import MeanTeacher
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.losses import make_loss
from kaggle_salt.learning.validation import validate


@dataclass(frozen=True)
class Measured:
    """What an epoch gave beside its training loss.

    Args:
        figures: For the history, by the names of its columns.
        cost: What the stage watches; lower is better.
    """

    figures: Mapping[str, float]
    cost: float


class Step(ABC):
    """What a stage learns from a batch."""

    @abstractmethod
    def loss(self, batch: Sequence[Tensor]) -> Tensor:
        """The loss of a batch on the device, a scalar that knows its gradient."""

    @abstractmethod
    def measure(self, train_loss: float) -> Measured:
        """Judge an epoch of that mean loss, once it is trained."""

    def begin_epoch(self, epoch: int, step: int) -> None:  # noqa: B027 (most have nothing to do)
        """Draw anew what is drawn beside the batches.

        Args:
            epoch: Epochs of the training that are behind.
            step: Steps of the stage that are behind.
        """

    def after_step(self) -> None:  # noqa: B027 (likewise)
        """The optimiser made a step."""

    def state_dict(self) -> dict[str, Any]:
        """What a resume needs; it is handed to the next one as it is built."""
        return {}


class SegmentationStep(Step):
    """Logits are compared with masks, and validated on the fold's other tiles.

    Args:
        stage: Whose loss it is.
        network: What is validated.
        step_network: The same, as the steps call it: maybe compiled.
        tiles: The fold's.
        framing: How they fit the network in this stage.
        compute: Device and number format.
        teacher: Says what tiles without masks show, which are learnt from in the same pass.
    """

    def __init__(
        self,
        stage: StageConfig,
        network: nn.Module,
        step_network: nn.Module,
        tiles: TrainingTiles,
        framing: Framing,
        compute: Compute,
        teacher: MeanTeacher | None = None,
    ) -> None:
        self.monitor = stage.monitor
        self.criterion = make_loss(stage.loss)
        self.network, self.step_network = network, step_network
        self.tiles, self.framing, self.compute = tiles, framing, compute
        self.teacher = teacher

    def loss(self, batch: Sequence[Tensor]) -> Tensor:
        """Of tiles uint8 ``[B, H, W]`` or ``[B, H, W, 3]``, and labels uint8 ``[B, H, W]``."""
        tiles, labels = batch
        teacher, own = self.teacher, len(tiles)
        seen = torch.cat([tiles, teacher.next_tiles()]) if teacher else tiles
        inputs = self.framing.prepare(seen)  # [B (+ U), C, S, S]
        target = targets_of(labels)  # [B, 1, H, W]
        outputs = self.compute.outputs(self.step_network, inputs).map(self.framing.unframe)
        if not teacher:
            return self.criterion(outputs, target)
        return self.criterion(outputs.first(own), target) + teacher.loss(outputs.logits[own:])

    def begin_epoch(self, epoch: int, step: int) -> None:
        if self.teacher:
            self.teacher.begin_epoch(epoch, step)

    def after_step(self) -> None:
        if self.teacher:
            self.teacher.after_step(self.network)

    def state_dict(self) -> dict[str, Any]:
        return self.teacher.state_dict() if self.teacher else {}

    def measure(self, train_loss: float) -> Measured:
        """The validation's figures."""
        validation = validate(self.network, self.tiles, self.framing, self.criterion, self.compute)
        found = validation.agreement
        figures = {
            "val_loss": validation.loss,
            "score": found.score,
            "accuracy": found.accuracy,
            "iou": found.iou,
        }
        return Measured(figures, validation.loss if self.monitor == "loss" else -found.score)
