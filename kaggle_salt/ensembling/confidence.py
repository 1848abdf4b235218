"""Which test tiles a network may learn from: those that its teachers are sure of.

A tile is sure when nearly all its pixels are. Most sure tiles are empty ones, so those taken are
balanced over the coverage that was predicted: by the strata of the training tiles, each of which
gives its share, or by six splits that were chosen by hand (:data:`FIRST_PLACE`).

Source: 1st place of the competition (Babakhin et al. 2019, arXiv 1904.04445). The six splits are
its second author's (ybabakhin/kaggle_salt_bes_phalanx, ``phalanx/make_pseudo.py``).
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
from kaggle_salt.pseudo_labels import DECIMALS
from kaggle_salt.pseudo_origin import Confidence

#: Pixels looked at in one go.
_CHUNK_PIXELS = 2**21

#: Pixels of the tiles that the 1st place's numbers are for.
_PIXELS = 101 * 101


@dataclass(frozen=True)
class Split:
    """Tiles of some coverage, and which of them are taken.

    Args:
        least: Lowest coverage, 0 to 1.
        below: Coverage that is too high.
        confidence: Least confidence.
        tiles: Number taken for a student.
        every: 2 leaves out every second tile.
    """

    least: float
    below: float
    confidence: float
    tiles: int
    every: int = 1


def _pixels(number: int) -> float:
    """A coverage that so many pixels exceed, and one fewer do not: both are rounded."""
    return (number - 0.5) / _PIXELS


#: No salt; 20 to 500 pixels of 101 x 101; up to 1/4, 1/2, 3/4 and below .9 of the tile. Slighter
#: and fuller masks are left out. The numbers are those for one of five students.
FIRST_PLACE = (
    Split(0.0, 10.0**-DECIMALS, 0.97, 600, every=2),
    Split(_pixels(20), _pixels(501), 0.99, 110),
    Split(_pixels(501), _pixels(2551), 0.97, 300),
    Split(_pixels(2551), _pixels(5101), 0.97, 240),
    Split(_pixels(5101), _pixels(7651), 0.97, 200),
    Split(_pixels(7651), 0.9, 0.97, 130),
)


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
    """Take confident tiles, balanced over predicted coverage.

    With ``training``, as the training tiles are over theirs. Strata are those of the fold table:
    tiles without salt, then bins of coverage that hold equal numbers of training tiles. Of N
    confident tiles (or ``limit``, if that is less) each stratum gives its share of N at most, the
    most confident first, ties by id; a stratum with fewer gives all it has. So empty tiles, which
    are easy, don't flood the selection.

    With ``1st-place``, the numbers of :data:`FIRST_PLACE`, or a share of each for a ``limit``
    below their sum; in the order of the ids, which say nothing of the tiles.

    Args:
        predicted: Probabilities of the test tiles; may be memory-mapped.
        blank: bool ``[N]``; tiles of one grey value, which are never taken.
        training: Rows of the fold table: the tiles that the student trains on.
        wanted: What counts as confident, and the balance.
    """
    tiles = _measure(predicted, wanted)[~blank]
    if wanted.balance == "1st-place":
        return _by_splits(tiles, wanted)
    return _like_training(tiles, training, wanted)


def _like_training(tiles: pd.DataFrame, training: pd.DataFrame, wanted: Confidence) -> Selection:
    """From each stratum of the training tiles its share of the confident tiles, surest first."""
    edges = _upper_edges(training)
    tiles["stratum"] = _strata(tiles["coverage"], edges)
    confident = tiles[tiles["confidence"] >= wanted.confidence]
    total = min(len(confident), wanted.limit or len(confident))
    training_tiles = np.bincount(_strata(training["coverage"], edges), minlength=len(edges))
    quotas = np.diff(np.cumsum(training_tiles) * total // len(training), prepend=0)
    surest_first = confident.sort_values(["confidence", "id"], ascending=[False, True])
    place = surest_first.groupby("stratum").cumcount()
    taken = surest_first[place < quotas[surest_first["stratum"]]]
    return _selection(tiles, confident, taken, edges.tolist())


def _by_splits(tiles: pd.DataFrame, wanted: Confidence) -> Selection:
    """From each split of the 1st place its number of confident tiles, by id."""
    numbers = np.cumsum([split.tiles for split in FIRST_PLACE])
    total = min(numbers[-1], wanted.limit or numbers[-1])
    quotas = np.diff(numbers * total // numbers[-1], prepend=0)
    tiles["stratum"] = -1  # in no split
    confident, taken = [], []
    for number, (split, quota) in enumerate(zip(FIRST_PLACE, quotas.tolist(), strict=True)):
        there = (tiles["coverage"] >= split.least) & (tiles["coverage"] < split.below)
        tiles.loc[there, "stratum"] = number
        sure = tiles["confidence"] >= max(split.confidence, wanted.confidence)
        confident.append(tiles[there & sure].sort_values("id"))
        taken.append(confident[-1].iloc[:: split.every].iloc[:quota])
    uppers = [0.0, *(round(split.below, 4) for split in FIRST_PLACE[1:])]
    return _selection(tiles, pd.concat(confident), pd.concat(taken), uppers)


def _selection(
    tiles: pd.DataFrame, confident: pd.DataFrame, taken: pd.DataFrame, uppers: list[float]
) -> Selection:
    """The tiles taken, by id, and the counts of each stratum."""
    taken = taken.sort_values("id")
    return Selection(
        taken[["row", "id", "confidence", "coverage"]].reset_index(drop=True),
        tuple(
            _counts(number, edge, *(part[part["stratum"] == number]
                                    for part in (tiles, confident, taken)))
            for number, edge in enumerate(uppers)
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
