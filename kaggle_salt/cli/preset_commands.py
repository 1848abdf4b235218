"""Commands around presets: list them, show one, check one of your own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kaggle_salt.cli.app import SETTINGS, app, command
from kaggle_salt.cli.options import Json, preset_names
from kaggle_salt.cli.output import emit, print_table

if TYPE_CHECKING:
    from kaggle_salt.pipeline.preparing.preset_check import PresetReport
    from kaggle_salt.pipeline.preparing.preset_layers import NetworkReport
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
    if any(p.measured.budget_minutes is not None for p in listed):
        typer.echo("fitted: fewer epochs, mostly a smaller input, nothing pretrained", err=True)


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:.1f} M"


def _score(measured: Measured) -> str:
    if measured.score is None:
        return "not measured"
    fitted = "" if measured.budget_minutes is None else ", fitted"
    return f"{measured.score:.4f} in {measured.minutes:.0f} min{fitted}"


@command("show", group)
def show(
    name: Annotated[str, typer.Argument(help="The preset.", autocompletion=preset_names)],
    layers: Annotated[
        bool, typer.Option("--layers", help="Print its network's layers, not its file.")
    ] = False,
    draw: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, help="Draw its network to a .png or .svg file."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a preset's file, to copy and change; or what its network is made of.

    Example: `salt presets show quick > mine.toml`

    Example: `salt presets show unet --layers --draw unet.png`
    """
    from kaggle_salt.presets import preset_path

    if as_json and not layers:
        raise typer.BadParameter("--json needs --layers: a preset's file is TOML")
    if not layers and draw is None:
        typer.echo(preset_path(name).read_text(encoding="utf-8"), nl=False)
        return
    from dataclasses import asdict

    from kaggle_salt.pipeline.preparing.preset_layers import describe_network

    report = describe_network(name, draw)
    if as_json:
        emit(asdict(report))
    elif layers:
        _print_layers(report)
    if draw is not None and not as_json:
        typer.echo(f"drawing: {draw}")


def _print_layers(report: NetworkReport) -> None:
    typer.echo(
        f"{report.preset}: {report.architecture}, {_millions(report.parameters)} parameters; "
        f"input {_product(report.input_shape)}"
    )
    rows = [
        [layer.name or "(its own)", layer.kind, _product(layer.shape), f"{layer.parameters:,}"]
        for layer in report.layers
    ]
    columns = ["layer", "kind", "output", "parameters"]
    print_table(columns, [*rows, ["total", "", "", f"{report.parameters:,}"]], texts=["kind"],
                least=["kind"])  # fmt: skip


def _product(shape: Sequence[int]) -> str:
    """A shape as in ``64x32x32``: channels, height, width."""
    return "x".join(map(str, shape)) or "not called"


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

    from kaggle_salt.pipeline.preparing.preset_check import check_preset

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
