"""A command as a person calls it, in a process of its own."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.alone import run_measured
from benchmarks.harness import Measurement, Setting, item
from kaggle_salt import predictions
from kaggle_salt.competition.fold_files import write_folds
from kaggle_salt.competition.folds import fold_rows, make_folds
from kaggle_salt.config.file import dump_config, load_config
from kaggle_salt.learning.channels import settle_channels
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.learning.fold import FoldSummary
from kaggle_salt.learning.on_test import manifest_of_test
from kaggle_salt.predictions import Predictions
from kaggle_salt.presets import preset_path
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage.files import file_hash

N_FOLDS = 5


@item("ensemble-memory", "GB", 1.5)
def ensemble_memory(setting: Setting) -> Measurement:
    """Peak memory of ``salt ensemble`` with 5 folds of 18,400 test tiles.

    The folds' test predictions are there already: what a network needs for a batch of 64
    tiles is not counted, all that the command loads is.
    """
    folder = setting.folder / "ensemble"
    _write_finished_run(setting, RunFolder(folder / "runs" / "bench"), folder / "folds.csv")
    command = [
        sys.executable, "-m", "kaggle_salt", "ensemble", "--data", setting.competition_folder,
        "--runs", folder / "runs", "--folds", folder / "folds.csv", "--device", "cpu",
    ]  # fmt: skip
    return Measurement(run_measured([str(word) for word in command]).peak_memory / 1e9)


def _write_finished_run(setting: Setting, run: RunFolder, folds: Path) -> None:
    """Write what training five folds and predicting the test tiles would have left."""
    tiles = setting.competition
    config = settle_channels(load_config(preset_path("quick")), coloured=False)
    table = make_folds(tiles.ids, tiles.masks, n_folds=N_FOLDS)
    write_folds(folds, table)
    run.config.parent.mkdir(parents=True)
    run.config.write_text(dump_config(config), encoding="utf-8")
    _write_json(run.manifest, {"train_hash": tiles.train_hash, "folds_hash": file_hash(folds)})
    in_fold, test = setting.predicted("train"), setting.predicted("test")
    for fold in range(N_FOLDS):
        folder = run.fold(fold)
        folder.path.mkdir()
        _, rows = fold_rows(table, tiles.ids, fold)
        ids = tuple(tiles.ids[row] for row in rows)
        predictions.save(folder.oof, Predictions(ids, in_fold.probabilities[rows]))
        summary = FoldSummary(
            fold=fold, score=0.0, tiles=len(rows), epochs=1, seconds=1.0, parameters=1,
            weights_hash=f"fold{fold}",
        )  # fmt: skip
        _write_json(folder.summary, asdict(summary))
        compute = choose_compute("cpu", config.training.precision)
        manifest = manifest_of_test(config, folder, tiles.test_hash, compute)
        predictions.save(folder.test, Predictions(test.ids, test.probabilities, manifest))


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
