"""The one rule from probabilities to masks: a threshold, then a minimum area.

A pixel is salt when ``value > level``, where ``value`` is the stored uint8 probability and
``level`` an integer from 0 to 255; a mask of fewer than ``min_area`` pixels then becomes empty.
People are shown the threshold ``level / 255``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.errors import ConfigError, DataError

#: Number of levels: probabilities are stored as uint8.
LEVELS = 256

#: The level of threshold .5: ``value > 127`` says the same as ``value / 255 > .5``.
DEFAULT_LEVEL = 127


def apply_decision(
    probabilities: NDArray[np.uint8], level: int = DEFAULT_LEVEL, min_area: int = 0
) -> NDArray[np.bool_]:
    """Turn probabilities into masks.

    Args:
        probabilities: uint8 ``[N, H, W]``; probability = value / 255.
        level: A pixel is salt when its value exceeds this, 0 to 255.
        min_area: Masks of fewer pixels become empty; 0 and 1 change nothing.

    Returns:
        bool ``[N, H, W]``.

    Raises:
        ConfigError: The level or the minimum area is out of range.
        DataError: The probabilities are not uint8 ``[N, H, W]``.
    """
    refuse_impossible_decision(level, min_area)
    if probabilities.dtype != np.uint8 or probabilities.ndim != 3:
        raise DataError(
            f"probabilities are {probabilities.dtype} {list(probabilities.shape)}",
            expected="uint8 [N, H, W]",
        )
    masks = probabilities > level
    if min_area > 1:
        masks[np.count_nonzero(masks, axis=(1, 2)) < min_area] = False
    return masks


def nearest_level(threshold: float) -> int:
    """Level of a threshold that a person gave, so that a printed threshold finds its level.

    Halfway between two levels it is the lower one: .5 is level 127.

    Args:
        threshold: Probability, 0 to 1.

    Raises:
        ConfigError: The threshold is not a number from 0 to 1.
    """
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold {threshold}", expected="a probability from 0 to 1")
    return math.ceil(threshold * (LEVELS - 1) - 0.5)


def refuse_impossible_decision(level: int, min_area: int) -> None:
    """Refuse a level that cannot be stored, or a negative area.

    Raises:
        ConfigError: With the range that is possible.
    """
    if not 0 <= level < LEVELS:
        raise ConfigError(f"level {level}", expected=f"an integer from 0 to {LEVELS - 1}")
    if min_area < 0:
        raise ConfigError(f"minimum area {min_area}", expected="a number of pixels, 0 or more")
