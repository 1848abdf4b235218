"""How a run is described: a TOML preset, read into frozen models that refuse what they don't know.

A preset has the tables ``[input]``, ``[model]``, ``[augment]``, ``[training]`` and
``[inference]``, and ``[[stage]]`` blocks that are trained in order. Every key has a default
except a stage's ``name`` and ``epochs``.
"""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from kaggle_salt.errors import ConfigError, nearest

PRESETS = Path(__file__).parent / "presets"
DEFAULT_PRESET = "resnet34"

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Table(BaseModel):
    """A table of the preset: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class InputConfig(Table):
    """How a tile becomes the network's input."""

    size: PositiveInt = 128  #: side of the network's square input, in pixels
    framing: Literal["pad", "resize"] = "pad"
    border: Literal["reflect", "edge"] = "reflect"  #: what padding repeats
    channels: Literal[1, 3] = 1  #: grey, or grey three times (for pretrained encoders)


class ModelConfig(Table):
    """Which network."""

    architecture: str = "unet"  #: one of ours (classic-unet, compact) or any of smp's
    encoder: str = "resnet34"  #: an smp encoder, or tu-<timm name>; ignored by our own networks
    weights: str = "imagenet"  #: imagenet, none, or a file
    options: dict[str, Any] = Field(default_factory=dict)  #: the architecture's own arguments


class AugmentConfig(Table):
    """What happens to a training tile before it is framed."""

    pipeline: str = "light"  #: a name from kaggle_salt.learning.augment


class TrainingConfig(Table):
    """What holds for all stages."""

    seed: int = Field(default=0, ge=0)
    batch_size: PositiveInt = 32
    precision: Literal["auto", "float32", "bf16"] = "auto"  #: auto: bf16 where it is native
    channels_last: bool = True
    workers: int = Field(default=-1, ge=-1)  #: loader processes; -1: none on CPU, a few on a GPU


class InferenceConfig(Table):
    """How weights become probabilities."""

    tta: Literal["none", "flip"] = "flip"
    batch_size: PositiveInt = 64


class LossConfig(Table):
    """The training loss of a stage."""

    name: Literal["bce", "lovasz", "bce+lovasz"] = "bce"
    phi: Literal["relu", "elu"] = "elu"  #: the Lovász hinge's outer function; elu means elu + 1
    symmetric: bool = True  #: mean of the loss and of its mirror image (logits, target flipped)


class OptimizerConfig(Table):
    """The optimiser of a stage."""

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: PositiveFloat = 1e-3  #: highest learning rate of the schedule
    weight_decay: float = Field(default=0.0, ge=0)  #: on weights only, never on biases and norms
    momentum: Share = 0.9  #: SGD's momentum (Nesterov); Adam's first beta
    clip: float = Field(default=0.0, ge=0)  #: largest gradient norm; 0: no clipping


class ScheduleConfig(Table):
    """The learning rate over a stage, as a share of the optimiser's ``lr``."""

    name: Literal["constant", "cosine", "cosine-restarts", "one-cycle", "plateau"] = "cosine"
    floor: float = Field(default=0.01, ge=0, le=1)  #: lowest share (cosine, restarts, plateau)
    cycle: PositiveInt = 50  #: epochs of one cycle (cosine-restarts)
    warmup: Share = 0.2  #: share of the stage spent rising (one-cycle)
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1  #: what a plateau multiplies the rate by
    patience: PositiveInt = 5  #: epochs without improvement that make a plateau


class StageConfig(Table):
    """One stage of training: a loss, an optimiser, a schedule, and which weights it hands on."""

    name: str
    epochs: PositiveInt
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    shrink: PositiveInt = 1  #: train at 1/shrink of the input size (a quarter of the cost at 2)
    keep: Literal["last", "best", "average"] = "last"  #: weights handed on; average is SWA
    monitor: Literal["score", "loss"] = "score"  #: validation figure for best, plateau, stopping
    early_stopping: int = Field(default=0, ge=0)  #: epochs without improvement; 0: never stop

    @model_validator(mode="after")
    def _restarts_fit(self) -> StageConfig:
        if self.schedule.name == "cosine-restarts" and self.schedule.cycle > self.epochs:
            raise ValueError(
                f"a cycle of {self.schedule.cycle} epochs is longer than the stage ({self.epochs})"
            )
        return self


class Config(Table):
    """Everything that decides what a run computes."""

    description: str = ""
    input: InputConfig = InputConfig()
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    training: TrainingConfig = TrainingConfig()
    inference: InferenceConfig = InferenceConfig()
    stage: tuple[StageConfig, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _stage_names_differ(self) -> Config:
        names = [stage.name for stage in self.stage]
        if len(set(names)) < len(names):
            raise ValueError(f"stage names must differ, found {', '.join(names)}")
        return self


def preset_names() -> list[str]:
    """Names of the presets that come with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def preset_path(name: str) -> Path:
    """File of a preset.

    Raises:
        ConfigError: There is no preset of that name; the nearest is offered.
    """
    if name not in preset_names():
        raise ConfigError(
            f"unknown preset '{name}'",
            expected=nearest(name, preset_names()),
            next_step="--preset NAME, or --config FILE.toml for one of your own",
        )
    return PRESETS / f"{name}.toml"


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a preset or a run's ``config.toml`` and apply ``--set`` overrides.

    Args:
        path: TOML file.
        overrides: ``KEY=VALUE`` texts. Keys are dotted (``input.size``); a stage is named by
            its name or its number (``stage.bce.epochs``, ``stage.0.epochs``); ``stage.*``
            means every stage. Values are TOML, and a bare word is taken as a string.

    Raises:
        ConfigError: Missing or malformed file, unknown key, or a value of the wrong kind.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _fault(f"{path} cannot be read: {error.strerror}", "a TOML file") from error
    except ValueError as error:  # not TOML, or not even UTF-8
        raise _fault(f"{path} is not valid TOML: {error}", "TOML as in the presets") from error
    for override in overrides:
        _apply(data, override)
    return _validate(data, str(path))


def _fault(found: str, expected: str) -> ConfigError:
    next_step = "correct the file, the --set KEY=VALUE, or take a --preset"
    return ConfigError(found, expected=expected, next_step=next_step)


def dump_config(config: Config) -> str:
    """The configuration as TOML, every key written out."""
    return tomli_w.dumps(config.model_dump(mode="json"))


def differences(old: Config, new: Config) -> list[str]:
    """Dotted keys whose values differ, as ``key: old -> new``; the description does not count."""
    old_flat, new_flat = _flatten(old.model_dump()), _flatten(new.model_dump())
    keys = sorted((old_flat.keys() | new_flat.keys()) - {"description"})
    return [
        f"{key}: {old_flat.get(key, '-')} -> {new_flat.get(key, '-')}"
        for key in keys
        if old_flat.get(key) != new_flat.get(key)
    ]


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = [(str(key), child) for key, child in value.items()]
    elif isinstance(value, tuple) and value and isinstance(value[0], dict):
        names = [child["name"] for child in value]
        items = [*zip(names, value, strict=True), ("order", ", ".join(names))]
    else:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, child in items:
        flat |= _flatten(child, f"{prefix}.{key}" if prefix else key)
    return flat


def _apply(data: dict[str, Any], override: str) -> None:
    """Write one ``KEY=VALUE`` into the nested tables of ``data``."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise _fault(f"--set {override} has no value", "KEY=VALUE, as in stage.bce.epochs=3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    path = key.strip().split(".")
    tables: list[dict[str, Any]] = [data]
    if path[0] == "stage" and len(path) > 2:
        tables, path = _stages(data, path[1]), path[2:]
    for table in tables:
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise _fault(f"--set {key}: '{part}' is a value, not a table", "a key in a table")
        table[path[-1]] = value


def _stages(data: dict[str, Any], which: str) -> list[dict[str, Any]]:
    stages: list[dict[str, Any]] = data.get("stage", [])
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise _fault("'stage' is not a list of tables", "[[stage]] blocks")
    names = [str(stage.get("name")) for stage in stages]
    if which == "*":
        return stages
    if which in names:
        return [stages[names.index(which)]]
    if which.isdecimal() and int(which) < len(stages):
        return [stages[int(which)]]
    raise _fault(f"there is no stage '{which}'", nearest(which, [*names, "*"]))


def _validate(data: dict[str, Any], source: str) -> Config:
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        lines = [_describe(problem) for problem in error.errors()]
        found, expected = ("; ".join(texts) for texts in zip(*lines, strict=True))
        raise _fault(f"{source}: {found}", expected) from error


def _describe(problem: ErrorDetails) -> tuple[str, str]:
    """One pydantic problem as (what is wrong, what would be right)."""
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{key}'", nearest(location[-1], _known_keys(location[:-1]))
    if problem["type"] == "missing":
        return f"'{key}' is missing", f"a value for '{key}'"
    if problem["type"] == "literal_error":
        choices = problem["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{key} = {problem['input']!r}", nearest(str(problem["input"]), choices)
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key} = {problem['input']!r}" if key else message, message


def _known_keys(location: Sequence[str]) -> list[str]:
    """Keys of the table at ``location`` (list positions are passed over)."""
    model: type[BaseModel] = Config
    for part in location:
        if part.isdigit():
            continue
        annotation = model.model_fields[part].annotation
        inner = [a for a in typing.get_args(annotation) if a is not Ellipsis]
        model = inner[0] if inner else typing.cast("type[BaseModel]", annotation)
    return list(model.model_fields)
