"""What differs between trainings: the loss of a batch, and what an epoch is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from kaggle_salt.config import StageConfig
from kaggle_salt.learning.batches import TrainingTiles
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


class Step(Protocol):
    """What a stage learns from a batch."""

    def loss(self, batch: Sequence[Tensor]) -> Tensor:
        """The loss of a batch on the device, a scalar that knows its gradient."""

    def measure(self, train_loss: float) -> Measured:
        """Judge an epoch of that mean loss, once it is trained."""


class SegmentationStep:
    """Logits are compared with masks, and validated on the fold's other tiles.

    Args:
        stage: Whose loss it is.
        network: What is validated.
        step_network: The same, as the steps call it: maybe compiled.
        tiles: The fold's.
        framing: How they fit the network in this stage.
        compute: Device and number format.
    """

    def __init__(
        self,
        stage: StageConfig,
        network: nn.Module,
        step_network: nn.Module,
        tiles: TrainingTiles,
        framing: Framing,
        compute: Compute,
    ) -> None:
        self.monitor = stage.monitor
        self.criterion = make_loss(stage.loss)
        self.network, self.step_network = network, step_network
        self.tiles, self.framing, self.compute = tiles, framing, compute

    def loss(self, batch: Sequence[Tensor]) -> Tensor:
        """Of tiles uint8 ``[B, H, W]`` or ``[B, H, W, 3]``, and masks ``[B, H, W]``."""
        tiles, masks = batch
        inputs = self.framing.prepare(tiles)  # [B, C, S, S]
        outputs = self.compute.outputs(self.step_network, inputs).map(self.framing.unframe)
        return self.criterion(outputs, masks[:, None])

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
