"""``salt sweep``: one run for each variant and seed, then all of them against the base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kaggle_salt.config.file import differences
from kaggle_salt.config.schema import Config
from kaggle_salt.ensembling.comparison import Comparison
from kaggle_salt.errors import SaltError, reason
from kaggle_salt.pipeline.choose import Chosen, choose_run
from kaggle_salt.pipeline.compare import compare
from kaggle_salt.pipeline.sweep_file import BASE, Planned, Sweep, read_sweep
from kaggle_salt.pipeline.train import train
from kaggle_salt.pipeline.workspace import Listener, Workspace


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
) -> SweepReport:
    """Train what a file describes, one run after the other, and compare with the base.

    Called again it goes on where it was. A run that fails is reported, and the others go on.

    Args:
        workspace: Where data, fold table and runs lie.
        file: See :class:`kaggle_salt.pipeline.sweep_file.SweepFile`.
        device: Where to compute.
        html: Where to write the page of the comparison.
        listener: Told how the work goes.

    Raises:
        ConfigError: The file is no sweep, or its base is no configuration.
    """
    listener = listener or Listener()
    plan = read_sweep(file)
    base = _chosen(workspace, plan, plan.runs[0], device, listener).config
    swept = []
    for number, planned in enumerate(plan.runs, start=1):
        listener.note(f"sweep: run {number} of {len(plan.runs)}, {planned.name}")
        trouble = _train(workspace, plan, planned, base, device, listener)
        if trouble is None:
            continue
        if trouble:
            listener.warn(f"run {planned.name} failed, the others go on: {trouble}")
        swept.append(SweptRun(planned.name, planned.variant, planned.seed, trouble))
    return _compared(workspace, swept, html, listener)


def _chosen(
    workspace: Workspace, plan: Sweep, planned: Planned, device: str, listener: Listener
) -> Chosen:
    return choose_run(
        workspace, run=planned.name, preset=plan.preset, config_file=plan.config,
        overrides=planned.overrides, device=device, listener=listener,
    )  # fmt: skip


def _train(
    workspace: Workspace,
    plan: Sweep,
    planned: Planned,
    base: Config,
    device: str,
    listener: Listener,
) -> str | None:
    """What went wrong, or nothing; None for a variant that is the base by another name."""
    try:
        run, config, _ = _chosen(workspace, plan, planned, device, listener)
        changed = [one for one in differences(base, config) if not one.startswith("training.seed")]
        if planned.variant != BASE and not changed:
            listener.note(f"{planned.variant} is what the base has; it is not trained twice")
            return None
        train(
            workspace, run, config, folds=plan.folds, device=device, resume=True,
            budget=plan.budget, listener=listener,
        )  # fmt: skip
    except SaltError as error:
        return "; ".join(filter(None, [error.found, error.next_step]))
    except Exception as error:  # out of memory, or a fault of one variant's network
        return reason(error)
    return ""


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
