"""The command that trains: here, or on whatever machines there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaggle_salt.cli.app import command
from kaggle_salt.cli.options import (
    DATA,
    FOLDS,
    RUNS,
    Address,
    ConfigFile,
    Data,
    Device,
    Epochs,
    Folds,
    Jobs,
    Json,
    Minutes,
    On,
    Preset,
    Retries,
    RunName,
    Runs,
    Sbatch,
    Seed,
    Settings,
    overrides_of,
    workspace_of,
)
from kaggle_salt.cli.output import emit, print_table
from kaggle_salt.errors import ConfigError

if TYPE_CHECKING:
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.config.schema import Config
    from kaggle_salt.launch.tasks import Engine
    from kaggle_salt.learning.fold import FoldSummary
    from kaggle_salt.pipeline.workspace import Workspace
    from kaggle_salt.runs import RunFolder

Pseudo = Annotated[
    Path | None, typer.Option(help="Pseudo-labels to train on: CSV of salt pseudo-label.")
]
Rounds = Annotated[
    int, typer.Option(min=1, help="2: train RUN-1 so, then RUN-2 on the labels of RUN-1.")
]
Log = Annotated[str | None, typer.Option(help="tensorboard: write history.csv as its events, too.")]


@command("train")
def train(
    fold: Annotated[str, typer.Option(help="0, or 0,2, or all.")] = "0",
    preset: Preset = None,
    config: ConfigFile = None,
    run: RunName = None,
    set_: Settings = None,
    seed: Seed = None,
    minutes: Minutes = None,
    epochs: Epochs = None,
    pseudo: Pseudo = None,
    rounds: Rounds = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with half-done folds.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Train these folds anew.")] = False,
    jobs: Jobs = None,
    retries: Retries = 2,
    on: On = None,
    address: Address = None,
    sbatch: Sbatch = None,
    log: Log = None,
    data: Data = DATA,
    runs: Runs = RUNS,
    folds: Folds = FOLDS,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train folds of a run: BCE, then Lovász fine-tuning, then weight averaging.

    Example: `salt train --preset quick --fold all --resume`

    On every GPU here: `salt train --fold all --jobs auto`; a cluster's: `--fold all --on slurm`

    With pseudo-labels: `salt train --pseudo runs/resnet34/pseudo-labels.csv --run student`
    """
    from kaggle_salt.cli.console import ConsoleListener
    from kaggle_salt.launch.engines import choose_engine
    from kaggle_salt.pipeline.budget import Budget
    from kaggle_salt.pipeline.choose import choose_run

    workspace = workspace_of(data=data, runs=runs, folds=folds)
    listener, budget = ConsoleListener(), Budget.of(minutes, epochs)
    engine = choose_engine(on, jobs, device, retries, address=address, sbatch=sbatch)
    folder, configuration, because = choose_run(
        workspace, run=run, preset=preset, config_file=config,
        overrides=overrides_of(set_, seed, pseudo), device=device, listener=listener,
    )  # fmt: skip
    call = Call(workspace, folder, configuration, listener, log, as_json, {
        "folds": fold, "device": device, "resume": resume, "overwrite": overwrite,
        "because": because, "budget": budget,
    })  # fmt: skip
    _train_here(call, rounds) if engine is None else _launch(call, engine, rounds)


@dataclass(frozen=True)
class Call:
    """What is to be trained, and how; the options are those of the pipeline's functions."""

    workspace: Workspace
    run: RunFolder
    config: Config
    listener: ConsoleListener
    log: str | None
    as_json: bool
    options: dict[str, Any]


def _train_here(call: Call, rounds: int) -> None:
    from kaggle_salt.pipeline.event_log import logged
    from kaggle_salt.pipeline.training.rounds import train_rounds

    with logged(call.listener, call.log) as listener:
        summaries = train_rounds(
            call.workspace, call.run, call.config, rounds=rounds, listener=listener, **call.options
        )
    _print_trained(summaries, call.as_json)


def _launch(call: Call, engine: Engine, rounds: int) -> None:
    from kaggle_salt.cli.launch_view import view_of
    from kaggle_salt.launch.folds import train_folds
    from kaggle_salt.pipeline.event_log import require_log

    if rounds > 1:
        raise ConfigError(
            f"--rounds {rounds} for folds in processes of their own",
            expected="one round: the labels of the next come between",
            next_step="leave out --rounds, or --jobs and --on",
        )
    require_log(call.log)
    report = train_folds(
        call.workspace, call.run, call.config, engine, view_of(call.listener),
        log=call.log, **call.options,
    )  # fmt: skip
    if report.summaries and not (call.as_json and report.failed):
        _print_trained(report.summaries, call.as_json)
    report.refuse_failed()


def _print_trained(summaries: Sequence[FoldSummary], as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        emit([asdict(summary) for summary in summaries])
        return
    print_table(["fold", "tiles", "epochs", "minutes", "score at .5 with TTA"], [
        [s.fold, s.tiles, s.epochs, f"{s.seconds / 60:.1f}", s.score] for s in summaries
    ])  # fmt: skip
