"""The command that makes labels: pseudo-label."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kaggle_salt.cli.app import command
from kaggle_salt.cli.options import (
    DATA,
    FOLDS,
    RUNS,
    Data,
    Device,
    Folds,
    Json,
    Runs,
    run_names,
    workspace_of,
)
from kaggle_salt.cli.output import emit, print_table
from kaggle_salt.cli.remedies import complete

if TYPE_CHECKING:
    from kaggle_salt.pipeline.training.pseudo_label import PseudoReport


Teachers = Annotated[
    list[str],
    typer.Argument(metavar="RUN...", help="Runs that teach.", autocompletion=run_names),
]
Low = Annotated[float, typer.Option(help="Pixels below this probability are sure.")]
High = Annotated[float, typer.Option(help="Pixels above this probability are sure.")]
Sure = Annotated[float, typer.Option(help="Share of a tile's pixels that must be sure.")]
Limit = Annotated[int | None, typer.Option(help="Tiles to take at most for a fold; else no limit.")]
Balance = Annotated[
    Literal["training", "1st-place"],
    typer.Option(metavar="NAME", help="training: as the training tiles; or 1st-place."),
]
Soft = Annotated[
    bool, typer.Option("--soft", help="Keep probabilities, to learn from them, not from masks.")
]
Whose = Annotated[
    Literal["fold", "all"],
    typer.Option(help="fold: fold k's networks teach fold k's student; all: all teach all."),
]


@command("pseudo-label")
def pseudo_label(
    runs_: Teachers,
    low: Low = 0.2,
    high: High = 0.8,
    confidence: Sure = 0.9,
    limit: Limit = None,
    balance: Balance = "training",
    soft: Soft = False,
    teachers: Whose = "fold",
    out: Annotated[
        Path | None, typer.Option(help="The CSV; else pseudo-labels.csv in the first run's folder.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace other labels.")] = False,
    data: Data = DATA,
    runs: Runs = RUNS,
    folds: Folds = FOLDS,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Label the test tiles that trained runs are sure of, for `salt train --pseudo`.

    With --balance 1st-place, six splits: 600 tiles without salt, 110 of 20 to 500 pixels (of
    101 x 101; these of confidence .99, all others of .97), and 300, 240, 200 and 130 up to a
    quarter, half, three quarters and nine tenths of the tile.

    Runs that share a fold teach together; --soft --confidence 0 --limit 4000 lets a student learn
    from their mean on unsure tiles, too.

    Example: `salt pseudo-label quick && salt train --pseudo runs/quick/pseudo-labels.csv
    --run student`
    """
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.training.pseudo_label import pseudo_label as label
    from kaggle_salt.pseudo_origin import Confidence

    report = label(
        workspace_of(data=data, runs=runs, folds=folds), runs_,
        wanted=Confidence(low, high, confidence, limit, balance, soft), teachers=teachers, out=out,
        overwrite=overwrite, device=device, listener=ConsoleListener(),
    )  # fmt: skip
    _tell(report, as_json=as_json)


def _tell(report: PseudoReport, *, as_json: bool) -> None:
    """What was taken: one document, or a line for each fold and stratum."""
    if as_json:
        emit({"csv": report.csv, "existed": report.existed, **report.manifest.model_dump()})
        return
    columns = ["fold", "salt", "tiles", "confident", "taken", "mean confidence", "mean salt"]
    rows = [_cells(counts) for counts in report.manifest.selection]
    print_table(columns, rows, least=["tiles", "mean salt"])
    taken = sum(counts["taken"] for counts in report.manifest.selection)
    written = "was there already, made of the same" if report.existed else "written"
    train = ["salt", "train", "--pseudo", str(report.csv), "--run", "student"]
    typer.echo(
        f"{report.csv}: {taken} labels, {written}\n" + complete(f"next: {shlex.join(train)}")
    )


def _cells(counts: dict[str, Any]) -> list[object]:
    upper = counts["coverage_up_to"]
    means = [counts["mean_confidence"], counts["mean_coverage"]]
    return [
        counts["fold"],
        f"up to {upper:.1%}" if upper else "none",
        *(counts[key] for key in ("tiles", "confident", "taken")),
        *("-" if mean is None else mean for mean in means),
    ]
