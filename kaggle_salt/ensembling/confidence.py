"""Which test tiles a network may learn from: those that its teachers are sure of.

Source: 1st place of the competition (Babakhin et al. 2019, arXiv 1904.04445), after which a tile
is sure when nearly all its pixels are. Most sure tiles are empty ones: its second author takes
fixed numbers from six splits by coverage (empty; from 20 px; from 500 px; from 1/4, 1/2, 3/4 to
9/10 of the tile) of confidence .97, .99 in the second. Here the strata, and each one's share, are
those of the training tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kaggle_salt.competition.decision import DEFAULT_LEVEL, LEVELS
from kaggle_salt.predictions import Predictions, blocks
from kaggle_salt.pseudo_labels import DECIMALS, Confidence

#: Pixels looked at in one go.
_CHUNK_PIXELS = 2**21


@dataclass(frozen=True)
class Selection:
    """Tiles that were taken, and how many there were in each stratum.

    Args:
        tiles: ``row`` in the predictions, ``id``, ``confidence`` (share of sure pixels) and
            ``coverage`` (predicted share of salt); sorted by id.
        strata: For each stratum ``stratum``, ``coverage_up_to``, ``tiles`` (not blank),
            ``confident``, ``taken``, and ``mean_confidence`` and ``mean_coverage`` of those
            taken (None without any).
    """

    tiles: pd.DataFrame
    strata: tuple[dict[str, Any], ...]


def select_tiles(
    predicted: Predictions,
    blank: NDArray[np.bool_],
    training: pd.DataFrame,
    wanted: Confidence,
) -> Selection:
    """Take confident tiles, spread over predicted coverage as the training tiles are over theirs.

    Strata are those of the fold table: tiles without salt, then bins of coverage that hold
    equal numbers of training tiles. Of N confident tiles (or ``limit``, if that is less) each
    stratum gives its share of N at most, the most confident first, ties by id; a stratum with
    fewer gives all it has. So empty tiles, which are easy, don't flood the selection.

    Args:
        predicted: Probabilities of the test tiles; may be memory-mapped.
        blank: bool ``[N]``; tiles of one grey value, which are never taken.
        training: Rows of the fold table: the tiles that the student trains on.
        wanted: What counts as confident.
    """
    edges = _upper_edges(training)
    tiles = _measure(predicted, wanted)[~blank]
    tiles["stratum"] = _strata(tiles["coverage"], edges)
    confident = tiles[tiles["confidence"] >= wanted.confidence]
    total = min(len(confident), wanted.limit or len(confident))
    training_tiles = np.bincount(_strata(training["coverage"], edges), minlength=len(edges))
    quotas = np.diff(np.cumsum(training_tiles) * total // len(training), prepend=0)
    surest_first = confident.sort_values(["confidence", "id"], ascending=[False, True])
    place = surest_first.groupby("stratum").cumcount()
    taken = surest_first[place < quotas[surest_first["stratum"]]].sort_values("id")
    return Selection(
        taken[["row", "id", "confidence", "coverage"]].reset_index(drop=True),
        tuple(
            _counts(number, edge, *(part[part["stratum"] == number]
                                    for part in (tiles, confident, taken)))
            for number, edge in enumerate(edges.tolist())
        ),
    )  # fmt: skip


def _measure(predicted: Predictions, wanted: Confidence) -> pd.DataFrame:
    """``row``, ``id``, ``confidence`` and ``coverage`` of every tile."""
    levels = np.arange(LEVELS) / (LEVELS - 1)
    is_sure = (levels < wanted.low) | (levels > wanted.high)
    probabilities = predicted.probabilities
    pixels = math.prod(probabilities.shape[1:])
    sure, salt = np.zeros(len(predicted)), np.zeros(len(predicted))
    for chunk in blocks(probabilities, pixels=_CHUNK_PIXELS):
        values = probabilities[chunk]
        sure[chunk] = np.count_nonzero(is_sure[values], axis=(1, 2)) / pixels
        salt[chunk] = np.count_nonzero(values > DEFAULT_LEVEL, axis=(1, 2)) / pixels
    return pd.DataFrame(
        {
            "row": np.arange(len(predicted)),
            "id": list(predicted.ids),
            "confidence": sure,
            "coverage": salt.round(DECIMALS),  # as exact as in the fold table
        }
    )


def _upper_edges(training: pd.DataFrame) -> NDArray[np.float64]:
    """Highest coverage of each stratum: 0 for the empty one, 1 for the last."""
    salt = training[training["coverage"] > 0]
    highest = salt.groupby("stratum")["coverage"].max().to_numpy(dtype=np.float64)
    return np.concatenate([[0.0], highest[:-1], [1.0]])


def _strata(coverage: pd.Series[float], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """The first stratum whose upper edge is not below the coverage."""
    return np.searchsorted(edges, coverage.to_numpy()).astype(np.int64)


def _counts(
    stratum: int, edge: float, tiles: pd.DataFrame, confident: pd.DataFrame, taken: pd.DataFrame
) -> dict[str, Any]:
    means = taken[["confidence", "coverage"]].mean().round(DECIMALS).tolist()
    confidence, coverage = means if len(taken) else (None, None)
    return {
        "stratum": stratum,
        "coverage_up_to": edge,
        "tiles": len(tiles),
        "confident": len(confident),
        "taken": len(taken),
        "mean_confidence": confidence,
        "mean_coverage": coverage,
    }
