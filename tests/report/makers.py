"""Facts of a run that never was, for tests of its page."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.mask_types import edges_cut, mask_types
from kaggle_salt.ensembling.calibration import calibration
from kaggle_salt.ensembling.histograms import count_tiles
from kaggle_salt.ensembling.thresholds import best_decision, curve, tile_scores
from kaggle_salt.report.data_sheets import CLASS_NAMES, classes_of
from kaggle_salt.report.facts import (
    AreaMap,
    Breakdown,
    Facts,
    FoldFacts,
    Gallery,
    Judged,
    MemberFacts,
    Missing,
    Recipe,
    Scored,
)


def make_gallery(tiles: int = 30, shape: tuple[int, ...] = (12, 10), *, seed: int = 0) -> Gallery:
    """Tiles of noise; every third mask is empty, and every fifth prediction."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (tiles, *shape), dtype=np.uint8)
    height, width = shape[:2]
    truths = np.zeros((tiles, height, width), dtype=np.bool_)
    probabilities = np.zeros((tiles, height, width), dtype=np.uint8)
    for tile in range(tiles):
        if tile % 3:
            truths[tile, rng.integers(height) :, rng.integers(width) :] = True
        if tile % 5:
            probabilities[tile, rng.integers(height) :] = rng.integers(100, 256)
    coverage = truths.mean(axis=(1, 2))
    masks = probabilities > 127
    table = pd.DataFrame(
        {
            "id": [f"tile{tile:04d}" for tile in range(tiles)],
            "fold": np.arange(tiles) % 3,
            "score": tile_scores(count_tiles(truths, probabilities)),
            "coverage": coverage,
            "depth": [np.nan, *np.linspace(50, 900, tiles - 1)],
            "coverage_class": np.array(CLASS_NAMES)[classes_of(coverage)],
            "type": mask_types(truths),
            "edges": edges_cut(truths),
            "truth": truths.sum(axis=(1, 2)),
            "predicted": masks.sum(axis=(1, 2)),
            "hit": (truths & masks).sum(axis=(1, 2)),
            "borderline": np.arange(tiles) % 7 == 0,
        }
    )
    return Gallery(images, truths, probabilities, masks, table)


def make_history(epochs: int = 4) -> pd.DataFrame:
    numbers = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {
            "stage": ["bce"] * (epochs - 1) + ["swa"], "epoch": numbers,
            "lr": 0.01 / numbers, "train_loss": 1 / numbers, "val_loss": 1.2 / numbers,
            "score": 1 - 1 / (1 + numbers), "seconds": 2.0,
        }
    )  # fmt: skip


def make_facts(gallery: Gallery | None = None, *, name: str = "tiny") -> Facts:
    """A run with one fold finished and one half done; without a gallery none is finished."""
    folds = [FoldFacts(name, 1, "half done", 3, 4, 6.0, make_history(3))]
    judged = None
    if gallery is not None:
        folds.insert(0, FoldFacts(name, 0, "finished", 4, 4, 8.0, make_history(), 0.5, 1234))
        judged = _judged(gallery)
    return Facts(
        name=name, kind="run", about=["compact", "<b>32x32</b>"],
        missing=[Missing("Fold 1 is half done.", f"salt train --run {name} --fold 1 --resume")],
        caveats=["run tiny was steered"], folds=folds, judged=judged,
        members=[MemberFacts(name, 1.0, 0.5, 0.01)],
        recipes=[Recipe(name, "a = 1", [{"stage": "bce", "epochs": 4}], {"seed": "0"}, {"x": "1"})],
    )  # fmt: skip


def _judged(gallery: Gallery) -> Judged:
    counted = count_tiles(gallery.truths, gallery.probabilities)
    decision = best_decision(counted)
    areas = sorted({0, 5, decision.rule.min_area})
    rows = [Scored("tiny, fold 0", len(counted), decision.score, decision.interval, 0.5)]
    return Judged(
        score=0.4321, interval=(0.4, 0.5), tiles=len(counted), chosen="the decision",
        decision=decision, parts={0: Rule(100, 3)}, rows=rows,
        breakdowns=[Breakdown("coverage", "How much.", [Scored("no salt", 3, 1.0, (1.0, 1.0))])],
        curve=curve(counted),
        areas=AreaMap(areas, np.array([curve(counted)["score"]] * len(areas))),
        calibration=calibration(counted), gallery=gallery,
    )  # fmt: skip
