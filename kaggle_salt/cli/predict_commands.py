"""Commands that carry a trained network elsewhere: predict, ship."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kaggle_salt.cli.app import command
from kaggle_salt.cli.options import (
    DATA,
    RUNS,
    Address,
    Data,
    Device,
    Jobs,
    Json,
    Model,
    On,
    Retries,
    Runs,
    Sbatch,
    run_names,
    workspace_of,
)
from kaggle_salt.cli.output import emit, print_table
from kaggle_salt.errors import ConfigError

if TYPE_CHECKING:
    from kaggle_salt.launch.tasks import Engine
    from kaggle_salt.pipeline.predicting.predict import PredictReport
    from kaggle_salt.pipeline.predicting.predict_survey import SurveyReport
    from kaggle_salt.pipeline.workspace import Workspace

#: Lines of the table of images; of more, ``--json`` tells.
MOST_LINES = 20

Images = Annotated[
    list[Path],
    typer.Argument(metavar="IMAGE...", help="PNG, JPEG, TIFF; folders, globs; or one SEG-Y."),
]
Run = Annotated[
    str | None, typer.Option(help="Run; else the one trained last.", autocompletion=run_names)
]
Threshold = Annotated[
    float | None, typer.Option(min=0, max=1, help="In place of the one chosen out of fold.")
]
Overlap = Annotated[
    float, typer.Option(help="Share of a tile that the next one sees too, below 1.")
]
Stretch = Annotated[
    bool, typer.Option("--stretch", help="Spread levels between percentiles .5 and 99.5.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")]
Along = Annotated[
    Literal["inline", "crossline", "both"] | None,
    typer.Option(help="SEG-Y: lines to predict; both are averaged. Else what lines there are."),
]
InlineByte = Annotated[
    int | None, typer.Option(help="SEG-Y: first byte of a trace's inline number; else 189.")
]
CrosslineByte = Annotated[
    int | None,
    typer.Option("--xline-byte", help="SEG-Y: first byte of a trace's crossline number; else 193."),
]
Part = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="SEG-Y: predict the I-th of N parts of the lines, no more."),
]


@command("predict")
def predict(
    images: Images,
    run: Run = None,
    model: Model = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("predictions"),
    threshold: Threshold = None,
    overlap: Overlap = 0.5,
    stretch: Stretch = False,
    along: Along = None,
    inline_byte: InlineByte = None,
    crossline_byte: CrosslineByte = None,
    part: Part = None,
    overwrite: Overwrite = False,
    jobs: Jobs = None,
    retries: Retries = 2,
    on: On = None,
    address: Address = None,
    sbatch: Sbatch = None,
    runs: Runs = RUNS,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Find salt in images of any size, or in a SEG-Y survey.

    Of an image it writes a mask, the probabilities and an overlay; of a survey a copy with the
    probabilities as samples. If a survey is interrupted, the same command goes on.

    Example: `salt predict line12.tif sections/ --out masks`, or
    `salt predict survey.sgy --along both --jobs auto`
    """
    from kaggle_salt.launch.engines import choose_engine
    from kaggle_salt.sections.inputs import only_survey

    engine = choose_engine(on, jobs, device, retries, address=address, sbatch=sbatch, part=part)
    settings: dict[str, Any] = {
        "run": run, "model": model, "out": out, "threshold": threshold, "overlap": overlap,
        "overwrite": overwrite, "device": device,
    }  # fmt: skip
    of_images = {"stretch": stretch or None}
    of_surveys = {
        "along": along, "inline_byte": inline_byte, "crossline_byte": crossline_byte, "part": part
    }  # fmt: skip
    workspace, survey = workspace_of(runs=runs), only_survey(images)
    if survey is not None:
        _refuse_given(of_images, "images; the amplitudes of a survey are always spread")
        _predict_survey(workspace, survey, engine, settings | _given(of_surveys), as_json=as_json)
        return
    _refuse_given({**of_surveys, "jobs": jobs, "on": on}, "SEG-Y surveys: .sgy or .segy")
    _predict_images(workspace, images, settings | _given(of_images), as_json=as_json)


def _predict_survey(
    workspace: Workspace,
    survey: Path,
    engine: Engine | None,
    settings: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    from kaggle_salt.cli.console import ConsoleListener

    if engine is None:
        from kaggle_salt.pipeline.predicting.predict_survey import predict_survey

        told = predict_survey(workspace, survey, listener=ConsoleListener(), **settings)
    else:
        from kaggle_salt.cli.launch_view import view_of
        from kaggle_salt.launch.parts import predict_survey as launch

        told = launch(workspace, survey, engine, view_of(ConsoleListener()), **settings)
    emit(asdict(told)) if as_json else _print_survey(told)


def _predict_images(
    workspace: Workspace, images: list[Path], settings: dict[str, Any], *, as_json: bool
) -> None:
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.predicting.predict import predict as predict_images

    report = predict_images(workspace, images, listener=ConsoleListener(), **settings)
    if as_json:
        emit({**asdict(report), "coverage": report.coverage})
    else:
        _print_predicted(report, settings["out"])


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _refuse_given(options: dict[str, Any], only_for: str) -> None:
    for name in _given(options):
        flag = f"--{name.replace('_', '-')}"
        raise ConfigError(
            f"{flag} is given", expected=f"{flag} only for {only_for}", next_step="leave it out"
        )


def _print_survey(report: SurveyReport) -> None:
    lines = " and ".join(f"{direction}s" for direction in report.along).replace("files", "line")
    typer.echo(
        f"{report.survey}: {report.traces} traces of {report.samples} samples; "
        f"{report.predicted} of {report.lines} {lines} predicted, by {report.run}, "
        f"fold{'s' if len(report.folds) > 1 else ''} {', '.join(map(str, report.folds))}\n"
        f"amplitudes from {report.low:g} to {report.high:g}, the same for all lines"
    )
    if report.coverage is None:
        typer.echo("when all parts are done, the same command without --part writes the SEG-Y")
        return
    typer.echo(
        f"salt covers {report.coverage:.2%}\n"
        f"threshold {report.threshold:.4f}: {report.decided_by}\n"
        f"probabilities: {report.probability}"
    )


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
    from kaggle_salt.pipeline.predicting.packed import ship as pack

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
