"""Commands that show: report and look."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kaggle_salt.cli.app import command
from kaggle_salt.cli.options import (
    DATA,
    FOLDS,
    RUNS,
    Data,
    Folds,
    Json,
    Runs,
    subject_names,
    workspace_of,
)
from kaggle_salt.cli.output import emit, interval_text

if TYPE_CHECKING:
    from kaggle_salt.pipeline.judging.report import ReportMade


@command("report")
def report(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|ENSEMBLE]",
            help="Its name; ensemble/NAME where a run has it too; else the run worked on last.",
            autocompletion=subject_names,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The page; else report.html in the run's folder."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is no page of the same.")
    ] = False,
    data: Data = DATA,
    runs: Runs = RUNS,
    folds: Folds = FOLDS,
    as_json: Json = False,
) -> None:
    """Write one HTML page of all that is known of a run or an ensemble; it opens from disk.

    Scores with intervals, learning curves, the threshold, where the score is lost, calibration,
    and every out-of-fold tile to look at. Of a run half done it shows what there is.

    Example: `salt report quick`
    """
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.judging.report import make_report

    made = make_report(
        workspace_of(data=data, runs=runs, folds=folds), name, out=out, overwrite=overwrite,
        listener=ConsoleListener(),
    )  # fmt: skip
    if as_json:
        emit(_document(made))
        return
    judged = made.facts.judged
    if judged is None:
        typer.echo("no fold is finished: there is no score yet")
    else:
        typer.echo(f"score to quote: {judged.score:.4f} {interval_text(judged.interval)}")
    typer.echo(f"look at {made.html} ({made.size / 1e6:.1f} MB)")


def _document(made: ReportMade) -> dict[str, object]:
    facts, judged = made.facts, made.facts.judged
    return {
        "html": made.html,
        "bytes": made.size,
        facts.kind: facts.name,
        "score": judged and judged.score,
        "interval": judged and judged.interval,
        "tiles": judged.tiles if judged else 0,
        "missing": [asdict(one) for one in facts.missing],
        "caveats": list(facts.caveats),
    }


@command("look")
def look(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Where the pictures go.")] = Path(
        "pictures"
    ),
    data: Data = DATA,
    folds: Folds = FOLDS,
    as_json: Json = False,
) -> None:
    """Draw the data before any training: tiles by coverage, depth, blank tiles and copies, folds.

    Example: `salt look && ls pictures`
    """
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.preparing.prepare import look as draw

    paths = draw(workspace_of(data=data, folds=folds), folder, listener=ConsoleListener())
    if as_json:
        emit({"pictures": paths})
        return
    typer.echo("\n".join(map(str, paths)))
