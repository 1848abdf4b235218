"""The command that hands a run to other programs: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kaggle_salt.cli.app import command
from kaggle_salt.cli.options import RUNS, Json, Runs, run_names, workspace_of
from kaggle_salt.cli.output import emit


@command("export")
def export(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A trained run.", autocompletion=run_names)
    ],
    to: Annotated[str, typer.Option(help="Kind of file; there is one: onnx.")] = "onnx",
    fold: Annotated[str, typer.Option(help="Of the finished folds: all, 0, or 0,2.")] = "all",
    out: Annotated[
        Path | None, typer.Option(help="The file; else RUN.onnx in the run's folder.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    runs: Runs = RUNS,
    as_json: Json = False,
) -> None:
    """Write a run as one ONNX file: tiles in, the mean probabilities of its folds out.

    Framing, normalisation and flip TTA are inside. ONNX Runtime must agree with torch first.

    Example: `salt export quick --to onnx --out salt.onnx`
    """
    from dataclasses import asdict

    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.predicting.export import export_run

    report = export_run(
        workspace_of(runs=runs), run, to=to, folds=fold, out=out, overwrite=overwrite,
        listener=ConsoleListener(),
    )  # fmt: skip
    if as_json:
        emit(asdict(report))
        return
    told = report.metadata
    typer.echo(
        f"{report.path}: run {told['run']}, fold {told['folds']}, {report.size / 1e6:.1f} MB\n"
        f"checked: ONNX Runtime's probabilities are those of torch within {report.difference:.1g}"
    )
