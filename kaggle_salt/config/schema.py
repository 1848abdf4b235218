"""What a run is described by: frozen tables that refuse what they don't know.

A configuration has the tables ``[input]``, ``[model]``, ``[augment]``, ``[training]``,
``[pretext]``, ``[pseudo]`` and ``[inference]``, and ``[[stage]]`` blocks that are trained in
order. Every key has a default except a stage's ``name`` and ``epochs``.
:mod:`kaggle_salt.config.file` reads it from TOML; :mod:`kaggle_salt.config.readers` says of each
key under which choices anything reads it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kaggle_salt.config.stage import StageConfig
from kaggle_salt.config.table import (
    LARGEST_SEED,
    PositiveInt,
    Probability,
    Share,
    Table,
    broken_rule,
)

Channels = Literal["auto", "grey", "grey3", "grey+depth", "rgb"]

Precision = Literal["auto", "float32", "bf16", "float16"]


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
    add: tuple[str, ...] = ()  #: names of further transforms, each for half of the tiles
    #: what a tile gets from the next of its batch: a box of it (CutMix), or its salt
    mix: Literal["none", "cutmix", "copy-paste"] = "none"
    mix_probability: Probability = 0.5  #: that a tile of a batch is mixed

    @property
    def words(self) -> str:
        """All of it in a few words."""
        mix = "" if self.mix == "none" else f", {self.mix} {self.mix_probability:g}"
        return " + ".join([self.pipeline, *self.add]) + mix


class TrainingConfig(Table):
    """What holds for all stages."""

    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    batch_size: PositiveInt = 32
    precision: Precision = "auto"  #: auto: bf16 where it is native, else float16, else float32
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
            raise broken_rule(
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
            raise broken_rule(
                f"stage names must differ, found {', '.join(names)}", "another name for each stage"
            )
        early = [stage.name for stage in self.stage[:-1] if stage.keep == "snapshots"]
        if early:
            raise broken_rule(
                f"only the last stage can keep snapshots, found {early[0]}",
                f"stage.{early[0]}.keep = last, best, average or ema",
            )
        return self

    @model_validator(mode="after")
    def _pretext_suits(self) -> Config:
        if self.pretext.name == "vicreg" and self.input.channels == "grey+depth":
            raise broken_rule(
                "vicreg learns to know a place again, and input.channels = grey+depth tells it",
                "input.channels = grey, grey3 or rgb, or pretext.name = masked",
            )
        if self.pretrains and self.stage[-1].keep == "snapshots":
            raise broken_rule(
                "a pretraining hands on one network, and snapshots are several",
                f"stage.{self.stage[-1].name}.keep = last, best, average or ema",
            )
        return self

    @property
    def pretrains(self) -> bool:
        """Whether the stages learn from tiles alone."""
        return self.pretext.name != "none"

    @property
    def pseudo_stages(self) -> list[str]:
        """Names of the stages that train on pseudo-labelled tiles alone, and cannot without."""
        return [stage.name for stage in self.stage if stage.tiles == "pseudo"]
