"""``salt demo``: a synthetic competition, and the four commands run on it."""

from __future__ import annotations

import math
import shlex
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_salt import predictions
from kaggle_salt.competition.metric import image_scores
from kaggle_salt.competition.pixels import read_pixels, to_mask
from kaggle_salt.competition.postprocess import TileContext
from kaggle_salt.config.file import load_config
from kaggle_salt.config.schema import Config
from kaggle_salt.ensembling.bootstrap import bootstrap_interval
from kaggle_salt.pipeline.blending.ensemble import EnsembleReport, ensemble
from kaggle_salt.pipeline.preparing.prepare import make_fold_table
from kaggle_salt.pipeline.submitting.submit import submit
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.presets import preset_path
from kaggle_salt.report.grid import Tiles, pick_tiles, prediction_grid
from kaggle_salt.runs import RunFolder
from kaggle_salt.synthetic.kaggle_files import HIDDEN_TEST_MASKS, write_demo_competition

#: The quick preset, cut to what a synthetic competition of a few hundred tiles needs.
DEMO_OVERRIDES = (
    "training.batch_size=16",
    "stage.bce.epochs=40",
    "stage.lovasz.epochs=20",
    "stage.swa.epochs=3",
)


@dataclass(frozen=True)
class DemoReport:
    """How the demo went.

    Args:
        picture: Grid of tiles, truths and predictions.
        test_tiles: Number of test tiles.
        test_score: Score of the submission on the test masks that were held back.
        test_interval: 95 % bootstrap interval of it over the test tiles.
        nothing_score: Score of predicting no salt anywhere.
        promised: Out-of-fold score that ``salt ensemble`` told to quote.
        promised_interval: Its 95 % interval, over other tiles.
    """

    picture: Path
    test_tiles: int
    test_score: float
    test_interval: tuple[float, float]
    nothing_score: float
    promised: float
    promised_interval: tuple[float, float]

    @property
    def chance(self) -> float:
        """What two such scores of equal networks differ by at most, in 95 of 100 demos.

        They are means over different tiles, so the squares of their intervals' halves add up.
        """
        halves = [(high - low) / 2 for low, high in (self.test_interval, self.promised_interval)]
        return math.hypot(*halves)


def run_demo(
    folder: Path,
    *,
    n_train: int = 400,
    n_test: int = 200,
    overrides: tuple[str, ...] = DEMO_OVERRIDES,
    device: str = "auto",
    listener: Listener | None = None,
) -> DemoReport:
    """Write a competition into ``folder/data``, then make folds, train two, ensemble, submit.

    What is there already is taken: a second call only goes on with what is missing.

    Args:
        folder: Laid out like a project: data, folds, runs, submissions.
        n_train: Training tiles to draw.
        n_test: Test tiles to draw.
        overrides: Changes to the quick preset.
        device: Where to compute.
        listener: Told how the work goes.
    """
    listener = listener or Listener()
    workspace = Workspace.under(folder)
    if not (workspace.data / "train.csv").exists():
        write_demo_competition(
            workspace.data, n_train=n_train, n_test=n_test,
            progress=listener.progress("drawing tiles"),
        )  # fmt: skip
    listener.note(f"$ cd {shlex.quote(str(folder))}")
    listener.note("$ salt make-folds --n-folds 4")
    make_fold_table(workspace, n_folds=4, listener=listener)
    listener.note("$ salt train --preset quick --fold 0,1")
    config: Config = load_config(preset_path("quick"), overrides)
    run = RunFolder(workspace.runs / "quick")
    train(workspace, run, config, folds="0,1", device=device, resume=True, listener=listener)
    listener.note("$ salt ensemble")
    report = ensemble(workspace, ["quick"], device=device, listener=listener)
    listener.note("$ salt submit")
    submit(workspace, overwrite=True, listener=listener)

    return _judge(workspace, folder / "predictions.png", report, listener)


def _judge(
    workspace: Workspace, picture: Path, report: EnsembleReport, listener: Listener
) -> DemoReport:
    """Score the submission on the masks that were held back, and draw some of its tiles."""
    test = predictions.load(report.folder / "test")
    truth = _hidden_masks(workspace.data / HIDDEN_TEST_MASKS, test.ids)
    competition = workspace.open(listener)
    rule, tiles = report.decision.rule, competition.test_images
    masks = rule.apply(test.probabilities, TileContext(competition.test_ids, tiles))
    scores = image_scores(truth, masks)
    shown = pick_tiles(scores, truth, 18)
    ids = [test.ids[row] for row in shown]
    drawn = Tiles(ids, tiles[shown], truth[shown], test.probabilities[shown], scores[shown])
    prediction_grid([drawn], picture, rule=rule)
    return DemoReport(
        picture=picture,
        test_tiles=len(test),
        test_score=float(scores.mean()),
        test_interval=bootstrap_interval(scores),
        nothing_score=float(image_scores(truth, np.zeros_like(truth)).mean()),
        promised=report.honest.score,
        promised_interval=report.honest.interval,
    )


def _hidden_masks(path: Path, ids: tuple[str, ...]) -> NDArray[np.bool_]:
    with zipfile.ZipFile(path) as archive:
        names = [f"masks/{tile}.png" for tile in ids]
        masks = [to_mask(read_pixels(archive.read(name), name)[0], name) for name in names]
    return np.stack(masks)
