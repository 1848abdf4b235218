"""``scripts/compare``: every preset on one fold, each within the same minutes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.budget import Fitted, fit_or_shrink
from benchmarks.machine import describe_machine
from kaggle_salt import predictions
from kaggle_salt.cli.console import ConsoleListener
from kaggle_salt.config.file import load_config, load_run_config
from kaggle_salt.ensembling.histograms import count_tiles
from kaggle_salt.ensembling.thresholds import score_at
from kaggle_salt.errors import SaltError
from kaggle_salt.learning.channels import settle_channels
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.training.training_data import TrainingData
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.presets import Measured, preset_names, preset_path, read_measured
from kaggle_salt.runs import RunFolder


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
    parser.add_argument("--pseudo", type=Path, help="pseudo-labels, for presets that want them")
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
                f"{row.size} px", f"{row.epochs}", f"{row.minutes}",
                f"{row.tiles_per_second or '-'}", _figure(row.score),
                f"[{_figure(row.low or 0)}, {_figure(row.high or 0)}]",
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
    path, given = preset_path(preset), ["model.weights=none"]
    if pseudo and load_config(path, given).pseudo_stages:
        given.append(f"pseudo.file={pseudo}")
    config = settle_channels(load_config(path, given), coloured=False)
    data = TrainingData.open(workspace, config, str(fold), Listener())
    compute = choose_compute("cpu", config.training.precision, config.training.channels_last)
    run = RunFolder(workspace.runs / f"{preset}-{minutes:g}min")
    if run.claimed_folds():  # interrupted: another timing would give other epochs
        fitted = Fitted(load_run_config(run.config))
    else:
        fitted = fit_or_shrink(config, data.tiles(fold), 60 * minutes, compute)
    print(f"{preset}: {fitted.note}", file=sys.stderr)
    (summary,) = train(
        workspace, run, fitted.config, folds=str(fold), device="cpu", resume=True,
        listener=ConsoleListener(),
    )  # fmt: skip
    competition = data.competition
    predicted = predictions.load(run.fold(fold).oof)
    row_of = {tile: row for row, tile in enumerate(competition.ids)}
    truth = competition.masks[[row_of[tile] for tile in predicted.ids]]
    at_half = score_at(count_tiles(truth, predicted.probabilities))
    machine = describe_machine()
    trained = summary.epochs * (len(competition.ids) - summary.tiles)
    values = {
        "preset": preset,
        "parameters": summary.parameters,
        "budget_minutes": minutes,
        "size": fitted.size,
        "epochs": summary.epochs,
        "minutes": round(summary.seconds / 60, 1),
        "tiles_per_second": round(trained / summary.seconds, 1),
        "score": round(at_half.score, 4),
        "low": round(at_half.interval[0], 4),
        "high": round(at_half.interval[1], 4),
        "machine": f"{machine['threads']} thread, {machine['cpu']}",
        "note": fitted.note,
    }
    return pd.DataFrame([values])


def _write(path: Path, row: pd.DataFrame) -> None:
    """Put a row into the table, in place of the preset's old one."""
    if path.exists():
        old = pd.read_csv(path, keep_default_na=False)
        row = pd.concat([old[old["preset"] != row["preset"].iloc[0]], row])
    row.sort_values("preset").to_csv(path, index=False)


if __name__ == "__main__":
    sys.exit(main())
