"""Commands around presets: list them, show one, check one of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kaggle_salt.cli.app import SETTINGS, app, command
from kaggle_salt.cli.options import Json, preset_names
from kaggle_salt.cli.output import emit, print_table

if TYPE_CHECKING:
    from kaggle_salt.pipeline.preset_check import PresetReport
    from kaggle_salt.presets import Measured

group = typer.Typer(context_settings=SETTINGS)
app.add_typer(group, name="presets")


@group.callback(invoke_without_command=True)
def presets(context: typer.Context, as_json: Json = False) -> None:
    """List the presets; show one to copy it; check one of your own.

    Example: `salt presets show quick > mine.toml && salt presets check mine.toml`
    """
    if context.invoked_subcommand is None:
        list_all(as_json)
    elif as_json:
        raise typer.BadParameter(f"--json comes after {context.invoked_subcommand}")


def list_all(as_json: bool) -> None:
    """Print the table of presets."""
    from dataclasses import asdict

    from kaggle_salt.presets import list_presets

    listed = list_presets()
    if as_json:
        emit([asdict(preset) for preset in listed])
        return
    columns = ["preset", "made for", "parameters", "score", "what it is"]
    rows = [
        [p.name, p.machine, _millions(p.measured.parameters), _score(p.measured), p.description]
        for p in listed
    ]
    print_table(columns, rows, texts=["made for", "what it is"], least=["parameters", "made for"])


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:.1f} M"


def _score(measured: Measured) -> str:
    if measured.score is None:
        return "not measured"
    return f"{measured.score:.4f} in {measured.minutes:.0f} min"


@command("show", group)
def show(
    name: Annotated[str, typer.Argument(help="The preset.", autocompletion=preset_names)],
) -> None:
    """Print a preset's file, to copy and change.

    Example: `salt presets show quick > mine.toml`
    """
    from kaggle_salt.presets import preset_path

    typer.echo(preset_path(name).read_text(encoding="utf-8"), nl=False)


@command("check", group)
def check(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A TOML file, or the name of a preset.",
            autocompletion=preset_names,
        ),
    ],
    tile: Annotated[int, typer.Option(min=1, help="Side of the tiles, in pixels.")] = 101,
    as_json: Json = False,
) -> None:
    """Say whether a configuration can be trained and what it is, without data or downloads.

    Example: `salt presets check mine.toml`
    """
    from dataclasses import asdict

    from kaggle_salt.pipeline.preset_check import check_preset

    report = check_preset(source, tile)
    if as_json:
        emit(asdict(report))
        return
    _print_report(report)


def _print_report(report: PresetReport) -> None:
    r = report
    typer.echo(
        f"{r.source} can be trained: {r.description}\n"
        f"network: {r.architecture}, {_millions(r.parameters)} parameters, weights {r.weights}\n"
        f"input: tiles of {r.tile} px, {r.framing} to {r.size} px, {r.channels}; "
        f"augmentation {r.augmentation}\n"
        f"channels: {r.made_of}"
    )
    columns = ["stage", "epochs", "px", "tiles", "loss", "optimiser", "rate", "schedule", "keep"]
    print_table(columns, [
        [s.name, s.epochs, s.size, s.tiles, s.loss, s.optimizer, f"{s.lr:g}", s.schedule, s.keep]
        for s in r.stages
    ], texts=["tiles", "loss", "optimiser", "schedule", "keep"],
       least=["tiles", "optimiser", "keep"])  # fmt: skip
    for need in r.needs:
        typer.echo(f"needs {need}")
