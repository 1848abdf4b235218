"""A plan: stages fitted to the minutes or epochs one has; what was asked, timed and decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.learning.batches import PretrainingTiles, TrainingTiles
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.timing import StageCost, StageTime, stage_costs, time_stages
from kaggle_salt.pipeline.budget import Budget, Lengths, cost_of, fit, lengths_of, with_lengths
from kaggle_salt.pipeline.workspace import Listener
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage.files import read_json

#: Key of the plan in a run's manifest.
PLAN = "plan"


@dataclass(frozen=True)
class StagePlan:
    """A stage of a plan.

    Args:
        name: Of the stage.
        size: Side of what the network sees, in pixels.
        given: Its lengths in epochs as the configuration had them.
        planned: And as they are now.
        minutes: How long it will take, what comes once included; None if nothing was timed.
        seconds: What was timed; None if nothing was.
    """

    name: str
    size: int
    given: Lengths
    planned: Lengths
    minutes: float | None = None
    seconds: Mapping[str, float] | None = None

    @property
    def line(self) -> str:
        """The stage in a line."""
        minutes = "" if self.minutes is None else f"  {self.minutes:6.1f} min"
        given, planned = self.given["epochs"], self.planned["epochs"]
        return f"  {self.name:<12} {planned:>4} epochs (of {given}) at {self.size} px{minutes}"


@dataclass(frozen=True)
class Plan:
    """How a run was made to fit.

    Args:
        asked: What a fold may take.
        machine: Where it was planned: device, threads, number format.
        stages: In the order they are trained.
    """

    asked: Budget
    machine: str
    stages: tuple[StagePlan, ...]

    @property
    def minutes(self) -> float | None:
        """How long a fold will take; None if nothing was timed."""
        known = [stage.minutes for stage in self.stages if stage.minutes is not None]
        return sum(known) if len(known) == len(self.stages) else None

    def apply(self, config: Config) -> Config:
        """The configuration as planned, whether it is so already or as it was given."""
        return with_lengths(config, {stage.name: stage.planned for stage in self.stages})

    def undo(self, config: Config) -> Config:
        """The configuration as it was given, if it is as planned; else as it is."""
        if not self.has_planned(config):
            return config
        return with_lengths(config, {stage.name: stage.given for stage in self.stages})

    def has_planned(self, config: Config) -> bool:
        """Whether the stages are as planned."""
        return _lengths(config) == {stage.name: stage.planned for stage in self.stages}

    def was_given(self, config: Config) -> bool:
        """Whether the stages are those that were planned for."""
        return _lengths(config) == {stage.name: stage.given for stage in self.stages}

    def lines(self) -> list[str]:
        """The plan for a person to read."""
        told = f"timed on {self.machine}" if self.minutes is not None else "nothing timed"
        first = f"plan for {self.asked} a fold, {told}:"
        epochs = sum(stage.planned["epochs"] for stage in self.stages)
        minutes = "" if self.minutes is None else f", about {self.minutes:.1f} min a fold"
        return [first, *(stage.line for stage in self.stages), f"  {epochs} epochs{minutes}"]

    def to_manifest(self) -> dict[str, Any]:
        """As the run's manifest records it."""
        return {**asdict(self), "minutes": self.minutes}

    @classmethod
    def from_manifest(cls, told: Mapping[str, Any]) -> Self:
        """What :meth:`to_manifest` gave."""
        stages = tuple(StagePlan(**stage) for stage in told["stages"])
        return cls(Budget(**told["asked"]), told["machine"], stages)


def read_plan(run: RunFolder) -> Plan | None:
    """The plan in a run's manifest; None if there is none.

    Raises:
        DataError: It is damaged.
    """
    if not run.manifest.exists():
        return None
    told = read_json(run.manifest).get(PLAN)
    try:
        return None if told is None else Plan.from_manifest(told)
    except (TypeError, KeyError, ConfigError) as error:
        raise DataError(
            f"the plan in {run.manifest} is damaged: {error}",
            expected="what salt train --minutes wrote there",
            next_step="--run NEW_NAME for a new run",
        ) from error


def make_plan(
    config: Config,
    budget: Budget,
    tiles: TrainingTiles | PretrainingTiles,
    compute: Compute,
    listener: Listener,
) -> tuple[Config, Plan]:
    """Scale a configuration's stages to a budget; for minutes a step of each is timed.

    Args:
        config: The configuration as it was given, channels settled.
        budget: What a fold may take.
        tiles: A fold's.
        compute: Where it will be trained.
        listener: Told of the plan.

    Returns:
        The configuration as planned, and the plan.

    Raises:
        ConfigError: One epoch of each stage (one of each cycle) is more than the budget.
    """
    if budget.minutes is None:
        times, costs = None, [StageCost(epoch=1.0, once=0.0)] * len(config.stage)
    else:
        listener.note(f"a few steps of each stage are timed on {compute}")
        times = time_stages(config, tiles, compute)
        costs = stage_costs(config, times, tiles)
    fitted = fit(config, costs, budget.limit)
    least = cost_of(costs, [stage.epochs for stage in fitted.stage])
    if least > budget.limit:
        raise _too_small(fitted, budget, least)
    stages = [
        _stage_plan(config, fitted, number, times, costs) for number in range(len(config.stage))
    ]
    plan = Plan(budget, str(compute), tuple(stages))
    for line in plan.lines():
        listener.note(line)
    return fitted, plan


def _stage_plan(
    config: Config,
    fitted: Config,
    number: int,
    times: Sequence[StageTime] | None,
    costs: Sequence[StageCost],
) -> StagePlan:
    stage = fitted.stage[number]
    return StagePlan(
        name=stage.name,
        size=config.input.size // stage.shrink,
        given=lengths_of(config.stage[number]),
        planned=lengths_of(stage),
        minutes=cost_of([costs[number]], [stage.epochs]) / 60 if times else None,
        seconds={**asdict(times[number]), **asdict(costs[number])} if times else None,
    )


def _too_small(least: Config, budget: Budget, cost: float) -> ConfigError:
    epochs = sum(stage.epochs for stage in least.stage)
    each = f"{epochs} epochs, one of each stage"
    if epochs > len(least.stage):
        each += " and one of each cycle"
    if budget.minutes is None:
        return ConfigError(
            f"{budget} are too few for the {len(least.stage)} stages",
            expected=f"{epochs} or more ({each})",
            next_step=f"--epochs {epochs}",
        )
    minutes = -(-cost // 6) / 10  # rounded up: what is advised has to do
    return ConfigError(
        f"{budget} a fold are too few: {each}, take {cost / 60:.2f} here",
        expected=f"{minutes:g} minutes or more",
        next_step=f"--minutes {minutes + 0.1:.1f}, or a smaller input, "
        "as with --set 'stage.*.shrink=2'",
    )


def _lengths(config: Config) -> dict[str, Lengths]:
    return {stage.name: lengths_of(stage) for stage in config.stage}
