"""What a run is described by: frozen tables that refuse what they don't know.

A configuration has the tables ``[input]``, ``[model]``, ``[augment]``, ``[training]``,
``[pretext]``, ``[pseudo]`` and ``[inference]``, and ``[[stage]]`` blocks that are trained in
order. Every key has a default except a stage's ``name`` and ``epochs``.
:mod:`kaggle_salt.config_file` reads it from TOML; :mod:`kaggle_salt.config_readers` says of each
key under which choices anything reads it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from kaggle_salt.errors import ConfigError

#: What NumPy, scikit-learn and torch all take, and leaves room for a fold's number in 64 bits.
LARGEST_SEED = 2**32 - 1


def refuse_seed(seed: int, next_step: str) -> None:
    """Refuse a seed that some generator could not take.

    Raises:
        ConfigError: It is below 0 or above :data:`LARGEST_SEED`.
    """
    if not 0 <= seed <= LARGEST_SEED:
        expected = f"a whole number from 0 to {LARGEST_SEED}"
        raise ConfigError(f"the seed {seed}", expected=expected, next_step=next_step)


PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]

Channels = Literal["auto", "grey", "grey3", "grey+depth", "rgb"]


class Table(BaseModel):
    """A table of the preset: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _broken_rule(found: str, expected: str) -> PydanticCustomError:
    """Values that are each possible, but not together; in our words."""
    context = {"found": found, "expected": expected}
    return PydanticCustomError("rule", "{found}; expected {expected}", context)


class InputConfig(Table):
    """How a tile becomes the network's input."""

    size: PositiveInt = 128  #: side of the network's input, in pixels; of a rectangle the shorter
    framing: Literal["pad", "resize"] = "pad"
    border: Literal["reflect", "edge"] = "reflect"  #: what padding repeats
    #: grey; grey three times (for pretrained encoders); grey, the row's place in the tile, their
    #: product; the colours; or auto: by the tiles and the network (learning.channels)
    channels: Channels = "grey"

    @property
    def channel_count(self) -> int:
        """Channels that the network sees; ``auto`` has to be settled first."""
        if self.channels == "auto":
            raise ValueError("input.channels = 'auto' is not settled: see learning.channels")
        return 1 if self.channels == "grey" else 3


class ModelConfig(Table):
    """Which network."""

    architecture: str = "unet"  #: a network of kaggle_salt.learning.networks, or any of smp's
    encoder: str = "resnet34"  #: smp's name, or tu-<timm's name>; for those that stand on one
    weights: str = "imagenet"  #: imagenet, none, or a file
    options: dict[str, Any] = Field(default_factory=dict)  #: the architecture's own arguments


class AugmentConfig(Table):
    """What happens to a training tile before it is framed."""

    pipeline: str = "light"  #: a name from kaggle_salt.learning.augment


class TrainingConfig(Table):
    """What holds for all stages."""

    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    batch_size: PositiveInt = 32
    precision: Literal["auto", "float32", "bf16"] = "auto"  #: auto: bf16 where it is native
    channels_last: bool = True
    compile: bool = False  #: torch.compile: minutes for each input size; seldom pays on a CPU
    workers: int = Field(default=-1, ge=-1)  #: loader processes; -1: none on CPU, a few on a GPU


class PretextConfig(Table):
    """What a network learns from tiles alone, without their masks (``salt pretrain``)."""

    #: none: the stages learn from masks. masked: to rebuild a tile of which blocks are hidden and
    #: noise is added. vicreg: to see the same in the same place of two views of a tile
    name: Literal["none", "masked", "vicreg"] = "none"
    hidden: Share = 0.5  #: share of the blocks that are hidden
    blocks: PositiveInt = 7  #: into how many the shorter side of the input is cut
    noise: float = Field(default=0.25, ge=0)  #: standard deviation, where the pixels' own is 1
    crop: Annotated[float, Field(gt=0.5, le=1)] = 0.6  #: least side of a view, in sides of the tile
    contrast: Share = 0.3  #: how far a view's contrast and brightness may change
    points: int = Field(default=32, ge=2)  #: places of a tile that are compared
    covariance: float = Field(default=0.04, ge=0)  #: weight of VICReg's third term

    @model_validator(mode="after")
    def _something_is_to_be_learnt(self) -> PretextConfig:
        if self.name == "masked" and not (self.hidden or self.noise):
            raise _broken_rule(
                "nothing is hidden and no noise is added: the network would learn to copy",
                "pretext.hidden or pretext.noise above 0",
            )
        return self


class PseudoConfig(Table):
    """Test tiles with the labels that earlier networks gave them (``salt pseudo-label``)."""

    file: str = ""  #: CSV of pseudo-labels; empty: none
    share: Share = 0.4  #: share of pseudo-labelled tiles in the batches of a mixed stage


class InferenceConfig(Table):
    """How weights become probabilities."""

    tta: Literal["none", "flip"] = "flip"
    batch_size: PositiveInt = 64


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


class StageConfig(Table):
    """One stage of training: a loss, an optimiser, a schedule, and which weights it hands on."""

    name: str
    epochs: PositiveInt
    #: tiles trained on: with masks, pseudo-labelled, or (where there are pseudo-labels) both
    tiles: Literal["masks", "pseudo", "mixed"] = "mixed"
    loss: LossConfig = LossConfig()
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
            raise _broken_rule(
                f"a cycle of {cycle} epochs is longer than the stage ({epochs})",
                f"schedule.cycle from 1 to {epochs}, or more epochs",
            )
        if self.keeps_cycles and epochs % cycle:
            whole = epochs // cycle * cycle
            raise _broken_rule(
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
            raise _broken_rule(
                "an average over the ends of cycles has only one to take, that of the stage",
                f'{restarts} or less, or average_over = "epochs"',
            )
        if self.keeps_cycles and self.early_stopping:
            raise _broken_rule(
                "early_stopping waits for the end of a cycle, and the only one ends with the stage",
                f"{restarts} or less, or early_stopping = 0",
            )


class Config(Table):
    """Everything that decides what a run computes."""

    description: str = ""
    input: InputConfig = InputConfig()
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    training: TrainingConfig = TrainingConfig()
    pretext: PretextConfig = PretextConfig()
    pseudo: PseudoConfig = PseudoConfig()
    inference: InferenceConfig = InferenceConfig()
    stage: tuple[StageConfig, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _stages_follow(self) -> Config:
        names = [stage.name for stage in self.stage]
        if len(set(names)) < len(names):
            raise _broken_rule(
                f"stage names must differ, found {', '.join(names)}", "another name for each stage"
            )
        early = [stage.name for stage in self.stage[:-1] if stage.keep == "snapshots"]
        if early:
            raise _broken_rule(
                f"only the last stage can keep snapshots, found {early[0]}",
                f"stage.{early[0]}.keep = last, best, average or ema",
            )
        return self

    @model_validator(mode="after")
    def _pretext_suits(self) -> Config:
        if self.pretext.name == "vicreg" and self.input.channels == "grey+depth":
            raise _broken_rule(
                "vicreg learns to know a place again, and input.channels = grey+depth tells it",
                "input.channels = grey, grey3 or rgb, or pretext.name = masked",
            )
        if self.pretrains and self.stage[-1].keep == "snapshots":
            raise _broken_rule(
                "a pretraining hands on one network, and snapshots are several",
                f"stage.{self.stage[-1].name}.keep = last, best, average or ema",
            )
        return self

    @property
    def pretrains(self) -> bool:
        """Whether the stages learn from tiles alone."""
        return self.pretext.name != "none"
