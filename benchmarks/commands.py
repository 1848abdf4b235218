"""Commands as a person calls them, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.items import Measurement, Setting, Target, item
from benchmarks.memory import run_measured
from benchmarks.timing import median_time
from kaggle_salt import predictions
from kaggle_salt.competition.fold_files import write_folds
from kaggle_salt.competition.folds import fold_rows, make_folds
from kaggle_salt.config_file import dump_config, load_config
from kaggle_salt.files import file_hash, write_json, write_text
from kaggle_salt.learning.channels import settle_channels
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.learning.fold import FoldSummary, manifest_of_test
from kaggle_salt.predictions import Predictions
from kaggle_salt.presets import preset_path
from kaggle_salt.runs import RunFolder

SALT = (sys.executable, "-m", "kaggle_salt")
N_FOLDS = 5


@item("help", "s", Target(0.5, at_any_size=True))
def help_text(setting: Setting) -> Measurement:
    """The command ``salt --help``, from the shell to the last line. Target: 0.5 s."""

    def show_help() -> None:
        subprocess.run([*SALT, "--help"], check=True, stdout=subprocess.DEVNULL)

    return median_time(show_help, setting.size.repeats)


@item("ensemble-memory", "GB", Target(1.5))
def ensemble_memory(setting: Setting) -> Measurement:
    """Peak memory of ``salt ensemble`` with 5 folds of 18,400 test tiles.

    The folds' test predictions are there already: what a network needs for a batch of 64
    tiles is not counted, all that the command loads is. Target: 1.5 GB.
    """
    folder = setting.folder / "ensemble"
    _write_finished_run(setting, RunFolder(folder / "runs" / "bench"), folder / "folds.csv")
    arguments = [
        "ensemble", "--data", setting.competition_folder, "--runs", folder / "runs",
        "--folds", folder / "folds.csv", "--device", "cpu",
    ]  # fmt: skip
    peak = run_measured([*SALT, *map(str, arguments)]).peak_memory
    return Measurement(peak / 1e9, details={"test_tiles": len(setting.competition.test_ids)})


def _write_finished_run(setting: Setting, run: RunFolder, folds: Path) -> None:
    """Write what training five folds and predicting the test tiles would have left."""
    tiles = setting.competition
    config = settle_channels(load_config(preset_path("quick")), coloured=False)
    compute = choose_compute("cpu", config.training.precision)
    table = make_folds(tiles.ids, tiles.masks, n_folds=N_FOLDS)
    write_folds(folds, table)
    write_text(run.config, dump_config(config))
    hashes = {"train_hash": tiles.train_hash, "folds_hash": file_hash(folds)}
    write_json(run.manifest, hashes)
    for fold in range(N_FOLDS):
        _, held_out = fold_rows(table, tiles.ids, fold)
        folder = run.fold(fold)
        summary = FoldSummary(
            fold=fold, score=0.0, tiles=len(held_out), epochs=1, seconds=1.0, parameters=1,
            weights_hash=f"fold{fold}",
        )  # fmt: skip
        _save(setting, folder.oof, [tiles.ids[row] for row in held_out], {})
        write_json(folder.summary, asdict(summary))
        manifest = manifest_of_test(config, folder, tiles.test_hash, compute)
        _save(setting, folder.test, tiles.test_ids, manifest)


def _save(setting: Setting, stem: Path, ids: Sequence[str], manifest: dict[str, object]) -> None:
    rows = np.arange(len(ids)) % len(setting.probabilities)
    predictions.save(stem, Predictions(tuple(ids), setting.probabilities[rows], manifest))
