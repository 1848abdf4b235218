"""``scripts/compare``: every preset on one fold, each within the same minutes.

A preset's epochs are scaled down until its training fits the budget, in the proportions of its
stages. Where fewer than eight epochs would fit, its input is shrunk first: on a processor a
network that has seen the tiles often at half the size beats one that has hardly seen them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from benchmarks.machine import describe_machine
from kaggle_salt import predictions
from kaggle_salt.cli.console import ConsoleListener
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config import Config, StageConfig
from kaggle_salt.config_file import load_config
from kaggle_salt.ensembling.histograms import count_tiles
from kaggle_salt.ensembling.thresholds import score_at
from kaggle_salt.errors import ConfigError, SaltError
from kaggle_salt.files import write_text
from kaggle_salt.learning.channels import settle_channels
from kaggle_salt.learning.device import Compute, choose_compute
from kaggle_salt.learning.fold import FoldSummary, check_trainable
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.losses import make_loss
from kaggle_salt.learning.networks import build
from kaggle_salt.learning.optim import make_optimizer
from kaggle_salt.pipeline.train import train
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.presets import Measured, preset_names, preset_path, read_measured
from kaggle_salt.runs import RunFolder

#: Inputs are shrunk by the first of these at which so many epochs fit into the budget.
SHRINKS, ENOUGH_EPOCHS = (1, 2, 4), 8

#: Time of an epoch over that of its bare steps: validation, loader, checkpoint.
OVERHEAD = 1.15


@dataclass(frozen=True)
class Plan:
    """A preset made to fit: the overrides that do it, and what it then trains."""

    overrides: tuple[str, ...]
    size: int
    epochs: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the presets asked for, one after the other, and write their rows."""
    options = _parse(arguments)
    if options.table:
        print("\n".join(table_lines(read_measured())))
        return 0
    workspace = Workspace(data=options.data, runs=options.runs, folds=options.folds)
    try:
        for name in options.presets or preset_names():
            row = measure(workspace, name, options.minutes, options.fold, options.pseudo)
            print(row.to_string(index=False), file=sys.stderr)
            _write(options.out, row)
    except SaltError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/compare", description=__doc__)
    parser.add_argument("presets", nargs="*", help="names; all by default")
    parser.add_argument("--minutes", type=float, default=10, help="of training for each")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--folds", type=Path, default=Path("folds/folds.csv"))
    parser.add_argument("--pseudo", type=Path, help="pseudo-labels, for the preset that wants them")
    parser.add_argument("--out", type=Path, default=Path("compare.csv"), help="a row a preset")
    parser.add_argument("--table", action="store_true", help="print what was measured, and stop")
    return parser.parse_args(arguments)


def table_lines(measured: Mapping[str, Measured]) -> list[str]:
    """Results as a Markdown table, best first; what was not measured comes last."""
    lines = [
        "| preset | parameters | input | epochs | minutes | tiles/s | score | 95 % interval |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in sorted(measured.items(), key=lambda item: -(item[1].score or 0)):
        cells = ["-"] * 6
        if row.score is not None:
            cells = [
                f"{row.size} px", f"{row.epochs}", f"{row.minutes}", f"{row.tiles_per_second}",
                _figure(row.score), f"[{_figure(row.low or 0)}, {_figure(row.high or 0)}]",
            ]  # fmt: skip
        cells = [f"`{name}`", f"{row.parameters / 1e6:.1f} M", *cells]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _figure(score: float) -> str:
    return f"{score:.4f}".removeprefix("0")


def measure(
    workspace: Workspace, preset: str, minutes: float, fold: int, pseudo: Path | None
) -> pd.DataFrame:
    """Train one preset within the budget; its row of the table."""
    competition = Competition.open(workspace.data)
    given = ["model.weights=none"]
    given += [f"pseudo.file={pseudo}"] if preset == "pseudo" and pseudo else []
    config = settle_channels(load_config(preset_path(preset), given), coloured=False)
    plan = fit(config, competition, 60 * minutes)
    planned = load_config(preset_path(preset), [*given, *plan.overrides])
    run = RunFolder(workspace.runs / f"{preset}-{minutes:g}min")
    print(f"{preset}: {' '.join(plan.overrides)}", file=sys.stderr)
    (summary,) = train(
        workspace, run, planned, folds=str(fold), device="cpu", resume=True,
        listener=ConsoleListener(),
    )  # fmt: skip
    return _row(preset, minutes, plan, summary, competition, run.fold(fold).oof)


def fit(config: Config, competition: Competition, seconds: float) -> Plan:
    """Scale a configuration's epochs, and if need be its input, to a training time."""
    plans = []
    for shrink in SHRINKS:
        shrunk = _shrink(config, competition, shrink)
        if shrunk is None:
            continue
        plans.append(_scale(shrunk, competition, seconds))
        if plans[-1].epochs >= ENOUGH_EPOCHS:
            break
    return plans[-1]


def _shrink(config: Config, competition: Competition, shrink: int) -> Config | None:
    """Every stage at 1/shrink of its size, the input a little larger where that needs it."""
    stages = tuple(s.model_copy(update={"shrink": s.shrink * shrink}) for s in config.stage)
    unit = 32 * shrink
    for size in (config.input.size, -(-config.input.size // unit) * unit):
        changed = {"stage": stages, "input": config.input.model_copy(update={"size": size})}
        shrunk = config.model_copy(update=changed)
        try:
            check_trainable(shrunk, competition.tile_shape, pretrained=False)
        except ConfigError:
            continue  # the network halves more often than this size allows
        return shrunk
    return None


def _scale(config: Config, competition: Competition, seconds: float) -> Plan:
    steps = len(competition.ids) * 4 // 5 // config.training.batch_size
    costs = [
        OVERHEAD * steps * seconds_per_step(config, stage, competition) for stage in config.stage
    ]
    wanted = sum(c * stage.epochs for c, stage in zip(costs, config.stage, strict=True))
    scale = min(seconds / wanted, 1)
    overrides, epochs = [f"input.size={config.input.size}"], 0
    for stage in config.stage:
        own = max(1, int(stage.epochs * scale))
        cycle = max(1, own // (stage.epochs // stage.cycle))
        own = own // cycle * cycle
        epochs += own
        overrides.append(f"stage.{stage.name}.epochs={own}")
        overrides.append(f"stage.{stage.name}.shrink={stage.shrink}")
        if stage.schedule.name == "cosine-restarts":
            overrides.append(f"stage.{stage.name}.schedule.cycle={cycle}")
    size = config.input.size // min(stage.shrink for stage in config.stage)
    return Plan(tuple(overrides), size, epochs)


def seconds_per_step(config: Config, stage: StageConfig, competition: Competition) -> float:
    """Time of one optimiser step, after one that warms up."""
    compute: Compute = choose_compute(
        "cpu", config.training.precision, config.training.channels_last
    )
    network = compute.place(build(config.model, config.input.channel_count, pretrained=False))
    framing = Framing(competition.tile_shape, config.input, stage.shrink)
    loss, optimizer = make_loss(stage.loss), make_optimizer(stage.optimizer, network)
    tiles = torch.from_numpy(competition.images[: config.training.batch_size].copy())
    target = torch.from_numpy(competition.masks[: config.training.batch_size].copy())[:, None]
    network.train()
    started = 0.0
    for _ in range(2):
        started = time.monotonic()
        outputs = compute.outputs(network, framing.prepare(tiles)).map(framing.unframe)
        optimizer.zero_grad()
        loss(outputs, target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return time.monotonic() - started


def _row(
    preset: str,
    minutes: float,
    plan: Plan,
    summary: FoldSummary,
    competition: Competition,
    oof: Path,
) -> pd.DataFrame:
    predicted = predictions.load(oof)
    row_of = {tile: row for row, tile in enumerate(competition.ids)}
    truth = competition.masks[[row_of[tile] for tile in predicted.ids]]
    at_half = score_at(count_tiles(truth, predicted.probabilities))
    machine = describe_machine()
    trained = summary.epochs * (len(competition.ids) - summary.tiles)
    values = {
        "preset": preset,
        "parameters": summary.parameters,
        "budget_minutes": minutes,
        "size": plan.size,
        "epochs": summary.epochs,
        "minutes": round(summary.seconds / 60, 1),
        "tiles_per_second": round(trained / summary.seconds, 1),
        "score": round(at_half.score, 4),
        "low": round(at_half.interval[0], 4),
        "high": round(at_half.interval[1], 4),
        "machine": f"{machine['threads']} thread, {machine['cpu']}",
        "note": " ".join(plan.overrides),
    }
    return pd.DataFrame([values])


def _write(path: Path, row: pd.DataFrame) -> None:
    """Put a row into the table, in place of the preset's old one."""
    if path.exists():
        old = pd.read_csv(path, keep_default_na=False)
        row = pd.concat([old[old["preset"] != row["preset"].iloc[0]], row])
    write_text(path, row.sort_values("preset").to_csv(index=False))


if __name__ == "__main__":
    sys.exit(main())
