"""``salt sweep``: one run for each variant and seed, then all of them against the base."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kaggle_salt.config.file import differences
from kaggle_salt.ensembling.comparison import Comparison
from kaggle_salt.errors import SaltError, reason
from kaggle_salt.pipeline.choose import Chosen, choose_run
from kaggle_salt.pipeline.judging.compare import compare
from kaggle_salt.pipeline.training.sweep_file import BASE, Planned, Sweep, read_sweep
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.workspace import Listener, Workspace

#: Trains runs, given by their names; tells what went wrong with those that failed.
TrainAll = Callable[[Sweep, Mapping[str, Chosen]], Mapping[str, str]]


@dataclass(frozen=True)
class SweptRun:
    """What became of a run; ``trouble`` is empty where it was trained to the end."""

    name: str
    variant: str
    seed: int | None
    trouble: str = ""


@dataclass(frozen=True)
class SweepReport:
    """What a sweep gave.

    Args:
        runs: All that it trained, or found trained already.
        comparison: Of those that were trained, against the base; None where that cannot be.
        trouble: Why there is no comparison.
    """

    runs: tuple[SweptRun, ...]
    comparison: Comparison | None
    trouble: str = ""

    @property
    def failed(self) -> tuple[SweptRun, ...]:
        return tuple(run for run in self.runs if run.trouble)


def sweep(
    workspace: Workspace,
    file: Path,
    *,
    device: str = "auto",
    html: Path | None = None,
    listener: Listener | None = None,
    train_all: TrainAll | None = None,
) -> SweepReport:
    """Train what a file describes, one run after the other, and compare with the base.

    Called again it goes on where it was. A run that fails is reported, and the others go on.

    Args:
        workspace: Where data, fold table and runs lie.
        file: See :class:`kaggle_salt.pipeline.training.sweep_file.SweepFile`.
        device: Where to compute.
        html: Where to write the page of the comparison.
        listener: Told how the work goes.
        train_all: Trains the runs in some other way.

    Raises:
        ConfigError: The file is no sweep, or its base is no configuration.
    """
    listener = listener or Listener()
    plan = read_sweep(file)
    ready = list(_choose_all(workspace, plan, device, listener))
    chosen = {run.name: one for run, one in ready if one}
    train_all = train_all or partial(_one_after_the_other, workspace, device, listener)
    troubles = train_all(plan, chosen)
    swept = [replace(run, trouble=run.trouble or troubles.get(run.name, "")) for run, _ in ready]
    return _compared(workspace, swept, html, listener)


def trouble_of(error: Exception) -> str:
    """What went wrong with a run, in a line."""
    if isinstance(error, SaltError):
        return "; ".join(filter(None, [error.found, error.next_step]))
    return reason(error)  # out of memory, or a fault of one variant's network


def _warn_of(name: str, trouble: str, listener: Listener) -> None:
    listener.warn(f"run {name} failed, the others go on: {trouble}")


def _chosen(
    workspace: Workspace, plan: Sweep, planned: Planned, device: str, listener: Listener
) -> Chosen:
    return choose_run(
        workspace, run=planned.name, preset=plan.preset, config_file=plan.config,
        overrides=planned.overrides, device=device, listener=listener,
    )  # fmt: skip


def _choose_all(
    workspace: Workspace, plan: Sweep, device: str, listener: Listener
) -> Iterator[tuple[SweptRun, Chosen | None]]:
    """The runs to be trained; what is no configuration has its trouble, and is not.

    A variant that is the base by another name is left out.
    """
    base = _chosen(workspace, plan, plan.runs[0], device, listener).config
    for planned in plan.runs:
        swept = SweptRun(planned.name, planned.variant, planned.seed)
        try:
            chosen = _chosen(workspace, plan, planned, device, listener)
        except Exception as error:
            trouble = trouble_of(error)
            _warn_of(planned.name, trouble, listener)
            yield replace(swept, trouble=trouble), None
            continue
        changed = differences(base, chosen.config)
        if planned.variant == BASE or any(not one.startswith("training.seed") for one in changed):
            yield swept, chosen
        else:
            listener.note(f"{planned.variant} is what the base has; it is not trained twice")


def _one_after_the_other(
    workspace: Workspace, device: str, listener: Listener, plan: Sweep, runs: Mapping[str, Chosen]
) -> dict[str, str]:
    troubles = {}
    for number, (name, (run, config, _)) in enumerate(runs.items(), start=1):
        listener.note(f"sweep: run {number} of {len(runs)}, {name}")
        try:
            train(
                workspace, run, config, folds=plan.folds, device=device, resume=True,
                budget=plan.budget, listener=listener,
            )  # fmt: skip
        except Exception as error:
            troubles[name] = trouble_of(error)
            _warn_of(name, troubles[name], listener)
    return troubles


def _compared(
    workspace: Workspace, swept: Sequence[SweptRun], html: Path | None, listener: Listener
) -> SweepReport:
    trained = [run for run in swept if not run.trouble]
    if not any(run.variant == BASE for run in trained):
        return SweepReport(tuple(swept), None, "the base was not trained")
    if len(trained) < 2:
        return SweepReport(tuple(swept), None, "there is nothing to compare the base with")
    try:
        names = [run.name for run in trained]
        return SweepReport(
            tuple(swept), compare(workspace, names, html=html, listener=listener)
        )  # fmt: skip
    except SaltError as error:
        return SweepReport(tuple(swept), None, error.found)
