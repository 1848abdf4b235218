"""The ``salt`` command: parse, call one function, print.

Heavy imports stand inside the commands, so that ``salt --help`` answers at once.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from kaggle_salt.errors import ConfigError, SaltError

if TYPE_CHECKING:
    from kaggle_salt.pipeline.workspace import Workspace

P = ParamSpec("P")

app = typer.Typer(
    name="salt",
    help="From Kaggle's salt tiles to a checked submission.\n\n"
    "In a folder that holds data/:  salt make-folds;  salt train --fold 0;  "
    "salt ensemble && salt submit.  No data yet?  salt download, or salt demo.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

Data = Annotated[
    Path, typer.Option(envvar="SALT_DATA", help="Folder with Kaggle's files, zipped or not.")
]
Runs = Annotated[Path, typer.Option(envvar="SALT_RUNS", help="Folder that holds the runs.")]
Folds = Annotated[Path, typer.Option("--folds", help="The fold table.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
Debug = Annotated[
    bool, typer.Option("--debug", envvar="SALT_DEBUG", help="Show the traceback of an error.")
]

DATA, RUNS, FOLDS, SUBMISSIONS = (
    Path("data"), Path("runs"), Path("folds/folds.csv"), Path("submissions"),
)  # fmt: skip


class _State:
    debug = False


def command(name: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Register a command whose errors end in plain words and the right exit code."""

    def register(function: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                function(*args, **kwargs)
            except SaltError as error:
                if _State.debug:
                    raise
                from kaggle_salt.console import ConsoleListener

                ConsoleListener().error(error)
                raise typer.Exit(error.exit_code) from None
            except KeyboardInterrupt:
                again = "; a half-trained fold goes on with --resume" if name == "train" else ""
                typer.echo(f"interrupted{again}", err=True)
                raise typer.Exit(130) from None

        return app.command(name)(guarded)

    return register


def main() -> None:
    """Entry point of the console script."""
    app()


def _version(show: bool) -> None:
    if show:
        from kaggle_salt import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    debug: Debug = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and exit.")
    ] = False,
) -> None:
    """Options that stand before the command."""
    _State.debug = debug


def _workspace(
    data: Path = DATA,
    runs: Path = RUNS,
    folds: Path = FOLDS,
    submissions: Path = SUBMISSIONS,
) -> Workspace:
    from kaggle_salt.pipeline.workspace import Workspace

    return Workspace(data=data, runs=runs, folds=folds, submissions=submissions)


def _emit(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, default=str))


def _print_table(columns: list[str], rows: list[list[object]]) -> None:
    from rich.console import Console

    from kaggle_salt.console import results_table

    width = None if sys.stdout.isatty() else 120
    Console(width=width, highlight=False).print(results_table(columns, rows))


@command("make-folds")
def make_folds(
    data: Data = DATA,
    out: Annotated[Path, typer.Option(help="The fold table to write.")] = FOLDS,
    n_folds: Annotated[int, typer.Option(min=2, help="Number of folds.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another split.")] = 0,
    group_by: Annotated[
        Path | None, typer.Option(help="CSV id,group: a group is never split across folds.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a table that differs.")] = False,
    as_json: Json = False,
) -> None:
    """Split the training tiles into folds, stratified by salt coverage.

    Example: `salt make-folds --n-folds 5 --seed 0`
    """
    from kaggle_salt.console import ConsoleListener
    from kaggle_salt.pipeline.prepare import make_fold_table

    summary = make_fold_table(
        _workspace(data=data, folds=out), n_folds=n_folds, seed=seed, group_file=group_by,
        overwrite=overwrite, listener=ConsoleListener(),
    )  # fmt: skip
    if as_json:
        _emit(summary.to_dict(orient="records"))
        return
    _print_table(list(map(str, summary.columns)), summary.to_numpy().tolist())


@command("check")
def check(data: Data = DATA, as_json: Json = False) -> None:
    """Look through the competition's files and say what was found, and what is wrong.

    Example: `salt check --data ~/tgs`
    """
    from kaggle_salt.console import ConsoleListener, check_lines
    from kaggle_salt.pipeline.prepare import check_data

    report = check_data(_workspace(data=data), listener=ConsoleListener())
    if as_json:
        _emit(report.to_json())
        return
    typer.echo("\n".join(check_lines(report)))


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

    from kaggle_salt.console import ConsoleListener
    from kaggle_salt.pipeline.train import choose_run
    from kaggle_salt.pipeline.train import train as train_folds

    workspace = _workspace(data=data, runs=runs, folds=folds)
    overrides = [*(set_ or []), *([] if seed is None else [f"training.seed={seed}"])]
    folder, configuration = choose_run(
        workspace, run=run, preset=preset, config_file=config, overrides=tuple(overrides)
    )
    summaries = train_folds(
        workspace, folder, configuration, folds=fold, device=device, resume=resume,
        overwrite=overwrite, listener=ConsoleListener(),
    )  # fmt: skip
    if as_json:
        _emit([asdict(summary) for summary in summaries])
        return
    columns = ["fold", "tiles", "epochs", "minutes", "score at .5 with TTA"]
    rows: list[list[object]] = [
        [s.fold, s.tiles, s.epochs, f"{s.seconds / 60:.1f}", s.score] for s in summaries
    ]
    _print_table(columns, rows)


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

    from kaggle_salt.console import ConsoleListener
    from kaggle_salt.pipeline.ensemble import ensemble as make_ensemble

    report = make_ensemble(
        _workspace(data=data, runs=runs, folds=folds), runs_ or [], name=name,
        weights=_parse_weights(weights), require_all=require_all, device=device,
        listener=ConsoleListener(),
    )  # fmt: skip
    if as_json:
        _emit(asdict(report))
        return
    decision, honest = report.decision, report.honest
    columns = ["out of fold", "tiles", "at .5", "95 % interval", "at the decision"]
    _print_table(columns, [
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
            f"--weights {text}", expected="equal, or one number a run, as in 2,1"
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
    from kaggle_salt.console import ConsoleListener
    from kaggle_salt.pipeline.submit import submit as write
    from kaggle_salt.pipeline.submit import upload as send

    listener = ConsoleListener()
    report = write(
        _workspace(data=data, runs=runs, submissions=out), ensemble=ensemble, name=name,
        threshold=threshold, min_area=min_area, overwrite=overwrite, listener=listener,
    )  # fmt: skip
    result = send(report, message, listener=listener) if upload else None
    if as_json:
        _emit({"csv": report.csv, **report.manifest, "upload": result})
        return
    written = "was there already, made of the same" if report.existed else "written and checked"
    typer.echo(
        f"{report.csv}: {report.manifest['rows']} rows, {report.manifest['empty_masks']} of them "
        f"empty, {written}"
    )
    if result:
        typer.echo(f"Kaggle: {result['status']}, public {result['public_score']}, "
                   f"private {result['private_score']}")  # fmt: skip


@command("download")
def download(
    data: Data = DATA,
    competition: Annotated[
        str, typer.Option(help="The competition's name on Kaggle.")
    ] = "tgs-salt-identification-challenge",
) -> None:
    """Fetch the competition's files through the kaggle client, or say how to do it by hand.

    Example: `pip install 'kaggle-salt[kaggle]' && salt download`
    """
    from kaggle_salt.competition.kaggle_client import download as fetch

    for path in fetch(competition, data):
        typer.echo(path)


@command("demo")
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the demo is laid out.")] = Path("demo"),
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Invent a competition in Kaggle's own files and run all four commands on it.

    Example: `salt demo`
    """
    from dataclasses import asdict

    from kaggle_salt.console import ConsoleListener
    from kaggle_salt.pipeline.demo import run_demo

    report = run_demo(folder, device=device, listener=ConsoleListener())
    if as_json:
        _emit(asdict(report))
        return
    typer.echo(
        f"score on {report.test_tiles} test tiles whose masks were held back: "
        f"{report.test_score:.4f} (predicting nothing: {report.nothing_score:.4f}; "
        f"promised out of fold: {report.promised:.4f})\n"
        f"look at {report.picture}"
    )
