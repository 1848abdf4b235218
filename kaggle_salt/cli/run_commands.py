"""Commands from trained folds to a submission: ensemble, submit."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaggle_salt.cli.app import command
from kaggle_salt.cli.options import (
    DATA,
    FOLDS,
    RUNS,
    SUBMISSIONS,
    Address,
    Data,
    Device,
    Folds,
    Jobs,
    Json,
    Model,
    On,
    Retries,
    Runs,
    Sbatch,
    ensemble_names,
    parse_weights,
    run_names,
    workspace_of,
)
from kaggle_salt.cli.output import emit, interval_text, print_table
from kaggle_salt.errors import ConfigError

if TYPE_CHECKING:
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.ensembling.weight_search import WeightSearch
    from kaggle_salt.launch.tasks import Engine
    from kaggle_salt.pipeline.blending.ensemble import EnsembleReport, Weights
    from kaggle_salt.pipeline.submitting.submit import SubmissionReport
    from kaggle_salt.pipeline.workspace import Workspace


Weighting = Annotated[
    str, typer.Option(help="equal, or one number a run, as in 2,1, or search: hill climbing.")
]
Post = Annotated[
    list[str] | None,
    typer.Option(help="A step, as blank-empty; repeatable. Or none. Else as the tiles say."),
]
MosaicTable = Annotated[
    Path | None,
    typer.Option(help="Table of salt mosaic: let neighbours' masks decide where they can."),
]
RequireAll = Annotated[bool, typer.Option("--require-all", help="Refuse if a fold is not trained.")]
Part = Annotated[
    str | None,
    typer.Option(metavar="I/N", help="Predict the I-th of N parts of the test tiles, no more."),
]


@command("ensemble")
def ensemble(
    runs_: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="Runs; else the one trained last.", autocompletion=run_names
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the ensemble; else the runs'.")] = None,
    weights: Weighting = "equal",
    how: Annotated[str, typer.Option(help="mean, logits or vote: what is averaged.")] = "mean",
    steps: Annotated[int, typer.Option(min=1, help="Runs a search takes, with repetition.")] = 30,
    post: Post = None,
    mosaic: MosaicTable = None,
    require_all: RequireAll = False,
    part: Part = None,
    jobs: Jobs = None,
    retries: Retries = 2,
    on: On = None,
    address: Address = None,
    sbatch: Sbatch = None,
    data: Data = DATA,
    runs: Runs = RUNS,
    folds: Folds = FOLDS,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Average folds and runs, choose the threshold out of fold, predict the test tiles.

    Example: `salt ensemble quick resnet34 --weights search`

    With neighbours: `salt mosaic && salt ensemble quick --mosaic mosaics.csv`

    Test tiles on every GPU here: `salt ensemble quick --jobs auto`
    """
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.launch.engines import choose_engine

    listener, workspace = ConsoleListener(), workspace_of(data=data, runs=runs, folds=folds)
    engine = choose_engine(on, jobs, device, retries, address=address, sbatch=sbatch, part=part)
    settings: dict[str, Any] = {
        "name": name, "weights": _parse_weights(weights), "how": how, "steps": steps,
        "post": _parse_post(post), "mosaic": mosaic, "require_all": require_all, "device": device,
    }  # fmt: skip
    if part:
        _predict_part(workspace, runs_ or [], part, device, listener, as_json=as_json)
        return
    report = _make_ensemble(workspace, runs_ or [], engine, listener, settings)
    emit(asdict(report)) if as_json else _print_ensemble(report)


def _make_ensemble(
    workspace: Workspace,
    runs: list[str],
    engine: Engine | None,
    listener: ConsoleListener,
    settings: dict[str, Any],
) -> EnsembleReport:
    if engine is None:
        from kaggle_salt.pipeline.blending.ensemble import ensemble as make

        return make(workspace, runs, listener=listener, **settings)
    from kaggle_salt.cli.launch_view import view_of
    from kaggle_salt.launch.parts import ensemble as launch

    return launch(workspace, runs, engine, view_of(listener), **settings)


def _predict_part(
    workspace: Workspace,
    runs: list[str],
    part: str,
    device: str,
    listener: ConsoleListener,
    *,
    as_json: bool,
) -> None:
    from kaggle_salt.pipeline.blending.on_test import predict_part

    report = predict_part(workspace, runs, part=part, device=device, listener=listener)
    if as_json:
        emit(asdict(report))
        return
    typer.echo(
        f"{report.predicted} of {report.blocks} blocks of test tiles predicted, by the folds of "
        f"{', '.join(report.runs)}\n"
        "when all parts are done, the same command without --part makes the ensemble"
    )


def _print_ensemble(report: EnsembleReport) -> None:
    from kaggle_salt.competition.decision import PLAIN_RULE

    honest = report.honest
    columns = ["out of fold", "tiles", "at .5", "95 % interval", "at the decision"]
    print_table(columns, [
        [row.name, row.tiles, row.at_half, interval_text(row.interval), row.at_decision]
        for row in report.rows
    ], least=["tiles"])  # fmt: skip
    print_table(["mask", "tiles", "at the decision", "95 % interval"], [
        [row.type, row.tiles, row.score, interval_text(row.interval)] for row in report.types
    ])  # fmt: skip
    if report.search:
        _print_search(report.search)
    if report.mosaic:
        from kaggle_salt.cli.mosaic_commands import print_gains

        print_gains(report.mosaic)
    chosen = "weights and decision" if report.search else "the decision"
    rule = report.decision.rule
    stays = replace(rule, steps=()) == PLAIN_RULE
    typer.echo(
        f"decision: {rule}{'; no other is better by a standard error' * stays}\n"
        f"score to quote: {honest.score:.4f} {interval_text(honest.interval)}, "
        f"{chosen} chosen on the other tiles each time"
    )
    for caveat in report.caveats:
        typer.echo(f"but {caveat}")
    typer.echo(
        f"{report.test_tiles} test tiles predicted; curve: {report.folder}/threshold-curve.png\n"
        f"worst, middling and best tiles: {report.folder}/predictions.png"
    )


def _print_search(search: WeightSearch) -> None:
    """What each run adds to the blend, and the way to its weights."""
    columns = ["run", "alone", "weight", "without it the blend loses", "95 % interval"]
    rows = [
        [
            one.member,
            one.alone,
            f"{one.weight:.3f}",
            f"{one.loss:+.4f}",
            interval_text(one.interval),
        ]
        for one in search.contributions
    ]
    print_table(columns, rows, least=["weight"])
    path = ", ".join(f"{step.member} {step.score:.4f}" for step in search.climb.path)
    typer.echo(
        f"runs taken, with the score on the tiles that chose: {path}\n"
        f"equal weights: {search.equal.score:.4f} {interval_text(search.equal.interval)}, "
        "the decision chosen on the other tiles each time"
    )


def _parse_weights(text: str) -> Weights:
    if text == "equal":
        return None
    if text == "search":
        return "search"
    expected = "equal, search, or one number a run, as in 2,1"
    return parse_weights(text, expected, "--weights 2,1 or --weights equal")


def _parse_post(names: list[str] | None) -> list[str] | None:
    """Names of steps; ``none`` alone stands for no step, and nothing for the default."""
    if not names:
        return None
    if "none" not in names:
        return names
    if len(names) > 1:
        raise ConfigError(
            f"--post none beside {', '.join(name for name in names if name != 'none')}",
            expected="steps, or none",
            next_step="--post none alone, or leave it out",
        )
    return []


@command("submit")
def submit(
    ensemble: Annotated[
        str | None,
        typer.Option(help="Ensemble; else the one made last.", autocompletion=ensemble_names),
    ] = None,
    model: Model = None,
    name: Annotated[str | None, typer.Option(help="Name of the CSV; else the ensemble's.")] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="In place of the one chosen out of fold.")
    ] = None,
    min_area: Annotated[
        int | None, typer.Option(min=0, help="In place of the one chosen out of fold, in pixels.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the CSV.")] = False,
    upload: Annotated[bool, typer.Option("--upload", help="Send it to Kaggle.")] = False,
    message: Annotated[str, typer.Option(help="Text beside the upload.")] = "",
    data: Data = DATA,
    runs: Runs = RUNS,
    out: Annotated[Path, typer.Option(help="Folder of the submissions.")] = SUBMISSIONS,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Write the submission CSV, read it back and compare it with the masks; maybe upload it.

    Example: `salt submit --name first --upload`

    Without any training: `salt submit --model shipped`
    """
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.submitting.submit import submit as write
    from kaggle_salt.pipeline.submitting.submit import upload as send

    listener = ConsoleListener()
    report = write(
        workspace_of(data=data, runs=runs, submissions=out), ensemble=ensemble, model=model,
        name=name, threshold=threshold, min_area=min_area, overwrite=overwrite, device=device,
        listener=listener,
    )  # fmt: skip
    result = send(report, message, listener=listener) if upload else None
    if as_json:
        emit({"csv": report.csv, **report.manifest, "upload": result})
        return
    _print_submitted(report)
    if result:
        typer.echo(f"Kaggle: {result['status']}, public {result['public_score']}, "
                   f"private {result['private_score']}")  # fmt: skip


def _print_submitted(report: SubmissionReport) -> None:
    written = "was there already, made of the same" if report.existed else "written and checked"
    typer.echo(
        f"{report.csv}: {report.manifest['rows']} rows, {report.manifest['empty_masks']} of them "
        f"empty, {written}\n"
        f"decision: {report.rule}"
    )
