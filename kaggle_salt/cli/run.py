"""Commands from folds to a submission: train, ensemble, submit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    workspace_of,
)
from kaggle_salt.cli.output import emit, print_table
from kaggle_salt.errors import ConfigError


@command("train")
def train(
    fold: Annotated[str, typer.Option(help="0, or 0,2, or all.")] = "0",
    preset: Annotated[str | None, typer.Option(help="resnet34 (default), quick, unet.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file in place of a preset.")] = None,
    run: Annotated[str | None, typer.Option(help="Name of the run; else the preset's.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, as in stage.bce.epochs=3.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of weights and batches.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with half-trained folds.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Train these folds anew.")] = False,
    data: Data = DATA,
    runs: Runs = RUNS,
    folds: Folds = FOLDS,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train folds of a run: BCE, then Lovász fine-tuning, then weight averaging.

    Example: `salt train --preset quick --fold all --resume`
    """
    from dataclasses import asdict

    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.train import choose_run
    from kaggle_salt.pipeline.train import train as train_folds

    workspace = workspace_of(data=data, runs=runs, folds=folds)
    overrides = [*(set_ or []), *([] if seed is None else [f"training.seed={seed}"])]
    folder, configuration = choose_run(
        workspace, run=run, preset=preset, config_file=config, overrides=tuple(overrides)
    )
    summaries = train_folds(
        workspace, folder, configuration, folds=fold, device=device, resume=resume,
        overwrite=overwrite, listener=ConsoleListener(),
    )  # fmt: skip
    if as_json:
        emit([asdict(summary) for summary in summaries])
        return
    columns = ["fold", "tiles", "epochs", "minutes", "score at .5 with TTA"]
    rows: list[list[object]] = [
        [s.fold, s.tiles, s.epochs, f"{s.seconds / 60:.1f}", s.score] for s in summaries
    ]
    print_table(columns, rows)


@command("ensemble")
def ensemble(
    runs_: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Runs; else the one trained last."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the ensemble; else the runs'.")] = None,
    weights: Annotated[str, typer.Option(help="equal, or one number a run, as in 2,1.")] = "equal",
    require_all: Annotated[
        bool, typer.Option("--require-all", help="Refuse if a fold is not trained.")
    ] = False,
    data: Data = DATA,
    runs: Runs = RUNS,
    folds: Folds = FOLDS,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Average folds and runs, choose the threshold out of fold, predict the test tiles.

    Example: `salt ensemble quick resnet34 --weights 1,2`
    """
    from dataclasses import asdict

    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.ensemble import ensemble as make_ensemble

    report = make_ensemble(
        workspace_of(data=data, runs=runs, folds=folds), runs_ or [], name=name,
        weights=_parse_weights(weights), require_all=require_all, device=device,
        listener=ConsoleListener(),
    )  # fmt: skip
    if as_json:
        emit(asdict(report))
        return
    decision, honest = report.decision, report.honest
    columns = ["out of fold", "tiles", "at .5", "95 % interval", "at the decision"]
    print_table(columns, [
        [row.name, row.tiles, row.at_half, _interval(row.interval), row.at_decision]
        for row in report.rows
    ])  # fmt: skip
    typer.echo(
        f"decision: threshold {decision.threshold:.4f}, minimum area {decision.min_area} px\n"
        f"score to quote: {honest.score:.4f} {_interval(honest.interval)}, "
        "the decision chosen on the other tiles each time\n"
        f"{report.test_tiles} test tiles predicted; curve: {report.folder}/threshold-curve.png"
    )


def _interval(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.4f}, {interval[1]:.4f}]"


def _parse_weights(text: str) -> list[float] | None:
    if text == "equal":
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"--weights {text}",
            expected="equal, or one number a run, as in 2,1",
            next_step="--weights 2,1 or --weights equal",
        ) from None


@command("submit")
def submit(
    ensemble: Annotated[str | None, typer.Option(help="Ensemble; else the one made last.")] = None,
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
    as_json: Json = False,
) -> None:
    """Write the submission CSV, read it back and compare it with the masks; maybe upload it.

    Example: `salt submit --name first --upload`
    """
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.submit import submit as write
    from kaggle_salt.pipeline.submit import upload as send

    listener = ConsoleListener()
    report = write(
        workspace_of(data=data, runs=runs, submissions=out), ensemble=ensemble, name=name,
        threshold=threshold, min_area=min_area, overwrite=overwrite, listener=listener,
    )  # fmt: skip
    result = send(report, message, listener=listener) if upload else None
    if as_json:
        emit({"csv": report.csv, **report.manifest, "upload": result})
        return
    written = "was there already, made of the same" if report.existed else "written and checked"
    typer.echo(
        f"{report.csv}: {report.manifest['rows']} rows, {report.manifest['empty_masks']} of them "
        f"empty, {written}"
    )
    if result:
        typer.echo(f"Kaggle: {result['status']}, public {result['public_score']}, "
                   f"private {result['private_score']}")  # fmt: skip
