"""How far a probability can be believed: of the pixels said to be 70 % salt, are 70 % salt?

The score asks only which pixels pass a threshold. But blends, pseudo-labels and whoever reads a
probability take it at its word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kaggle_salt.competition.decision import LEVELS
from kaggle_salt.ensembling.histograms import TileHistograms
from kaggle_salt.errors import DataError

#: Bins of equal width from probability 0 to 1.
BINS = 15


@dataclass(frozen=True, eq=False)
class Calibration:
    """Stated and observed shares of salt, over pixels.

    Args:
        table: A row for each bin that holds a pixel: ``probability``, the mean stated, and
            ``salt``, the share observed (both 0 to 1), and ``pixels``.
        error: Expected calibration error, 0 to 1: the mean distance of the two over all pixels.
    """

    table: pd.DataFrame
    error: float


def calibration(histograms: TileHistograms, bins: int = BINS) -> Calibration:
    """Compare the probabilities of pixels with how many of them are salt.

    Args:
        histograms: The tiles, out of fold.
        bins: Number of bins of equal width; a bin holds its lower end, the last its upper end too.

    Raises:
        DataError: There is no tile.

    Source: Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI
    2015, for the error.
    """
    if not len(histograms):
        raise DataError("there are no tiles to calibrate on", expected="at least one")
    levels = np.arange(LEVELS)
    bin_of_level = np.minimum(levels * bins // (LEVELS - 1), bins - 1)
    salt_of_level = histograms.inside.sum(axis=0, dtype=np.int64)
    pixels_of_level = salt_of_level + histograms.outside.sum(axis=0, dtype=np.int64)
    pixels = np.bincount(bin_of_level, weights=pixels_of_level)
    stated = np.bincount(bin_of_level, weights=pixels_of_level * levels / (LEVELS - 1))
    salt = np.bincount(bin_of_level, weights=salt_of_level)
    there = pixels > 0
    table = pd.DataFrame(
        {
            "probability": stated[there] / pixels[there],
            "salt": salt[there] / pixels[there],
            "pixels": pixels[there].astype(np.int64),
        }
    )
    return Calibration(table, float(np.abs(stated - salt).sum() / pixels.sum()))
