"""The figure that counts: how long a training takes to score so much."""

from __future__ import annotations

import shutil

import pandas as pd

from benchmarks.harness import Measurement, Setting, item
from kaggle_salt.competition.fold_files import write_folds
from kaggle_salt.competition.folds import make_folds
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config.file import load_config
from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.presets import preset_path
from kaggle_salt.runs import RunFolder

#: Out of fold, of the epoch's own weights, without TTA.
SCORES = (0.75, 0.80)


@item("time-to-score", "min", needs_data=True)
def time_to_score(setting: Setting) -> Measurement:
    """Training of the preset on fold 0 of real tiles until it scores .80 out of fold.

    The minutes until .75 stand before it in the JSON's details.
    Validation after each epoch is counted, starting and decoding are not.
    """
    if setting.data is None:
        raise ConfigError(
            "time-to-score has no tiles to learn from",
            expected="the competition's files: synthetic tiles are learned in no time",
            next_step="scripts/bench --only time-to-score --data FOLDER",
        )
    folder = setting.folder / "time-to-score"
    shutil.rmtree(folder, ignore_errors=True)
    workspace = Workspace(setting.data, folder / "runs", folder / "folds.csv")
    tiles = Competition.open(setting.data)
    write_folds(workspace.folds, make_folds(tiles.ids, tiles.masks))
    run = RunFolder(workspace.runs / "bench")
    config = load_config(preset_path(setting.preset), ["model.weights=none"])
    train(workspace, run, config, device=setting.device)
    minutes = minutes_to(SCORES, pd.read_csv(run.fold(0).history))
    return Measurement(minutes[-1], details=minutes)


def minutes_to(scores: tuple[float, ...], history: pd.DataFrame) -> list[float]:
    """Minutes after which each score was first reached.

    Args:
        scores: In [0, 1].
        history: Of a fold: a row per epoch with its ``score`` and ``seconds``.

    Raises:
        ConfigError: The training ended below one of them.
    """
    clock = history["seconds"].cumsum() / 60
    reached = [clock[history["score"] >= score] for score in scores]
    for score, when in zip(scores, reached, strict=True):
        if when.empty:
            raise ConfigError(
                f"the training ended at {history['score'].max():.4f} and never scored {score}",
                expected="a preset that is long enough",
                next_step="--preset night, or another",
            )
    return [float(when.iloc[0]) for when in reached]
