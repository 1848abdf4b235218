"""Three averages of stored probabilities, all in whole numbers.

Each states what a stored value is worth, and which level an average worth comes back to:

- ``mean``: of the probabilities.
- ``logits``: of the logits, which gives the last word to members that are sure. The values 0
  and 255 count as half a level from the end.
- ``vote``: the share of the members that say salt at threshold .5, whatever their certainty.

Sums of integers do not depend on the order of the members. For every average a blend of equal
members is their own answer.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.decision import DEFAULT_LEVEL, LEVELS
from kaggle_salt.errors import ConfigError, nearest

AVERAGES = ("mean", "logits", "vote")

#: A logit is stored in whole parts of this: the level it comes back to is good to a sixtieth.
_LOGIT_STEPS = 2**12


def require_average(how: str) -> None:
    """Refuse the name of an average that does not exist.

    Raises:
        ConfigError: With the nearest name.
    """
    if how not in AVERAGES:
        raise ConfigError(
            f"unknown average '{how}'", expected=nearest(how, AVERAGES), next_step="--how mean"
        )


def worth(values: NDArray[np.uint8], how: str) -> NDArray[Any]:
    """What stored values are worth in the average.

    Args:
        values: uint8 of any shape, probability = value / 255.
        how: One of :data:`AVERAGES`.

    Returns:
        Numbers from 0 on, of the same shape: uint8, bool for ``vote``, uint32 for ``logits``.
    """
    if how == "mean":
        return values
    if how == "vote":
        return values > DEFAULT_LEVEL
    return _worth_of_values()[values]


def sum_type(how: str) -> type[np.unsignedinteger]:
    """Type of a sum of worth times weight that :func:`to_levels` can take.

    32 bits, which are faster, do for weights of 2**20 in sum; logits need 64 for that.
    """
    return np.uint64 if how == "logits" else np.uint32


def to_levels(
    total: NDArray[np.unsignedinteger], units: int, how: str
) -> NDArray[np.unsignedinteger]:
    """The stored value that an average worth comes back to, halves upwards.

    Only for ``vote`` halves go downwards: a tie, half of the votes, is level 127, which is not
    salt at threshold .5.

    Args:
        total: uint32 or uint64 of any shape, sum of worth times weight; it is taken 510 times.
        units: Sum of the weights, whole numbers.
        how: One of :data:`AVERAGES`.

    Returns:
        Integers from 0 to 255, of the same shape.
    """
    if how == "vote":
        return (2 * (LEVELS - 1) * total + (units - 1)) // (2 * units)
    average = (2 * total + units) // (2 * units)
    return average if how == "mean" else _levels_of_worth()[average]


@functools.cache
def _worth_of_values() -> NDArray[np.uint32]:
    """Logit of each stored value, in steps above the lowest one; uint32 ``[256]``."""
    levels = np.clip(np.arange(LEVELS), 0.5, LEVELS - 1.5)
    logits = np.log(levels / (LEVELS - 1 - levels))
    steps = np.rint(logits * _LOGIT_STEPS).astype(np.int64)
    above_lowest: NDArray[np.uint32] = (steps - steps[0]).astype(np.uint32)
    return above_lowest


@functools.cache
def _levels_of_worth() -> NDArray[np.uint8]:
    """Level nearest to each logit, by steps above the lowest one; uint8 ``[2 * highest + 1]``."""
    highest = int(_worth_of_values()[-1]) // 2
    logits = np.arange(-highest, highest + 1) / _LOGIT_STEPS
    levels = np.floor((LEVELS - 1) / (1 + np.exp(-logits)) + 0.5).astype(np.uint8)
    levels[[0, -1]] = 0, LEVELS - 1  # where all are certain; half a level is for sums only
    return levels
