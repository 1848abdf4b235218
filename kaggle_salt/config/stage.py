"""What a stage of training is described by: ``[[stage]]`` and the tables within it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from kaggle_salt.config.table import (
    PositiveFloat,
    PositiveInt,
    Probability,
    Share,
    Table,
    broken_rule,
)


class LossConfig(Table):
    """The training loss of a stage.

    The weights count for networks that have such heads (``model.options``), and for training
    only: the final logits always weigh 1.
    """

    name: Literal["bce", "dice", "focal", "bce+dice", "lovasz", "bce+lovasz"] = "bce"
    phi: Literal["relu", "elu"] = "elu"  #: the Lovász hinge's outer function; elu means elu + 1
    symmetric: bool = True  #: Lovász: mean of the loss and its mirror image (logits, target)
    ignore_empty: bool = False  #: average over the tiles that have salt
    gamma: float = Field(default=2.0, ge=0)  #: focal: how little easy pixels count
    side_weight: float = Field(default=0.1, ge=0)  #: of each side output (deep supervision)
    nonempty_weight: float = Field(default=0.5, ge=0)  #: of the branch for tiles with salt
    empty_weight: float = Field(default=0.05, ge=0)  #: of the head that tells empty tiles


class OptimizerConfig(Table):
    """The optimiser of a stage."""

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: PositiveFloat = 1e-3  #: highest learning rate of the schedule
    weight_decay: float = Field(default=0.0, ge=0)  #: on weights only, never on biases and norms
    momentum: Share = 0.9  #: SGD's momentum (Nesterov); Adam's first beta
    clip: float = Field(default=0.0, ge=0)  #: largest gradient norm; 0: no clipping
    normalized: bool = False  #: give every layer's gradient unit norm before each step


class ScheduleConfig(Table):
    """The learning rate over a stage, as a share of the optimiser's ``lr``."""

    name: Literal["constant", "cosine", "cosine-restarts", "poly", "plateau"] = "cosine"
    floor: float = Field(default=0.01, ge=0, le=1)  #: lowest share (all but constant)
    warmup: Share = 0.0  #: share of the first cycle spent rising; with cosine: one-cycle
    cycle: PositiveInt = 50  #: epochs of one cycle (cosine-restarts)
    power: PositiveFloat = 0.9  #: the exponent (poly)
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1  #: what a plateau multiplies the rate by
    patience: PositiveInt = 5  #: epochs without improvement that make a plateau


class ConsistencyConfig(Table):
    """A further loss of a stage, on the test tiles: :mod:`kaggle_salt.learning.consistency`."""

    weight: float = Field(default=0.0, ge=0)  #: of that loss; 0: there is none
    loss: Literal["bce", "mse"] = "bce"  #: of probabilities, each weighed by the teacher's surety
    tiles: PositiveFloat = 0.5  #: without masks, for each tile of a batch (two at least in all)
    decay: Share = 0.99  #: what a step leaves of the teacher, a moving average of the weights
    ramp: Share = 0.2  #: share of the stage over which the weight rises
    cutmix: Probability = 0.5  #: that the student sees a box of another tile


class StageConfig(Table):
    """One stage of training: a loss, an optimiser, a schedule, and which weights it hands on."""

    name: str
    epochs: PositiveInt
    #: tiles trained on: with masks, pseudo-labelled, or (where there are pseudo-labels) both
    tiles: Literal["masks", "pseudo", "mixed"] = "mixed"
    loss: LossConfig = LossConfig()
    consistency: ConsistencyConfig = ConsistencyConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    shrink: PositiveInt = 1  #: train at 1/shrink of the input size (a quarter of the cost at 2)
    #: weights handed on: the last; the best by ``monitor``; their average (SWA) or exponential
    #: moving average; or a snapshot of every cycle, whose predictions are averaged
    keep: Literal["last", "best", "average", "ema", "snapshots"] = "last"
    average_over: Literal["epochs", "cycles"] = "epochs"  #: what SWA averages the ends of
    ema_decay: Share = 0.998  #: what a step leaves of the moving average before it
    monitor: Literal["score", "loss"] = "score"  #: validation figure for best, plateau, stopping
    #: epochs without improvement; 0: never stop. What keeps the ends of cycles stops at one
    early_stopping: int = Field(default=0, ge=0)

    @property
    def cycle(self) -> int:
        """Epochs of one cycle of the schedule; the whole stage where it never restarts."""
        return self.schedule.cycle if self.schedule.name == "cosine-restarts" else self.epochs

    @property
    def keeps_cycles(self) -> bool:
        """Whether only weights at the ends of cycles are kept; those between them are lost."""
        over_cycles = self.keep == "average" and self.average_over == "cycles"
        return over_cycles or self.keep == "snapshots"

    def may_stop_after(self, epochs: int) -> bool:
        """Whether the stage can end early after so many epochs without losing what they gave."""
        return not self.keeps_cycles or epochs % self.cycle == 0

    @model_validator(mode="after")
    def _cycles_fit(self) -> StageConfig:
        cycle, epochs = self.cycle, self.epochs
        if cycle > epochs:
            raise broken_rule(
                f"a cycle of {cycle} epochs is longer than the stage ({epochs})",
                f"schedule.cycle from 1 to {epochs}, or more epochs",
            )
        if self.keeps_cycles and epochs % cycle:
            whole = epochs // cycle * cycle
            raise broken_rule(
                f"{epochs} epochs are {epochs // cycle} cycles of {cycle} and {epochs % cycle} "
                "more, whose weights would be thrown away",
                f"whole cycles: epochs = {whole} or {whole + cycle}",
            )
        if cycle == epochs:
            self._refuse_a_lone_cycle()
        return self

    def _refuse_a_lone_cycle(self) -> None:
        restarts = 'schedule.name = "cosine-restarts" with a schedule.cycle of half the epochs'
        if self.keep == "average" and self.keeps_cycles:
            raise broken_rule(
                "an average over the ends of cycles has only one to take, that of the stage",
                f'{restarts} or less, or average_over = "epochs"',
            )
        if self.keeps_cycles and self.early_stopping:
            raise broken_rule(
                "early_stopping waits for the end of a cycle, and the only one ends with the stage",
                f"{restarts} or less, or early_stopping = 0",
            )
