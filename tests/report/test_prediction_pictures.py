from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kaggle_salt import predictions
from kaggle_salt.competition.fold_files import read_folds
from kaggle_salt.competition.folds import fold_rows
from kaggle_salt.competition.metric import image_scores
from kaggle_salt.competition.postprocess import TileContext
from kaggle_salt.config.file import load_run_config
from kaggle_salt.learning.batches import TrainingTiles
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.pipeline.blending.ensemble import ensemble
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.report import prediction_pictures
from kaggle_salt.report.grid import Tiles
from kaggle_salt.runs import RunFolder
from tests.tiny import decide_low

WORKSPACE = Workspace()  # the tests stand in its folder


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[Tiles], Path, dict[str, Any]]]:
    """What the pictures would show, and where."""
    kept: list[tuple[list[Tiles], Path, dict[str, Any]]] = []

    def draw(groups: list[Tiles], path: Path, **options: Any) -> None:
        kept.append((groups, path, options))

    monkeypatch.setattr(prediction_pictures, "prediction_grid", draw)
    return kept


def test_a_fold_shows_tiles_out_of_fold_beside_tiles_trained_on(
    trained: Path, drawn: list[tuple[list[Tiles], Path, dict[str, Any]]]
) -> None:
    folder = RunFolder(WORKSPACE.runs / "tiny").fold(0)
    config = load_run_config(folder.path.parent / "config.toml")
    competition = WORKSPACE.open(Listener())
    table = read_folds(WORKSPACE.folds, competition.ids, competition.masks)
    rows = fold_rows(table, competition.ids, 0)
    tiles = TrainingTiles(competition.images, competition.masks, *rows)
    compute = choose_compute("cpu", "float32", "auto")
    prediction_pictures.draw_fold(config, folder, tiles, competition.ids, compute)
    [((held, seen), path, options)] = drawn
    assert path == folder.path / "predictions.png"
    assert options["side_by_side"]
    folds = dict(zip(table["id"], table["fold"], strict=True))
    assert {folds[tile] for tile in held.ids} == {0}
    assert 0 not in {folds[tile] for tile in seen.ids}
    stored = predictions.load(folder.oof)
    assert np.array_equal(held.probabilities, stored.probabilities[stored.rows(held.ids)])
    whole = image_scores(competition.masks[rows[1]], stored.probabilities > 127).mean()
    assert held.title == f"out of fold: mean score {whole:.4f} of 14 tiles"
    assert seen.title.endswith("of 26 tiles")
    for group in (held, seen):
        expected = image_scores(group.truths, group.probabilities > 127)
        assert np.array_equal(group.scores, expected)


def test_the_sample_is_as_mixed_as_all_tiles() -> None:
    masks = np.zeros((400, 20, 20), dtype=bool)
    for row, mask in enumerate(masks):
        mask.flat[: row if row % 2 else 0] = True
    rows = np.arange(100, 400)
    sample = prediction_pictures._sample(masks, rows)
    assert len(set(sample.tolist())) == prediction_pictures.SAMPLE
    assert set(sample.tolist()) <= set(rows.tolist())
    assert np.count_nonzero(sample % 2) == prediction_pictures.SAMPLE // 2
    assert masks[sample].mean() == pytest.approx(masks[rows].mean(), rel=0.01)
    assert sorted(prediction_pictures._sample(masks, rows[:9]).tolist()) == rows[:9].tolist()


def test_an_ensemble_shows_its_worst_middling_and_best_tiles(
    trained: Path,
    drawn: list[tuple[list[Tiles], Path, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decide_low(monkeypatch, "blank-empty")
    report = ensemble(WORKSPACE, ["tiny"], device="cpu", post=["blank-empty"])
    [(groups, path, options)] = drawn
    assert path == report.folder / "predictions.png"
    assert options == {"rule": report.decision.rule, "neighbourhood": None}
    assert [group.title.split()[0] for group in groups] == ["worst", "middling", "best"]
    competition = WORKSPACE.open(Listener())
    for group in groups:
        rows = [competition.ids.index(tile) for tile in group.ids]
        assert np.array_equal(group.truths, competition.masks[rows])
        masks = report.decision.rule.apply(
            group.probabilities, TileContext(group.ids, group.images)
        )
        assert np.array_equal(group.scores, image_scores(group.truths, masks))
    worst, _, best = groups
    assert worst.scores.mean() < best.scores.mean()
