"""Options that several commands share, and the folders they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kaggle_salt.pipeline.workspace import Workspace

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


def workspace_of(
    data: Path = DATA,
    runs: Path = RUNS,
    folds: Path = FOLDS,
    submissions: Path = SUBMISSIONS,
) -> Workspace:
    """The workspace of a command; what it does not name stays at its default."""
    from kaggle_salt.pipeline.workspace import Workspace

    return Workspace(data=data, runs=runs, folds=folds, submissions=submissions)
