"""A finished run, ready to predict: its networks, the tiles they know, and what was decided.

A run lies in the workspace, with its decision in the ensemble made of it alone. A network that
``salt ship`` packed is such a run too, of one fold and with its decision beside it; the package
itself carries one under the name ``shipped``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt import predictions
from kaggle_salt.competition.decision import PLAIN_RULE, Rule, nearest_level
from kaggle_salt.config.file import load_run_config
from kaggle_salt.config.schema import Config
from kaggle_salt.ensembling.blending import blend
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.learning.fold import final_framing, load_networks
from kaggle_salt.learning.inference import predict
from kaggle_salt.pipeline.blending.ensemble_document import (
    DOCUMENT,
    chosen_rule,
    without_neighbours,
)
from kaggle_salt.pipeline.blending.members import trained_folds
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.runs import RunFolder, open_run
from kaggle_salt.storage.files import read_json

#: The network that this version carries, and what it is called on the command line.
SHIPPED = Path(__file__).parents[2] / "shipped"
SHIPPED_NAME = "shipped"

#: From tiles, uint8 ``[N, h, w]`` or ``[N, h, w, 3]``, to probabilities, uint8 ``[N, h, w]``.
TilePredictor = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


@dataclass(frozen=True)
class FinishedRun:
    """A run with trained folds.

    Args:
        run: Its folder.
        folds: Its finished folds.
        config: Its configuration.
        tile_shape: (height, width) of the tiles it was trained on, in pixels.
        made: What ``ensemble.json`` says of the run alone; None where there is none.
        document: Where that lies.
    """

    run: RunFolder
    folds: tuple[int, ...]
    config: Config
    tile_shape: tuple[int, int]
    made: Mapping[str, Any] | None
    document: Path

    @property
    def how(self) -> str:
        """How the folds are averaged, one of :data:`kaggle_salt.ensembling.blending.AVERAGES`."""
        return str(self.made.get("how", "mean")) if self.made else "mean"


def ready_run(
    workspace: Workspace,
    *,
    run: str | None = None,
    model: str | None = None,
    listener: Listener,
) -> FinishedRun:
    """Find the run that is meant.

    Args:
        workspace: Where runs lie.
        run: Name of a run.
        model: ``shipped``, or a folder that ``salt ship`` wrote. With neither, it is the run
            trained last, and where no run is trained, the network that this version carries.
        listener: Told which one is taken for want of a name.

    Raises:
        ConfigError: Both are named, there is no such run or model, or it has no trained fold.
    """
    if run is not None and model is not None:
        raise ConfigError(
            f"the run {run} and the model {model}",
            expected="one of the two",
            next_step="leave out --run, or --model",
        )
    if model is not None:
        return _open(_open_model(model))
    if run is not None:
        return _open(open_run(workspace.runs, run))
    if trained := workspace.trained_runs():
        if len(trained) > 1:
            listener.note(f"taking run {trained[-1]}, trained last")
        return _open(open_run(workspace.runs, trained[-1]))
    if not RunFolder(SHIPPED).config.exists():
        raise ConfigError(
            f"no run in {workspace.runs} has a trained fold, and this version carries no network",
            expected="a trained run",
            next_step="salt train --fold 0",
        )
    listener.note(
        f"no run in {workspace.runs} has a trained fold: taking the network that this version "
        f"carries (--model {SHIPPED_NAME})"
    )
    return _open(RunFolder(SHIPPED))


def _open_model(model: str) -> RunFolder:
    folder = RunFolder(SHIPPED if model == SHIPPED_NAME else Path(model))
    if folder.config.exists() and folder.manifest.exists():
        return folder
    if model == SHIPPED_NAME:
        raise ConfigError(
            "this version carries no network",
            expected="a trained run, or a folder that salt ship wrote",
            next_step="salt train --fold 0",
        )
    raise ConfigError(
        f"there is no network in {model}",
        expected=f"{SHIPPED_NAME}, or a folder that salt ship wrote",
        next_step=f"--model {SHIPPED_NAME}, or --model FOLDER",
    )


def _open(run: RunFolder) -> FinishedRun:
    folds = trained_folds(run)
    shape = tile_shape_of(run, folds[0])
    return FinishedRun(run, folds, load_run_config(run.config), shape, *_decision(run))


def _decision(run: RunFolder) -> tuple[dict[str, Any] | None, Path]:
    """What was decided for a run alone: with it, or in the ensemble of its name; and where."""
    own = run.path / DOCUMENT
    if own.exists():
        return read_json(own), own
    document = run.path.parent / "ensemble" / run.name / own.name
    made = read_json(document) if document.exists() else {}
    alone = [member["run"] for member in made.get("members", ())] == [run.name]
    return made if alone else None, document


def tile_shape_of(run: RunFolder, fold: int) -> tuple[int, int]:
    """(height, width) of the tiles that a run was trained on, in pixels."""
    told = read_json(run.manifest).get("tile_shape")  # what is shipped has no out-of-fold tiles
    if told is None:
        told = predictions.load(run.fold(fold).oof).probabilities.shape[1:]
    height, width = told
    return int(height), int(width)


def deciding_rule(finished: FinishedRun, threshold: float | None) -> tuple[Rule, str]:
    """What becomes of a run's probabilities, and where that comes from, in words.

    Args:
        finished: The run.
        threshold: In place of the one chosen out of fold, in [0, 1].
    """
    if finished.made is not None:
        rule = chosen_rule(finished.document.parent, finished.made, threshold)
        rule = without_neighbours(rule)
        chosen = f"chosen out of fold ({finished.document})"
    else:
        level = PLAIN_RULE.level if threshold is None else nearest_level(threshold)
        rule = Rule(level)
        chosen = f".5, for nothing was decided: salt ensemble {finished.run.name} would"
    return rule, chosen if threshold is None else "given"


def refuse_other_tiles(finished: FinishedRun, tile_shape: tuple[int, int]) -> None:
    """Refuse tiles of another size than those the run was trained on.

    Raises:
        DataError: The sizes differ.
    """
    if finished.tile_shape != tile_shape:
        own, others = ("{}x{}".format(*shape) for shape in (finished.tile_shape, tile_shape))
        raise DataError(
            f"{finished.run.name} was trained on tiles of {own} pixels, these have {others}",
            expected="tiles of the same size",
            next_step="train a network on these tiles",
        )


def tile_predictor(finished: FinishedRun, device: str) -> TilePredictor:
    """Load the networks of a run, and give what averages their predictions.

    It says of tiles what ``salt ensemble`` stores for them: each fold's probabilities as they are
    stored, and of those the average that its ensemble takes, all folds alike.

    Args:
        finished: The run.
        device: Where the networks compute; see
            :func:`kaggle_salt.learning.device.choose_compute`.

    Raises:
        TrainingError: The weights are not those that a fold wrote.
        ConfigError: The device is not available, or the weights do not fit the configuration.
    """
    config, training = finished.config, finished.config.training
    compute = choose_compute(device, training.precision, training.channels_last)
    framing = final_framing(config, finished.tile_shape)
    folds = [load_networks(config, finished.run.fold(k), compute) for k in finished.folds]

    def levels(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        ids = tuple(map(str, range(len(tiles))))
        parts = []
        for networks in folds:
            out = np.empty(tiles.shape[:3], dtype=np.uint8)
            predict(networks, tiles, out, framing=framing, compute=compute, config=config.inference)
            parts.append(predictions.Predictions(ids, out))
        return blend(parts, how=finished.how).probabilities

    return levels


def followed(predict: TilePredictor, total: int, listener: Listener) -> TilePredictor:
    """The same, telling of its progress: of so many tiles in all, how many are predicted."""
    progress = listener.progress("predicting")
    done = 0

    def levels(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
        nonlocal done
        predicted = predict(tiles)
        done += len(tiles)
        progress(done, total)
        return predicted

    return levels
