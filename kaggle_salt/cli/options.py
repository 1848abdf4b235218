"""Options that several commands share, and the folders they name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kaggle_salt.errors import ConfigError

if TYPE_CHECKING:
    from kaggle_salt.pipeline.workspace import Workspace

#: Folders under ``runs`` that are no runs' own.
ENSEMBLES = "ensemble"


def preset_names(incomplete: str) -> list[str]:
    """Presets whose names begin so, for the shell."""
    from kaggle_salt.presets import preset_names as names

    return [name for name in names() if name.startswith(incomplete)]


def run_names(context: typer.Context, incomplete: str) -> list[str]:
    """Runs whose names begin so, for the shell; those named already are left out."""
    runs = Path(context.params.get("runs") or RUNS)
    named = context.params.get("runs_") or ()
    found = sorted(path.parent.name for path in runs.glob("*/config.toml"))
    return [name for name in found if name.startswith(incomplete) and name not in named]


def ensemble_names(context: typer.Context, incomplete: str) -> list[str]:
    """Ensembles whose names begin so, for the shell."""
    runs = Path(context.params.get("runs") or RUNS)
    found = sorted(path.parent.name for path in (runs / ENSEMBLES).glob("*/ensemble.json"))
    return [name for name in found if name.startswith(incomplete)]


def subject_names(context: typer.Context, incomplete: str) -> list[str]:
    """Runs and ensembles whose names begin so, for the shell."""
    named = {*run_names(context, incomplete), *ensemble_names(context, incomplete)}
    return sorted(named)


Data = Annotated[
    Path, typer.Option(envvar="SALT_DATA", help="Folder with Kaggle's files, zipped or not.")
]
Runs = Annotated[Path, typer.Option(envvar="SALT_RUNS", help="Folder that holds the runs.")]
Folds = Annotated[Path, typer.Option("--folds", help="The fold table.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Preset = Annotated[
    str | None,
    typer.Option(help="A name of salt presets.", autocompletion=preset_names),
]
ConfigFile = Annotated[Path | None, typer.Option(help="TOML file in place of a preset.")]
RunName = Annotated[
    str | None,
    typer.Option(help="Name of the run; else the preset's.", autocompletion=run_names),
]
Model = Annotated[
    str | None, typer.Option(help="shipped, or a folder of salt ship, in place of what is trained.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE, as in input.size=96.")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of weights and batches.")]
Minutes = Annotated[
    float | None, typer.Option(help="Fit the stages to so many minutes a fold; a step is timed.")
]
Epochs = Annotated[int | None, typer.Option(help="Fit the stages to so many epochs in all.")]
Jobs = Annotated[
    str | None, typer.Option(help="So many processes side by side, or auto: one for each GPU.")
]
Retries = Annotated[
    int, typer.Option(min=0, help="With --jobs or --on: how often what fails goes on.")
]
On = Annotated[str | None, typer.Option(help="ray or slurm: the work is done there.")]
Address = Annotated[str | None, typer.Option(help="With --on ray: a cluster that runs already.")]
Sbatch = Annotated[
    list[str] | None,
    typer.Option(help="With --on slurm: KEY=VALUE for sbatch, as partition=gpu; repeatable."),
]
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


def parse_weights(text: str, expected: str, next_step: str) -> list[float]:
    """Numbers from ``2,1,1``.

    Raises:
        ConfigError: Something else, with what was expected and what to do.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--weights {text}", expected=expected, next_step=next_step) from None
