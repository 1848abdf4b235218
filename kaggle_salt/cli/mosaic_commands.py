"""The command mosaic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaggle_salt.cli.app import command
from kaggle_salt.cli.options import DATA, Data, Json, workspace_of
from kaggle_salt.cli.output import emit, interval_text, print_table

if TYPE_CHECKING:
    from kaggle_salt.pipeline.blending.mosaic_rules import Gain
    from kaggle_salt.pipeline.preparing.mosaic import MosaicReport


@command("mosaic")
def mosaic(
    data: Data = DATA,
    out: Annotated[Path, typer.Option(help="The table to write.")] = Path("mosaics.csv"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a table of other tiles.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put tiles back beside those that they were cut from; the table, a picture and two checks.

    Neighbours in two folds leak: `salt make-folds --group-by mosaics.csv` keeps them in one. And
    their masks tell of each other: `salt ensemble --mosaic mosaics.csv` lets them.

    Example: `salt mosaic && salt make-folds --group-by mosaics.csv --out folds/grouped.csv`
    """
    from dataclasses import asdict

    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.preparing.mosaic import make_mosaics

    report = make_mosaics(
        workspace_of(data=data), out, overwrite=overwrite, listener=ConsoleListener()
    )
    if as_json:
        emit({"csv": report.csv, "picture": report.picture, "existed": report.existed,
              **report.manifest, "rules": [asdict(row) for row in report.rules]})  # fmt: skip
        return
    typer.echo("\n".join(_lines(report)))
    print_table(["neighbours' masks", "training tiles", "score", "test tiles"], [
        [f"{row.step}: {row.what}", row.tiles, _score(row.score), row.test_tiles]
        for row in report.rules
    ], texts=["neighbours' masks"])  # fmt: skip
    typer.echo("score: leave-one-out, each training tile told by the others' masks and no network")


def _lines(report: MosaicReport) -> Iterator[str]:
    found = report.manifest
    share = found["placed"] / max(found["tiles"], 1)
    yield (
        f"{found['placed']} of {found['tiles']} tiles placed ({share:.1%}): {found['mosaics']} "
        f"mosaics, the largest of {found['largest']} tiles, {found['pairs']} pairs side by side"
    )
    beside = found["training_tiles_beside_another"]
    yield (f"{beside} of {found['training_tiles']} training tiles lie beside another training tile")
    yield from _agreement_lines(found["mask_agreement"])
    written = "was there already, made of the same tiles" if report.existed else "written"
    yield f"{report.csv}: {written}"
    if report.picture is not None:
        yield f"look at {report.picture}"


def _agreement_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What the masks say of the joints, beside what chance would."""
    if not told["joints"]:
        yield "no two tiles with known masks lie beside each other: the masks check nothing"
        return
    yield (
        f"masks agree on {told['share']:.3f} of the pixels along {told['joints']} joints; where "
        f"random tiles meet, on {told['random']:.3f}"
    )
    if told["salt_joints"]:
        yield (
            f"along the {told['salt_joints']} between two tiles with salt, on "
            f"{told['salt_share']:.3f}; random ones {told['salt_random']:.3f}"
        )


def print_gains(gains: Sequence[Gain]) -> None:
    """What neighbours' masks add, each tile told by all training tiles but itself."""
    columns = ["neighbours' masks", "tiles", "score without", "with", "gain over all tiles",
               "95 % interval", "test tiles"]  # fmt: skip
    print_table(columns, [
        [row.step, row.tiles, _score(row.without), _score(row.score), f"{row.gain:+.4f}",
         interval_text(row.interval), row.test_tiles]
        for row in gains
    ], least=["test tiles"])  # fmt: skip


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.3f}"
