"""Commands that carry a trained network elsewhere: predict, ship."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kaggle_salt.cli.app import command
from kaggle_salt.cli.options import (
    DATA,
    RUNS,
    Data,
    Device,
    Json,
    Model,
    Runs,
    run_names,
    workspace_of,
)
from kaggle_salt.cli.output import emit, print_table

if TYPE_CHECKING:
    from kaggle_salt.pipeline.predict import PredictReport

#: Lines of the table of images; of more, ``--json`` tells.
MOST_LINES = 20


@command("predict")
def predict(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="PNG, JPEG, TIFF; folders, globs.")
    ],
    run: Annotated[
        str | None, typer.Option(help="Run; else the one trained last.", autocompletion=run_names)
    ] = None,
    model: Model = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("predictions"),
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="In place of the one chosen out of fold.")
    ] = None,
    overlap: Annotated[
        float, typer.Option(help="Share of a tile that the next one sees too, below 1.")
    ] = 0.5,
    stretch: Annotated[
        bool, typer.Option("--stretch", help="Spread levels between percentiles .5 and 99.5.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that are there.")
    ] = False,
    runs: Runs = RUNS,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find salt in images of any size: a mask, the probabilities and an overlay of each.

    Example: `salt predict line12.tif sections/ --out masks`
    """
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.predict import predict as run_predict

    report = run_predict(
        workspace_of(runs=runs), images, run=run, model=model, out=out, threshold=threshold,
        overlap=overlap, stretch=stretch, overwrite=overwrite, device=device,
        listener=ConsoleListener(),
    )  # fmt: skip
    if as_json:
        emit({**asdict(report), "coverage": report.coverage})
        return
    _print_predicted(report, out)


def _print_predicted(report: PredictReport, out: Path) -> None:
    shown = report.images[:MOST_LINES]
    print_table(["image", "height", "width", "tiles", "salt"], [
        [image.image, image.height, image.width, image.tiles, f"{image.coverage:.2%}"]
        for image in shown
    ], least=["tiles"])  # fmt: skip
    if len(report.images) > len(shown):
        typer.echo(f"and {len(report.images) - len(shown)} more: --json lists all")
    folds = ", ".join(map(str, report.folds))
    typer.echo(
        f"salt covers {report.coverage:.2%} of {len(report.images)} "
        f"image{'s' if len(report.images) > 1 else ''}, by {report.run}, "
        f"fold{'s' if len(report.folds) > 1 else ''} {folds}\n"
        f"threshold {report.rule.threshold:.4f}: {report.decided_by}\n"
        f"masks, probabilities and overlays: {out}"
    )


@command("ship")
def ship(
    run: Annotated[str, typer.Argument(help="Run.", autocompletion=run_names)],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    fold: Annotated[int, typer.Option(min=0, help="Whose network.")] = 0,
    teachers: Annotated[
        str | None, typer.Option(help="Ensemble that the run learnt from, for the model card.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a network that was packed there.")
    ] = False,
    data: Data = DATA,
    runs: Runs = RUNS,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Pack one network, its decision and a model card into a folder to carry away.

    Example: `salt ship night --fold 0 --out salt-network`, then elsewhere
    `salt predict line12.tif --model salt-network`
    """
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.packed import ship as pack

    report = pack(
        workspace_of(data=data, runs=runs), run, out, fold=fold, teachers=teachers,
        overwrite=overwrite, device=device, listener=ConsoleListener(),
    )  # fmt: skip
    if as_json:
        emit(asdict(report))
        return
    typer.echo(
        f"{report.folder}: {report.megabytes:.1f} MB of weights in float16, and a model card\n"
        f"on {report.tiles} tiles out of fold {report.packed_score:.4f}, before it was packed "
        f"{report.score:.4f}; {report.changed_pixels:.3%} of the pixels changed"
    )
