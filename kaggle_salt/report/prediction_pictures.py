"""Pictures of what real runs predict: out of fold beside trained on; worst, middling and best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_salt import predictions
from kaggle_salt.competition.decision import PLAIN_RULE, Rule
from kaggle_salt.competition.metric import image_scores
from kaggle_salt.competition.neighbourhood import Neighbourhood
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config.schema import Config
from kaggle_salt.ensembling.histograms import TileHistograms
from kaggle_salt.ensembling.thresholds import tile_scores
from kaggle_salt.learning.batches import TrainingTiles
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.fold import predict_tiles
from kaggle_salt.predictions import Predictions
from kaggle_salt.report.grid import Tiles, pick_extremes, pick_tiles, prediction_grid
from kaggle_salt.runs import FoldFolder

#: Training tiles that a finished fold predicts, to be scored beside the out-of-fold ones.
SAMPLE = 64

#: Tiles shown of either, and of each sort in an ensemble's picture.
SHOWN, SHOWN_OF_SORT = 8, 6

#: Tiles, and the score of each.
Examples = Mapping[str, tuple[Predictions, NDArray[np.float64]]]


def draw_fold(
    config: Config, folder: FoldFolder, tiles: TrainingTiles, ids: Sequence[str], compute: Compute
) -> None:
    """Draw tiles out of fold beside tiles trained on: the difference is how far it overfits.

    Both are predicted alike and decided on at threshold .5. The tiles trained on are a sample of
    :data:`SAMPLE`, evenly over the ranking by coverage.

    Args:
        config: The run's configuration.
        folder: The finished fold.
        tiles: All tiles with masks, and the fold's rows.
        ids: Id of each row of ``tiles``.
        compute: Device and number format.
    """
    seen = _sample(tiles.masks, tiles.train_rows)
    groups = [
        _group("out of fold", tiles, ids, tiles.validation_rows,
               predictions.load(folder.oof).probabilities),
        _group("trained on", tiles, ids, seen,
               predict_tiles(config, folder, tiles.images[seen], compute)),
    ]  # fmt: skip
    prediction_grid(groups, folder.pictures, rule=PLAIN_RULE, columns=4, side_by_side=True)


def _sample(masks: NDArray[np.bool_], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Some of the rows, from no salt to the most: as mixed as all, and every time the same."""
    ranking = rows[np.argsort(masks[rows].sum(axis=(1, 2)), kind="stable")]
    count = min(SAMPLE, len(ranking))
    # the middle of each of so many equal parts of the ranking
    places = ((np.arange(count) + 0.5) * len(ranking) / count).astype(np.int64)
    return ranking[places]


def _group(
    name: str,
    tiles: TrainingTiles,
    ids: Sequence[str],
    rows: NDArray[np.int64],
    probabilities: NDArray[np.uint8],
) -> Tiles:
    truths = tiles.masks[rows]
    scores = image_scores(truths, PLAIN_RULE.apply(probabilities))
    shown = pick_tiles(scores, truths, SHOWN)
    return Tiles(
        ids=[ids[row] for row in rows[shown]],
        images=tiles.images[rows[shown]],
        truths=truths[shown],
        probabilities=probabilities[shown],
        scores=scores[shown],
        title=f"{name}: mean score {scores.mean():.4f} of {len(rows):,} tiles",
    )


def pick_examples(predicted: Predictions, counted: TileHistograms, rule: Rule) -> Examples:
    """The worst, the middling and the best tiles under a rule.

    Args:
        predicted: Out-of-fold predictions.
        counted: Their histograms, in the same order.
        rule: What turns them into masks.
    """
    scores = tile_scores(counted, rule)
    picked = pick_extremes(scores, counted.truth_area > 0, SHOWN_OF_SORT)
    examples = {}
    for name, rows in picked.items():
        ids = tuple(predicted.ids[row] for row in rows)
        examples[name] = (Predictions(ids, predicted.probabilities[rows]), scores[rows])
    return examples


def draw_examples(
    examples: Examples,
    competition: Competition,
    rule: Rule,
    path: Path,
    neighbourhood: Neighbourhood | None = None,
) -> None:
    """Draw the examples of an ensemble, a row for each sort.

    Args:
        examples: As from :func:`pick_examples`.
        competition: The training tiles.
        rule: What turns the predictions into masks.
        path: PNG to write.
        neighbourhood: What is known beside the tiles, where the rule looks at it.
    """
    row_of = {tile: row for row, tile in enumerate(competition.ids)}
    groups = []
    for name, (predicted, scores) in examples.items():
        rows = [row_of[tile] for tile in predicted.ids]
        images, truths = competition.images[rows], competition.masks[rows]
        title = f"{name} out of fold"
        groups.append(Tiles(predicted.ids, images, truths, predicted.probabilities, scores, title))
    prediction_grid(groups, path, rule=rule, neighbourhood=neighbourhood)
