"""Commands for what others made: blend-csv, import-predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kaggle_salt.cli.app import command
from kaggle_salt.cli.options import (
    DATA,
    RUNS,
    SUBMISSIONS,
    Data,
    Json,
    Runs,
    parse_weights,
    workspace_of,
)
from kaggle_salt.cli.output import emit, print_table
from kaggle_salt.cli.remedies import complete
from kaggle_salt.errors import ConfigError, salt_command

if TYPE_CHECKING:
    from kaggle_salt.pipeline.submitting.submit import SubmissionReport


@command("blend-csv")
def blend_csv(
    files: Annotated[list[Path], typer.Argument(metavar="CSV...", help="Submissions, 2 or more.")],
    weights: Annotated[
        str | None, typer.Option(help="Votes of each submission, as in 2,1,1; else one each.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the CSV; else the files' names.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Size of a tile where there are no data.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the CSV.")] = False,
    data: Data = DATA,
    out: Annotated[Path, typer.Option(help="Folder of the submissions.")] = SUBMISSIONS,
    as_json: Json = False,
) -> None:
    """Blend submissions by a vote, pixel by pixel; a tie is not salt.

    Example: `salt blend-csv mine.csv theirs.csv third.csv --weights 2,1,1 --name voted`
    """
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.submitting.blend_csv import blend_submissions

    report = blend_submissions(
        workspace_of(data=data, submissions=out), files, weights=_parse_weights(weights),
        name=name, size=_parse_size(size), overwrite=overwrite, listener=ConsoleListener(),
    )  # fmt: skip
    if as_json:
        emit({"csv": report.csv, "existed": report.existed, **report.manifest})
        return
    _print_blend(report)


def _print_blend(report: SubmissionReport) -> None:
    agreement = report.manifest["agreement"]
    columns = ["submission", "votes", "empty", "agrees with the others", "with the blend"]
    rows = zip(
        report.manifest["sources"],
        agreement["empty_masks"],
        agreement["with_others"],
        agreement["with_blend"],
        strict=True,
    )
    print_table(columns, [
        [source["file"], f"{source['weight']:g}", empty, others, blend]
        for source, empty, others, blend in rows
    ])  # fmt: skip
    written = "was there already, made of the same" if report.existed else "written and checked"
    typer.echo(
        "agreement: mean score of one submission's masks against another's, 1 if all are equal\n"
        f"{report.csv}: {report.manifest['rows']} rows, {report.manifest['empty_masks']} of them "
        f"empty, {written}"
    )


def _parse_weights(text: str | None) -> list[float] | None:
    if text is None:
        return None
    expected = "one number for each submission, as in 2,1,1"
    return parse_weights(text, expected, "--weights 2,1,1, or leave --weights out")


def _parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(
            f"--size {text}", expected="height x width in pixels", next_step="--size 101x101"
        )
    return int(parts[0]), int(parts[1])


@command("import-predictions")
def import_predictions(
    name: Annotated[str, typer.Argument(help="Name of the run to make.")],
    oof: Annotated[Path, typer.Option(help="Out-of-fold probabilities: .npy, [N, H, W].")],
    oof_ids: Annotated[Path, typer.Option(help="Their ids: .json list, .csv or .txt.")],
    test: Annotated[Path | None, typer.Option(help="Test probabilities: .npy, [N, H, W].")] = None,
    test_ids: Annotated[Path | None, typer.Option(help="Their ids: .json, .csv or .txt.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace other imported predictions.")
    ] = False,
    data: Data = DATA,
    runs: Runs = RUNS,
    as_json: Json = False,
) -> None:
    """Take probabilities that another tool made, for `salt ensemble` to blend.

    uint8 from 0 to 255, or floats from 0 to 1. That each training tile was predicted by networks
    that had not seen it is your word: nothing here can check it.

    Example: `salt import-predictions nnunet --oof oof.npy --oof-ids oof.csv --test test.npy
    --test-ids test.csv && salt ensemble resnet34 nnunet`
    """
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.blending.foreign import GivenFiles
    from kaggle_salt.pipeline.blending.foreign import import_predictions as bring_in

    report = bring_in(
        workspace_of(data=data, runs=runs), name, GivenFiles(oof, oof_ids, test, test_ids),
        overwrite=overwrite, listener=ConsoleListener(),
    )  # fmt: skip
    if as_json:
        emit({"folder": report.run.path, "existed": report.existed, **report.manifest})
        return
    written = "were there already, the same" if report.existed else "written"
    counts = report.manifest["tiles"]
    typer.echo(
        f"{report.run.path}: predictions of {counts['oof']} training tiles and {counts['test']} "
        f"test tiles, {written}\n"
        f"at .5 they score {report.manifest['score_at_half']:.4f} on the training tiles; that "
        "they are out of fold is your word\n"
        + complete(f"next: {salt_command('ensemble', name, 'RUN')}")
    )
