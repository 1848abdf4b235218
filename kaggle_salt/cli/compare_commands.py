"""Commands about several runs: compare, runs, sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaggle_salt.cli.app import command
from kaggle_salt.cli.options import (
    DATA,
    FOLDS,
    RUNS,
    Address,
    Data,
    Device,
    Folds,
    Jobs,
    Json,
    On,
    Retries,
    Runs,
    Sbatch,
    run_names,
    workspace_of,
)
from kaggle_salt.cli.output import emit, interval_text, print_table
from kaggle_salt.cli.remedies import complete

if TYPE_CHECKING:
    from kaggle_salt.ensembling.comparison import Comparison, Part, Rival
    from kaggle_salt.pipeline.judging.run_list import RunRow
    from kaggle_salt.pipeline.training.sweep import SweepReport

#: Changed tiles that are printed for each rival.
PRINTED = 8


@command("compare")
def compare(
    runs_: Annotated[
        list[str],
        typer.Argument(
            metavar="A B...",
            help="Runs, folds of runs (A/fold0), ensembles, or runs to average (A+B).",
            autocompletion=run_names,
        ),
    ],
    at_half: Annotated[
        bool, typer.Option("--at-half", help="Judge all at .5, not each by its own decision.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with the tiles that changed most.")
    ] = None,
    data: Data = DATA,
    runs: Runs = RUNS,
    folds: Folds = FOLDS,
    as_json: Json = False,
) -> None:
    """Compare runs with the first, on the same out-of-fold tiles: is the gain real?

    Example: `salt compare quick resnet34 --html compared.html`
    """
    from dataclasses import asdict

    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.pipeline.judging.compare import compare as judge

    found = judge(
        workspace_of(data=data, runs=runs, folds=folds), runs_, at_half=at_half, html=html,
        listener=ConsoleListener(),
    )  # fmt: skip
    if as_json:
        emit({**asdict(found), "html": html})
        return
    print_comparison(found)
    if html:
        typer.echo(f"tiles that changed most: {html}")


def print_comparison(found: Comparison) -> None:
    """Print a comparison: the verdicts first."""
    first = found.standings[0].name
    typer.echo(f"is the gain over {first} real?")
    for rival in found.rivals:
        typer.echo(f"{rival.name}: {rival.verdict}")
    for caveat in found.caveats:
        typer.echo(f"but {caveat}")
    typer.echo(f"\n{found.tiles} out-of-fold tiles that all have; decision: {found.decision}")
    print_table(
        ["run", "score", "95 % interval", f"against {first}", "95 % interval ", "same sign in"],
        [
            [one.name, one.score, interval_text(one.interval), *_against(rival)]
            for one, rival in zip(found.standings, [None, *found.rivals], strict=True)
        ],
    )
    for kind in dict.fromkeys(part.kind for part in found.parts):
        _print_parts([part for part in found.parts if part.kind == kind], found)
    for rival in found.rivals:
        _print_changed(rival, first)
    for rival in found.rivals:
        typer.echo(_shaken(rival))
    typer.echo(_seeds(found))


def _against(rival: Rival | None) -> list[str]:
    if rival is None:
        return ["", "", ""]
    found = rival.paired
    low, high = found.interval
    return [f"{found.difference:+.4f}", f"[{low:+.4f}, {high:+.4f}]", f"{found.stays:.1%}"]


def _print_parts(parts: Sequence[Part], found: Comparison) -> None:
    from kaggle_salt.ensembling.comparison import interval_words

    names = [one.name for one in found.standings]
    against = [f"{name} - {names[0]}" for name in names[1:]]
    print_table(
        [parts[0].kind, "tiles", *names, *against],
        [
            [part.name, part.tiles, *part.scores,
             *(interval_words(one.difference, one.interval) for one in part.differences)]
            for part in parts
        ],
        least=names[1:],
    )  # fmt: skip


def _print_changed(rival: Rival, first: str) -> None:
    print_table(
        ["tiles that changed most", "fold", "salt", first, rival.name, "pixels changed"],
        [
            [one.id, one.fold, f"{one.coverage:.0%}", f"{one.first:.1f}", f"{one.score:.1f}",
             one.pixels]
            for one in rival.changed[:PRINTED]
        ],
    )  # fmt: skip


def _shaken(rival: Rival) -> str:
    one = rival.shake
    public, private = (f"{low:+.4f} to {high:+.4f}" for low, high in (one.public, one.private))
    return (
        f"leaderboard, if these tiles are right: {rival.name} would differ by {public} on "
        f"{one.public_tiles} public and by {private} on {one.private_tiles} private test tiles "
        f"(95 % of splits); the public one puts the worse ahead in {one.public_reversed:.1%}, "
        f"public and private disagree in {one.disagree:.1%}"
    )


def _seeds(found: Comparison) -> str:
    if found.seed_deviation is None:
        return "another seed: not known what it alone would change; no run here has two"
    told = "; ".join(
        f"{one.name} {', '.join(f'{score:.4f}' for score in one.scores)} with seeds "
        f"{', '.join(map(str, one.seeds))}"
        for one in found.recipes
    )
    return (
        f"another seed: it alone moves a score by {found.seed_deviation:.4f} (standard "
        f"deviation): {told}"
    )


@command("runs")
def runs_(
    runs: Runs = RUNS,
    as_json: Json = False,
) -> None:
    """List the runs and ensembles: folds, score at .5 out of fold, minutes, date.

    Example: `salt runs --json`
    """
    from dataclasses import asdict

    from kaggle_salt.pipeline.judging.run_list import list_runs

    rows = list_runs(workspace_of(runs=runs))
    if as_json:
        emit([asdict(row) for row in rows])
        return
    if not rows:
        typer.echo(f"there are no runs in {runs}")
        return
    print_table(
        ["run", "preset", "folds", "tiles", "score at .5", "minutes", "begun, UTC", "trouble"],
        [_cells(row) for row in rows],
        texts=["preset", "folds", "trouble"],
        least=["begun, UTC", "tiles"],
    )


def _cells(row: RunRow) -> list[object]:
    half = f"{', '.join(map(str, row.half))} half done" if row.half else ""
    return [
        row.name,
        f"{row.preset}, {row.changed} keys changed" if row.changed else row.preset,
        "; ".join(filter(None, [", ".join(map(str, row.folds)), half])),
        row.tiles or "",
        "" if row.score is None else row.score,
        "" if row.minutes is None else f"{row.minutes:.1f}",
        row.date,
        row.trouble,
    ]


@command("sweep")
def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="What to vary.")],
    html: Annotated[
        Path | None, typer.Option(help="Write a page with the tiles that changed most.")
    ] = None,
    jobs: Jobs = None,
    retries: Retries = 2,
    on: On = None,
    address: Address = None,
    sbatch: Sbatch = None,
    data: Data = DATA,
    runs: Runs = RUNS,
    folds: Folds = FOLDS,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train one run for each variant and seed, and compare all with the base; again, it goes on.

    The file has preset = "quick", folds = "0,1", maybe minutes = 15 and seeds = [0, 1]; a table
    [vary] of KEY = [values], of which all combinations are trained, or [[variant]] tables, each a
    name and keys.

    Example: `salt sweep rates.toml --html rates.html`; on every GPU here: `--jobs auto`
    """
    from dataclasses import asdict

    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.cli.launch_view import view_of
    from kaggle_salt.launch import sweep as launched
    from kaggle_salt.launch.engines import choose_engine
    from kaggle_salt.pipeline.training import sweep as pipeline

    listener, workspace = ConsoleListener(), workspace_of(data=data, runs=runs, folds=folds)
    engine = choose_engine(on, jobs, device, retries, address=address, sbatch=sbatch)
    settings: dict[str, Any] = {"device": device, "html": html}
    if engine is None:
        report = pipeline.sweep(workspace, file, listener=listener, **settings)
    else:
        report = launched.sweep(workspace, file, engine, view_of(listener), **settings)
    if as_json:
        emit(asdict(report))
    else:
        _print_sweep(report)
    if report.failed or report.trouble:
        raise typer.Exit(1)


def _print_sweep(report: SweepReport) -> None:
    print_table(
        ["run", "seed", "trouble"],
        [
            [run.name, "" if run.seed is None else run.seed, complete(run.trouble)]
            for run in report.runs
        ],
        texts=["trouble"],
    )
    if report.comparison:
        print_comparison(report.comparison)
    else:
        typer.echo(f"no comparison: {report.trouble}")
