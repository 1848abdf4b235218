"""Who reads a key of the configuration: a key that nobody reads does nothing, and is refused.

Keys that are not in :data:`READERS` are read whatever the others say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from kaggle_salt.config.schema import Config
from kaggle_salt.config.stage import StageConfig

#: Where a key stands: names of tables and keys, and the number of a stage.
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Choice:
    """A choice under which a key is read.

    Args:
        key: The key that makes it, dotted; ``stage.`` is the stage of the key that is read.
        values: Those under which it is read.
        but: Those under which it is not; in place of ``values``.
        example: A value to choose, where neither says one.
    """

    key: str
    values: tuple[Any, ...] = ()
    but: tuple[Any, ...] = ()
    example: Any = None

    def holds(self, config: Config, stage: StageConfig) -> bool:
        """Whether the choice was made so."""
        value = self.value(config, stage)
        return value not in self.but if self.but else value in self.values

    def value(self, config: Config, stage: StageConfig) -> Any:
        """What the key says; None for an option that is not given."""
        first, *rest = self.key.split(".")
        found: Any = stage if first == "stage" else getattr(config, first)
        for name in rest:
            found = found.get(name) if isinstance(found, dict) else getattr(found, name)
        return found

    @property
    def words(self) -> str:
        """The choice in words, as in ``loss.name is focal``."""
        if self.but:
            return f"{self.name} is not {' or '.join(map(shown, self.but))}"
        return f"{self.name} is {' or '.join(map(shown, self.values))}"

    @property
    def name(self) -> str:
        """The key, within its stage."""
        return self.key.removeprefix("stage.")

    @property
    def setting(self) -> str:
        """``KEY=VALUE`` that makes the choice."""
        value = self.values[0] if self.values else self.example
        return f"{self.key}={shown(value)}"


@dataclass(frozen=True)
class Reader:
    """When a key is read.

    Args:
        any_of: One of these has to hold.
        also: And this one, where there is one.
    """

    any_of: tuple[Choice, ...]
    also: Choice | None = None

    def reads(self, config: Config, stage: StageConfig) -> bool:
        """Whether the key is read in this stage of this configuration."""
        one = any(choice.holds(config, stage) for choice in self.any_of)
        return one and (self.also is None or self.also.holds(config, stage))

    def lacking(self, config: Config, stage: StageConfig) -> tuple[Choice, ...]:
        """The choices of which one has to be made for the key to be read."""
        if self.also is not None and not self.also.holds(config, stage):
            return (self.also,)
        return self.any_of


def _when(key: str, *values: Any) -> Reader:
    return Reader((Choice(key, values),))


#: Architectures that are made of nothing but their options.
WITHOUT_ENCODER = ("classic-unet", "compact", "resunet")

_MASKS = Choice("pretext.name", ("none",))
_WITH_MASKS = Reader((_MASKS,))
_PRETEXT = _when("pretext.name", "masked", "vicreg")
_VIEWS = _when("pretext.name", "vicreg")
_LOVASZ = Reader((Choice("stage.loss.name", ("lovasz", "bce+lovasz")),), also=_MASKS)
_EMPTY_HEAD = Reader((Choice("model.options.empty_head", (True,)),), also=_MASKS)
_CONSISTENCY = Reader((Choice("stage.consistency.weight", but=(0,), example=1),), also=_MASKS)
_PLATEAU = _when("stage.schedule.name", "plateau")

#: The keys that not every choice reads, and who does.
READERS: dict[str, Reader] = {
    "input.border": _when("input.framing", "pad"),
    "model.encoder": Reader(
        (Choice("model.architecture", but=WITHOUT_ENCODER, example="unet"),)
    ),
    "augment.mix": _WITH_MASKS,
    "augment.mix_probability": Reader(
        (Choice("augment.mix", but=("none",), example="cutmix"),), also=_MASKS
    ),
    "pretext.hidden": _PRETEXT,
    "pretext.blocks": _PRETEXT,
    "pretext.noise": _PRETEXT,
    "pretext.crop": _VIEWS,
    "pretext.contrast": _VIEWS,
    "pretext.points": _VIEWS,
    "pretext.covariance": _VIEWS,
    "pseudo.file": Reader((Choice("stage.tiles", ("mixed", "pseudo")),), also=_MASKS),
    "pseudo.share": Reader(
        (Choice("stage.tiles", ("mixed",)),),
        also=Choice("pseudo.file", but=("",), example="FILE"),
    ),
    "inference.tta": _WITH_MASKS,
    "inference.batch_size": _WITH_MASKS,
    "stage.tiles": _WITH_MASKS,
    "stage.loss.name": _WITH_MASKS,
    "stage.loss.ignore_empty": _WITH_MASKS,
    "stage.loss.phi": _LOVASZ,
    "stage.loss.symmetric": _LOVASZ,
    "stage.loss.gamma": Reader((Choice("stage.loss.name", ("focal",)),), also=_MASKS),
    "stage.loss.side_weight": Reader(
        (Choice("model.options.deep_supervision", (True,)),), also=_MASKS
    ),
    "stage.loss.nonempty_weight": _EMPTY_HEAD,
    "stage.loss.empty_weight": _EMPTY_HEAD,
    **{
        f"stage.consistency.{key}": _CONSISTENCY
        for key in ("loss", "tiles", "decay", "ramp", "cutmix")
    },
    # the norm is divided out afterwards, whatever it was clipped to
    "stage.optimizer.clip": _when("stage.optimizer.normalized", False),
    "stage.schedule.floor": Reader(
        (Choice("stage.schedule.name", but=("constant",), example="cosine"),)
    ),
    "stage.schedule.cycle": _when("stage.schedule.name", "cosine-restarts"),
    "stage.schedule.power": _when("stage.schedule.name", "poly"),
    "stage.schedule.factor": _PLATEAU,
    "stage.schedule.patience": _PLATEAU,
    "stage.average_over": _when("stage.keep", "average"),
    "stage.ema_decay": _when("stage.keep", "ema"),
    "stage.monitor": Reader(
        (
            Choice("stage.keep", ("best",)),
            Choice("stage.schedule.name", ("plateau",)),
            Choice("stage.early_stopping", but=(0,), example=10),
        ),
        also=_MASKS,  # without them there is only the loss
    ),
}  # fmt: skip


def shown(value: Any) -> str:
    """A value as ``--set`` takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "not given"
    return str(value) or "empty"


def unread(config: Config) -> Iterator[tuple[KeyPath, Reader]]:
    """The keys that nothing reads, given or not, and who would read each."""
    for key, reader in READERS.items():
        first, *rest = key.split(".")
        readers = [reader.reads(config, stage) for stage in config.stage]
        if first != "stage":
            if not any(readers):
                yield (first, *rest), reader
            continue
        for number, reads in enumerate(readers):
            if not reads:
                yield ("stage", number, *rest), reader


def is_given(config: Config, path: KeyPath) -> bool:
    """Whether the key was written down, and is not merely there by default."""
    table: Any = config
    for part in path:
        if isinstance(table, BaseModel) and part not in table.model_fields_set:
            return False
        table = table[part] if isinstance(part, int) else getattr(table, part)
    return True


def read_part(config: Config) -> dict[str, Any]:
    """All keys that something reads, as plain values that TOML and JSON can hold."""
    data = config.model_dump(mode="json")
    for path, _ in unread(config):
        tables: list[Any] = [data]
        for part in path[:-1]:
            tables.append(tables[-1][part])
        del tables[-1][path[-1]]
        if not tables[-1]:
            del tables[-2][path[-2]]
    return data
