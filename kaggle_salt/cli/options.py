"""Options that several commands share, and the folders they name."""

from __future__ import annotations

import json
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
Preset = Annotated[str | None, typer.Option(help="A name of salt presets.")]
ConfigFile = Annotated[Path | None, typer.Option(help="TOML file in place of a preset.")]
RunName = Annotated[str | None, typer.Option(help="Name of the run; else the preset's.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE, as in stage.bce.epochs=3.")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of weights and batches.")]
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


def overrides_of(
    settings: list[str] | None, seed: int | None, pseudo: Path | None = None
) -> tuple[str, ...]:
    """``--set`` and the options that stand for a key, as ``KEY=VALUE``."""
    overrides = list(settings or [])
    if seed is not None:
        overrides.append(f"training.seed={seed}")
    if pseudo is not None:
        overrides.append(f"pseudo.file={json.dumps(str(pseudo), ensure_ascii=False)}")
    return tuple(overrides)
