"""The command pretrain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kaggle_salt.cli.app import command
from kaggle_salt.cli.options import (
    DATA,
    RUNS,
    ConfigFile,
    Data,
    Device,
    Epochs,
    Json,
    Minutes,
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
from kaggle_salt.errors import salt_command

if TYPE_CHECKING:
    from kaggle_salt.pipeline.training.pretrain import PretrainingReport


@command("pretrain")
def pretrain(
    method: Annotated[
        str | None,
        typer.Option(help="masked: rebuild what is hidden. vicreg: two views look the same."),
    ] = None,
    preset: Preset = None,
    config: ConfigFile = None,
    run: RunName = None,
    set_: Settings = None,
    seed: Seed = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is half done.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Pretrain anew.")] = False,
    data: Data = DATA,
    runs: Runs = RUNS,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Let a preset's network learn from all tiles, test tiles too, without looking at a mask.

    Any fold may start from what it learns: `salt train --set model.weights=FILE`.

    Example: `salt pretrain --preset quick --minutes 10`
    """
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.budget import Budget
    from kaggle_salt.pipeline.choose import choose_pretraining
    from kaggle_salt.pipeline.training.pretrain import pretrain as learn

    workspace = workspace_of(data=data, runs=runs)
    listener, budget = ConsoleListener(), Budget.of(minutes, epochs)
    folder, configuration = choose_pretraining(
        workspace, run=run, preset=preset, config_file=config, method=method,
        overrides=overrides_of(set_, seed), device=device,
    )  # fmt: skip
    report = learn(
        workspace, folder, configuration, device=device, resume=resume, overwrite=overwrite,
        budget=budget, listener=listener,
    )  # fmt: skip
    _print_pretrained(report, preset, as_json)


def _print_pretrained(report: PretrainingReport, preset: str | None, as_json: bool) -> None:
    """Where the weights are, and the command that trains a fold from them."""
    from dataclasses import asdict

    start = ["--preset", preset] if preset else []
    weights = ("--set", f"model.weights={report.weights}")
    train = salt_command("train", *start, "--run", f"{report.run}-trained", "--fold", 0, *weights)
    train = complete(train)
    if as_json:
        emit({**asdict(report), "command": train})
        return
    summary = report.summary
    typer.echo(
        f"{report.weights}: {summary.epochs} epochs of {summary.tiles} tiles in "
        f"{summary.seconds / 60:.1f} min, loss {summary.loss:.4f}\n"
        f"look at {report.picture}\n"
        f"next: {train}"
    )
