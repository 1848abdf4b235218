"""Commands before a long training: lr-find."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from kaggle_salt.cli.app import command
from kaggle_salt.cli.options import (
    DATA,
    FOLDS,
    RUNS,
    ConfigFile,
    Data,
    Device,
    Folds,
    Json,
    Preset,
    RunName,
    Runs,
    Seed,
    Settings,
    overrides_of,
    workspace_of,
)
from kaggle_salt.cli.output import emit
from kaggle_salt.cli.remedies import complete

if TYPE_CHECKING:
    from kaggle_salt.pipeline.training.lr_find import LrReport


@command("lr-find")
def lr_find(
    stage: Annotated[str | None, typer.Option(help="Name of the stage; else the first.")] = None,
    fold: Annotated[int, typer.Option(min=0, help="Its training tiles are used.")] = 0,
    preset: Preset = None,
    config: ConfigFile = None,
    run: RunName = None,
    set_: Settings = None,
    seed: Seed = None,
    lowest: Annotated[float, typer.Option("--min", help="Learning rate of the first step.")] = 1e-6,
    highest: Annotated[float, typer.Option("--max", help="Learning rate of the last step.")] = 1.0,
    steps: Annotated[int, typer.Option(help="Steps, one batch each.")] = 100,
    data: Data = DATA,
    runs: Runs = RUNS,
    folds: Folds = FOLDS,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a moment with a rising learning rate, and say which one a stage should have.

    The network starts from model.weights; for a later stage name those it will start from:
    `--set model.weights=FILE`.

    Example: `salt lr-find --preset quick --stage bce`
    """
    from dataclasses import asdict

    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.choose import choose_run
    from kaggle_salt.pipeline.training.lr_find import Sweep, find_learning_rate

    workspace = workspace_of(data=data, runs=runs, folds=folds)
    overrides = overrides_of(set_, seed)
    listener = ConsoleListener()
    folder, configuration, _ = choose_run(
        workspace, run=run, preset=preset, config_file=config, overrides=overrides,
        device=device, listener=listener,
    )  # fmt: skip
    report = find_learning_rate(
        workspace, folder, configuration, stage=stage, fold=fold,
        sweep=Sweep(lowest, highest, steps), device=device, listener=listener,
    )  # fmt: skip
    ConsoleListener.close_bar()
    rate = f"stage.{report.stage}.optimizer.lr={report.suggestion.steepest:g}"
    named = {"--preset": preset, "--config": config, "--run": run}
    train = _train_command(named, (*overrides, rate), fold)
    if as_json:
        emit({"run": folder.name, "fold": fold, **asdict(report), "command": train})
        return
    typer.echo(f"{_summary(report)}\ncurve: {report.picture}\nnext: {train}")


def _summary(report: LrReport) -> str:
    found = report.suggestion
    return (
        f"{report.steps} steps: the loss falls fastest at {found.steepest:g}; a tenth of where it "
        f"is lowest is {found.tenth_of_lowest:g}; the stage has {report.configured:g}"
    )


def _train_command(named: Mapping[str, object], overrides: Sequence[str], fold: int) -> str:
    """The training of the same run with these overrides, to be pasted into a shell."""
    chosen = [word for option in named.items() if option[1] for word in map(str, option)]
    settings = [word for override in overrides for word in ("--set", override)]
    return complete(shlex.join(["salt", "train", *chosen, *settings, "--fold", str(fold)]))
