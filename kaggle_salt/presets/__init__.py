"""The presets that come with the package: one TOML file for each system, one table of results."""

from __future__ import annotations

import csv
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from kaggle_salt.errors import ConfigError, nearest

PRESETS = Path(__file__).parent
MEASURED = PRESETS / "measured.csv"

#: The ways to pretrain: what takes the place of a preset's stages, ``pretraining/NAME.toml``.
METHODS = ("masked", "vicreg")

#: Which preset is taken where none is named: with a CUDA GPU, and without.
GPU_PRESET, CPU_PRESET = "resnet34", "quick"

#: Minutes that a fold of the real tiles took on one CPU core, as the preset's file has it.
FOLD_MINUTES = {"quick": 25}

#: Says in a preset's opening comment which machine its recipe is sized for.
MADE_FOR = re.compile(r"^# Made for (.+)\.$", re.MULTILINE)


@dataclass(frozen=True)
class Measured:
    """A line of ``measured.csv``: what a preset gave on fold 0 of the real tiles.

    Args:
        parameters: Number of trainable parameters.
        budget_minutes: Training time that it was cut to; None in full.
        size: Side of the network's input, in pixels.
        epochs: Epochs trained.
        minutes: Training time, validation included.
        tiles_per_second: Training tiles over that time.
        score: Out-of-fold score at threshold .5 with flip TTA; None where nothing was measured.
        low: Lower end of the score's 95 % interval.
        high: Upper end of it.
        machine: Where it was measured.
        note: What a reader must know beside it.
    """

    parameters: int
    budget_minutes: float | None
    size: int | None
    epochs: int | None
    minutes: float | None
    tiles_per_second: float | None
    score: float | None
    low: float | None
    high: float | None
    machine: str
    note: str


@dataclass(frozen=True)
class Preset:
    """What the list of presets says of one.

    Args:
        name: As ``--preset`` takes it.
        machine: What its recipe is sized for.
        description: One line.
        measured: Its size, and its score where there is one.
    """

    name: str
    machine: str
    description: str
    measured: Measured


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


def recipe_path(method: str) -> Path:
    """File with the stages of a way to pretrain.

    Raises:
        ConfigError: There is no such method.
    """
    if method not in METHODS:
        raise ConfigError(
            f"unknown method '{method}'",
            expected=nearest(method, METHODS),
            next_step="--method NAME",
        )
    return PRESETS / "pretraining" / f"{method}.toml"


def list_presets() -> list[Preset]:
    """All presets, by name; read from their files alone, so that listing them takes no time."""
    measured = read_measured()
    presets = []
    for name in preset_names():
        text = preset_path(name).read_text(encoding="utf-8")
        [machine] = MADE_FOR.findall(text)
        description = tomllib.loads(text)["description"]
        presets.append(Preset(name, machine, description, measured[name]))
    return presets


def read_measured(path: Path = MEASURED) -> dict[str, Measured]:
    """Results by preset; an empty field was not measured."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["preset"]: _measured(row) for row in csv.DictReader(file)}


def _measured(row: dict[str, str]) -> Measured:
    def number(key: str) -> float | None:
        return float(row[key]) if row[key] else None

    def count(key: str) -> int | None:
        return int(row[key]) if row[key] else None

    return Measured(
        parameters=int(row["parameters"]),
        budget_minutes=number("budget_minutes"),
        size=count("size"),
        epochs=count("epochs"),
        minutes=number("minutes"),
        tiles_per_second=number("tiles_per_second"),
        score=number("score"),
        low=number("low"),
        high=number("high"),
        machine=row["machine"],
        note=row["note"],
    )
