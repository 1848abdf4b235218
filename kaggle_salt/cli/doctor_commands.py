"""Commands that look and change nothing: doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kaggle_salt.cli.app import command
from kaggle_salt.cli.options import (
    DATA,
    FOLDS,
    RUNS,
    SUBMISSIONS,
    Data,
    Device,
    Folds,
    Json,
    Runs,
    run_names,
    workspace_of,
)
from kaggle_salt.cli.output import emit
from kaggle_salt.cli.remedies import complete

if TYPE_CHECKING:
    from kaggle_salt.pipeline.health.signs import Diagnosis


@command("doctor")
def doctor(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]",
            help="A run, all files of which are verified; else the machine is looked at.",
            autocompletion=run_names,
        ),
    ] = None,
    data: Data = DATA,
    runs: Runs = RUNS,
    folds: Folds = FOLDS,
    out: Annotated[Path, typer.Option(help="Folder of the submissions.")] = SUBMISSIONS,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Look whether the machine is fit for a training, or whether a run is what was written.

    A line of advice stands wherever something is off. Of a run every hash is taken again: weights,
    predictions, ensembles, submissions. Ends with exit code 3 where something is damaged; nothing
    is written or mended.

    Example: `salt doctor`

    Example: `salt doctor quick`
    """
    from dataclasses import replace

    from kaggle_salt.errors import DataError
    from kaggle_salt.pipeline.health.doctor import diagnose

    workspace = workspace_of(data=data, runs=runs, folds=folds, submissions=out)
    found = diagnose(workspace, run, device=device)
    signs = [replace(sign, advice=complete(sign.advice)) for sign in found.signs]
    diagnosis = replace(found, signs=signs)
    if as_json:
        emit(diagnosis.to_json())
    else:
        typer.echo("\n".join(_lines(diagnosis)))
    if diagnosis.damaged:
        raise typer.Exit(DataError.exit_code)


def _lines(diagnosis: Diagnosis) -> list[str]:
    """A line for each sign, under it the advice, and in the end how it is on the whole."""
    lines = []
    for sign in diagnosis.signs:
        mark = "damaged" if sign.damaged else "look at" if sign.advice else "good"
        lines.append(f"{mark:>7}  {sign.about}: {sign.found}")
        if sign.advice:
            lines.append(f"{'next':>7}  {sign.advice}")
    off = sum(bool(sign.advice) for sign in diagnosis.signs)
    damaged = len(diagnosis.damaged)
    lines.append(f"{damaged} damaged, {off - damaged} to look at, {len(diagnosis.signs)} in all")
    return lines
