"""``salt train --minutes`` and ``--epochs``: a plan is made once, and the whole run keeps to it.

The plan stands in the run's manifest. A resume and the other folds take it from there and time
nothing: a busy hour must not give one fold other epochs than the next.
"""

from __future__ import annotations

from dataclasses import dataclass

from kaggle_salt.config.file import differences, load_run_config
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.batches import PretrainingTiles, TrainingTiles
from kaggle_salt.learning.device import Compute
from kaggle_salt.pipeline.budget import Budget
from kaggle_salt.pipeline.training.plan import Plan, make_plan, read_plan
from kaggle_salt.pipeline.workspace import Listener
from kaggle_salt.runs import RunFolder


@dataclass(frozen=True)
class Planner:
    """Gives a run its plan: the one it has, or a new one.

    Args:
        run: The run's folder.
        config: What was asked to be trained, channels settled.
        budget: What a fold may take, if that was said.
        compute: Where it will be trained.
        replaced: Folds that start anew whatever is there.
    """

    run: RunFolder
    config: Config
    budget: Budget | None
    compute: Compute
    replaced: frozenset[int] = frozenset()

    @property
    def stays(self) -> bool:
        """Whether a fold of the run, begun or finished, will stay as it is."""
        return bool(set(self.run.claimed_folds()) - self.replaced)

    def recorded(self, listener: Listener) -> tuple[Config, Plan | None]:
        """Keep to the plan of a run that has one.

        Args:
            listener: Told if a plan is kept to that was not asked for.

        Returns:
            The configuration to train and its plan. Without a plan it is the configuration as
            given, which :meth:`make` has to fit where there is a budget.

        Raises:
            ConfigError: Folds that stay were trained to another plan, or to none.
        """
        plan, config, budget = read_plan(self.run), self.config, self.budget
        if plan is None:
            if budget and self.stays:
                raise _other_plan(self.run, None)
            return config, None
        known = plan.has_planned(config) or plan.was_given(config)
        if budget is None:
            if known and self.stays and not plan.has_planned(config):
                listener.note(f"run {self.run.name} keeps to its plan for {plan.asked} a fold")
                config = plan.apply(config)
            return config, plan if plan.has_planned(config) else None
        if self.stays and plan.asked != budget:
            raise _other_plan(self.run, plan)
        planned = plan.apply(config)
        if known and plan.asked == budget and (self.stays or self._is_begun(plan, planned)):
            return planned, plan
        return config, None

    def _is_begun(self, plan: Plan, planned: Config) -> bool:
        """Whether just this was planned here before, and no epoch was finished since."""
        same = plan.machine == str(self.compute) and self.run.config.exists()
        return (
            same
            and not self.replaced
            and not differences(load_run_config(self.run.config), planned)
        )

    def make(
        self, tiles: TrainingTiles | PretrainingTiles, listener: Listener
    ) -> tuple[Config, Plan | None]:
        """Make a plan for the budget, unless another process made the run's in the meantime.

        Args:
            tiles: A fold's, to time steps with.
            listener: Told of the plan.

        Raises:
            ConfigError: The budget is too small; or see :meth:`recorded`.
        """
        if self.budget is None:
            return self.config, None
        before = read_plan(self.run)
        given = before.undo(self.config) if before else self.config
        made = make_plan(given, self.budget, tiles, self.compute, listener)
        return self.recorded(listener) if self.stays else made


def _other_plan(run: RunFolder, plan: Plan | None) -> ConfigError:
    told = f"is planned for {plan.asked} a fold" if plan else "was trained without a plan"
    keep = f"{plan.asked.option} for this run" if plan else "leave out --minutes and --epochs"
    return ConfigError(
        f"run {run.name} {told}, and folds of it are there",
        expected="one plan for all folds of a run",
        next_step=f"{keep}, or --run NEW_NAME for a new one",
    )
