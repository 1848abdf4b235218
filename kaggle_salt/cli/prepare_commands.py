"""Commands around the data: make-folds, check, download, demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kaggle_salt.cli.app import command
from kaggle_salt.cli.options import DATA, FOLDS, Data, Device, Json, workspace_of
from kaggle_salt.cli.output import emit, interval_text, print_table
from kaggle_salt.cli.remedies import complete

if TYPE_CHECKING:
    from kaggle_salt.pipeline.demo import DemoReport


@command("make-folds")
def make_folds(
    data: Data = DATA,
    out: Annotated[Path, typer.Option(help="The fold table to write.")] = FOLDS,
    n_folds: Annotated[int, typer.Option(min=2, help="Number of folds.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another split.")] = 0,
    by: Annotated[
        Literal["coverage", "type"],
        typer.Option(help="Alike in coverage, or in types: border, vertical, ..."),
    ] = "coverage",
    group_by: Annotated[
        Path | None,
        typer.Option(
            help="CSV id,group, or what salt mosaic wrote: a group is never split across folds."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a table that differs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Split the training tiles into folds, alike in salt coverage; copies stay together.

    With --by type alike in types of masks: empty, border (slivers along an edge), vertical, and
    objects by coverage.

    With --group-by mosaics.csv neighbours stay together. What they leak otherwise is the score of
    one preset on all folds of a random table less that on all folds of a grouped one:
    `salt train --fold all --run grouped --folds folds/grouped.csv`, then `salt ensemble grouped
    --folds folds/grouped.csv`, beside the same without --folds.

    Example: `salt make-folds --n-folds 5 --seed 0`

    Example: `salt make-folds --group-by mosaics.csv --out folds/grouped.csv`
    """
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.preparing.prepare import make_fold_table

    summary = make_fold_table(
        workspace_of(data=data, folds=out), n_folds=n_folds, seed=seed, by=by,
        group_file=group_by, overwrite=overwrite, listener=ConsoleListener(),
    )  # fmt: skip
    if as_json:
        emit(summary.to_dict(orient="records"))
        return
    rows = summary.round(4).astype(object).to_numpy().tolist()
    print_table([str(column).replace("_", " ") for column in summary.columns], rows)


@command("check")
def check(
    data: Data = DATA,
    mask_threshold: Annotated[
        int | None,
        typer.Option(
            metavar="LEVEL",
            help="Masks have grey values, and are salt from this level on; remembered for every "
            "command.",
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            file_okay=False,
            help="Draw the tiles that can be read, as salt look does.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Look through the competition's files and say what was found, and everything that is wrong.

    Ends with exit code 3 where files cannot be used or contradict each other.

    Example: `salt check --data ~/tgs`

    Example: `salt check --pictures pictures`
    """  # fmt: skip
    from kaggle_salt.cli.check_lines import check_lines
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.errors import DataError
    from kaggle_salt.pipeline.preparing.prepare import check_data

    report = check_data(
        workspace_of(data=data), mask_threshold=mask_threshold, pictures=pictures,
        listener=ConsoleListener(),
    )  # fmt: skip
    if as_json:
        emit(report.to_json())
    else:
        typer.echo(complete("\n".join(check_lines(report))))
    if report.faults:
        raise typer.Exit(DataError.exit_code)


@command("download")
def download(
    data: Data = DATA,
    competition: Annotated[
        str,
        typer.Option(help="Its name on Kaggle; else the salt challenge's.", show_default=False),
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

    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.demo import run_demo

    report = run_demo(folder, device=device, listener=ConsoleListener())
    if as_json:
        emit(asdict(report))
        return
    typer.echo("\n".join(_demo_lines(report)))


def _demo_lines(report: DemoReport) -> list[str]:
    """Promise and test side by side, and whether they agree as well as such few tiles can."""
    difference = report.test_score - report.promised
    agree = "they agree" if abs(difference) <= report.chance else "that is more than chance"
    return [
        f"promised out of fold: {report.promised:.4f} {interval_text(report.promised_interval)}, "
        "each tile by the one network that did not train on it",
        f"on {report.test_tiles} test tiles whose masks were held back: {report.test_score:.4f} "
        f"{interval_text(report.test_interval)}, by the mean of both networks "
        f"(predicting nothing: {report.nothing_score:.4f})",
        f"difference {difference:+.4f}; other tiles alone make up to {report.chance:.4f}: {agree}",
        f"look at {report.picture}",
    ]
