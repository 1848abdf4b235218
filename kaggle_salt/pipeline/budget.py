"""A configuration's stages made longer or shorter, in proportion, to fit what one has.

All of a stage that is counted in epochs scales with it: the cycle of its schedule, so that whole
cycles remain whole and as many as before; and its patience, which its author chose for a stage of
that length. A patience of one epoch would be noise and an average of one none, so a few epochs
always remain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kaggle_salt.config.schema import Config
from kaggle_salt.config.stage import StageConfig
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.timing import StageCost

#: What a stage counts in epochs, by the key within the stage.
Lengths = Mapping[str, int]

#: The least epochs without improvement that make a plateau, and that end a stage.
LEAST_PATIENCE, LEAST_WAIT = 2, 5

#: The least epochs whose ends are averaged.
LEAST_AVERAGED = 2

#: What the keys of a stage's schedule begin with.
SCHEDULE = "schedule."

#: Steps of the search for the scale: enough for all digits of a float.
HALVINGS = 200


@dataclass(frozen=True)
class Budget:
    """What a fold's training may take: minutes, or epochs of all stages together.

    Args:
        minutes: Wall time of a fold.
        epochs: Their number.

    Raises:
        ConfigError: Both are given or neither, or what is given is not above 0.
    """

    minutes: float | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.epochs is None):
            raise ConfigError(
                "--minutes and --epochs exclude each other",
                expected="one of the two",
                next_step="leave out --minutes or --epochs",
            )
        amount = self.minutes if self.epochs is None else self.epochs
        whole = self.epochs is None or float(self.epochs).is_integer()
        if amount is None or not (math.isfinite(amount) and amount > 0 and whole):
            what = "minutes" if self.epochs is None else "epochs"
            raise ConfigError(
                f"a training of {amount} {what}",
                expected=f"a number of {what} above 0",
                next_step="--minutes 30, or --epochs 60",
            )

    @classmethod
    def of(cls, minutes: float | None, epochs: int | None) -> Budget | None:
        """The budget that was asked for; None where none was."""
        return None if minutes is None and epochs is None else cls(minutes, epochs)

    def __str__(self) -> str:
        return f"{self.epochs} epochs" if self.minutes is None else f"{self.minutes:g} minutes"

    @property
    def option(self) -> str:
        """As the command line takes it."""
        return f"--epochs {self.epochs}" if self.minutes is None else f"--minutes {self.minutes:g}"

    @property
    def limit(self) -> float:
        """In seconds, or in epochs."""
        return float(self.epochs or 0) if self.minutes is None else 60 * self.minutes


def lengths_of(stage: StageConfig) -> dict[str, int]:
    """What a stage counts in epochs and reads."""
    lengths = {"epochs": stage.epochs}
    if stage.schedule.name == "cosine-restarts":
        lengths["schedule.cycle"] = stage.schedule.cycle
    if stage.schedule.name == "plateau":
        lengths["schedule.patience"] = stage.schedule.patience
    if stage.early_stopping:
        lengths["early_stopping"] = stage.early_stopping
    return lengths


def with_lengths(config: Config, lengths: Mapping[str, Lengths]) -> Config:
    """The configuration with other lengths; stages that are not named stay as they are.

    Args:
        config: A configuration.
        lengths: Of stages, by their names.
    """
    stages = []
    for stage in config.stage:
        own = dict(lengths.get(stage.name, {}))
        dotted = [key for key in own if key.startswith(SCHEDULE)]
        inner = {key.removeprefix(SCHEDULE): own.pop(key) for key in dotted}
        schedule = stage.schedule.model_copy(update=inner)
        stages.append(stage.model_copy(update={**own, "schedule": schedule}))
    changed = config.model_copy(update={"stage": tuple(stages)})
    return Config.model_validate(changed.model_dump())


def fit(config: Config, costs: Sequence[StageCost], limit: float) -> Config:
    """Scale the stages to the largest that a limit allows; the least where it allows nothing.

    Epochs are rounded to the nearest. A stage has one at least, one with cycles one for each, one
    that averages the ends of epochs two if it had them.
    Where stages would round up at the same scale and there is room for some of them only, those
    that rounding takes most from come first.

    Args:
        config: The configuration.
        costs: Of each of its stages.
        limit: In the unit of the costs.
    """

    def cost(at: Sequence[Lengths]) -> float:
        return cost_of(costs, [one["epochs"] for one in at])

    low, high = 0.0, 2 + limit / max(min(one.epoch for one in costs), 1e-9)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        fits = cost([_scaled(stage, middle) for stage in config.stage]) <= limit
        low, high = (middle, high) if fits else (low, middle)
    scaled = [_scaled(stage, low) for stage in config.stage]
    for number in _by_loss(config, low):
        grown = list(scaled)
        grown[number] = _scaled(config.stage[number], low, extra=1)
        scaled = grown if cost(grown) <= limit else scaled
    names = [stage.name for stage in config.stage]
    return with_lengths(config, dict(zip(names, scaled, strict=True)))


def cost_of(costs: Sequence[StageCost], epochs: Sequence[int]) -> float:
    """Cost of a training whose stages have so many epochs."""
    return sum(one.once + one.epoch * n for one, n in zip(costs, epochs, strict=True))


def _scaled(stage: StageConfig, scale: float, extra: int = 0) -> dict[str, int]:
    """Lengths of a stage at a scale.

    Args:
        stage: The stage as its author made it.
        scale: 1 leaves it so.
        extra: Epochs on top, one for each cycle where there are cycles.
    """
    given = lengths_of(stage)
    unit = _unit(stage)
    epochs = max(_least(stage), _nearest(stage.epochs / unit * scale) + extra) * unit
    share = epochs / stage.epochs
    scaled = {"epochs": epochs}
    if "schedule.cycle" in given:
        scaled["schedule.cycle"] = max(1, _nearest(stage.cycle * share))
    for key, least in (("schedule.patience", LEAST_PATIENCE), ("early_stopping", LEAST_WAIT)):
        if key in given:
            scaled[key] = max(min(least, given[key]), _nearest(given[key] * share))
    return scaled


def _nearest(number: float) -> int:
    return int(number + 0.5)


def _unit(stage: StageConfig) -> int:
    """Epochs by which a stage grows: one, or one for each of its whole cycles."""
    cycles, rest = divmod(stage.epochs, stage.cycle)
    return 1 if rest else cycles


def _least(stage: StageConfig) -> int:
    """How often a stage trains what it grows by, whatever the scale."""
    if stage.keep == "average" and _unit(stage) == 1:  # else it has cycles, two at least
        return min(stage.epochs, LEAST_AVERAGED)
    return 1


def _by_loss(config: Config, scale: float) -> list[int]:
    """Numbers of the stages, those first that rounding takes most from."""
    shares = [stage.epochs / _unit(stage) * scale for stage in config.stage]
    # rounded: of equal losses the first stage comes first, whatever the last digits say
    return sorted(range(len(shares)), key=lambda n: -round(shares[n] - _nearest(shares[n]), 6))
