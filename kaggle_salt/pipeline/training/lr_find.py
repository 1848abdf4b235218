"""``salt lr-find``: which learning rate a stage should have, before it is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from kaggle_salt.competition.fold_files import read_folds
from kaggle_salt.competition.folds import fold_rows
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config.schema import Config
from kaggle_salt.config.stage import StageConfig
from kaggle_salt.errors import ConfigError, nearest
from kaggle_salt.learning.batches import TrainingTiles
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.learning.fold import check_trainable
from kaggle_salt.learning.rate_sweep import Suggestion, suggest, sweep_stage
from kaggle_salt.pipeline.choose import parse_folds
from kaggle_salt.pipeline.training.claims import refuse_pretext
from kaggle_salt.pipeline.training.training_data import settle_for
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.report.curves import rate_curve
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage.files import write_text


@dataclass(frozen=True)
class Sweep:
    """Which rates to try.

    Args:
        lowest: Learning rate of the first step.
        highest: Learning rate of the last step.
        steps: Number of steps; the rates between are spaced evenly in their logarithm.

    Raises:
        ConfigError: The rates do not rise from above 0, or there are fewer than 10 steps.
    """

    lowest: float = 1e-6
    highest: float = 1.0
    steps: int = 100

    def __post_init__(self) -> None:
        if not (0 < self.lowest < self.highest < np.inf and self.steps >= 10):
            raise ConfigError(
                f"no sweep from {self.lowest:g} to {self.highest:g} in {self.steps} steps",
                expected="rates above 0, the second above the first, and 10 steps at least",
                next_step="--min 1e-6 --max 1 --steps 100",
            )

    @property
    def rates(self) -> list[float]:
        return [float(rate) for rate in np.geomspace(self.lowest, self.highest, self.steps)]


@dataclass(frozen=True)
class LrReport:
    """What a sweep found.

    Args:
        stage: Name of the stage.
        configured: The learning rate that it has now.
        suggestion: Those it might have.
        steps: Steps taken; fewer than asked for where the training diverged.
        csv: Rate, loss and smoothed loss of every step.
        picture: The same, drawn.
    """

    stage: str
    configured: float
    suggestion: Suggestion
    steps: int
    csv: Path
    picture: Path


def find_learning_rate(
    workspace: Workspace,
    run: RunFolder,
    config: Config,
    *,
    stage: str | None = None,
    fold: int = 0,
    sweep: Sweep | None = None,
    device: str = "auto",
    listener: Listener | None = None,
) -> LrReport:
    """Sweep the learning rate of a stage; leaves ``lr-find.csv`` and ``.png`` in the run's folder.

    Nothing else there is touched, and a folder that holds only these is no run yet. The network
    starts from ``model.weights``, and the tiles are those with masks, whatever the stage.

    Args:
        workspace: Where data, fold table and runs lie.
        run: The run's folder, which need not exist.
        config: The run's configuration.
        stage: Name of the stage; the first if None.
        fold: Number of the fold whose training tiles are used.
        sweep: Which rates to try.
        device: See :func:`kaggle_salt.learning.device.choose_compute`.
        listener: Told how the work goes.

    Raises:
        SaltError: Something asked for cannot be done, or the loss falls nowhere.
    """
    listener, sweep = listener or Listener(), sweep or Sweep()
    refuse_pretext(config)
    chosen = _choose_stage(config, stage)
    competition = workspace.open(listener)
    config = settle_for(competition, config, listener)
    tiles = _tiles(workspace, competition, fold)
    compute = choose_compute(device, config.training.precision, config.training.channels_last)
    check_trainable(config, tiles.tile_shape, pretrained=True)
    where = f"run {run.name}, fold {fold}, stage {chosen.name}"
    listener.note(f"{where}: {sweep.steps} steps, the rate rising to {sweep.highest:g}, {compute}")
    curve = sweep_stage(config, chosen, tiles, fold, sweep.rates, compute, listener)
    csv, picture = run.path / "lr-find.csv", run.path / "lr-find.png"
    write_text(csv, curve.to_csv(index=False, float_format="%.6g"))
    found = suggest(curve)
    rate_curve(curve, picture, **asdict(found), title=f"{where}: learning-rate sweep")
    return LrReport(chosen.name, chosen.optimizer.lr, found, len(curve), csv, picture)


def _tiles(workspace: Workspace, competition: Competition, fold: int) -> TrainingTiles:
    table = read_folds(workspace.folds, competition.ids, competition.masks)
    parse_folds(str(fold), sorted(set(table["fold"].tolist())))
    rows = fold_rows(table, competition.ids, fold)
    return TrainingTiles(competition.images, competition.masks, *rows)


def _choose_stage(config: Config, name: str | None) -> StageConfig:
    stages = {stage.name: stage for stage in config.stage}
    if name is None:
        return config.stage[0]
    if name not in stages:
        raise ConfigError(
            f"there is no stage '{name}'",
            expected=nearest(name, stages),
            next_step="--stage NAME, or leave it out for the first",
        )
    return stages[name]
