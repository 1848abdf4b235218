"""The one rule from probabilities to masks: a threshold, a minimum area, then named steps.

A pixel is salt when ``value > level``, where ``value`` is the stored uint8 probability and
``level`` an integer from 0 to 255; a mask of fewer than ``min_area`` pixels then becomes empty;
then the steps of :mod:`kaggle_salt.competition.postprocess` follow in their order. The three are
searched, stored, applied and printed as one value. People are shown the threshold ``level / 255``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.postprocess import STEPS, TileContext, require_steps
from kaggle_salt.errors import ConfigError, DataError, shortened

#: Number of levels: probabilities are stored as uint8.
LEVELS = 256

#: The level of threshold .5: ``value > 127`` says the same as ``value / 255 > .5``.
DEFAULT_LEVEL = 127


@dataclass(frozen=True)
class Rule:
    """How probabilities become masks.

    Args:
        level: A pixel is salt when its stored value exceeds this, 0 to 255.
        min_area: Masks of fewer pixels become empty; 0 and 1 change nothing.
        steps: Names of post-processing steps, in the order in which they follow.

    Attributes:
        threshold: ``level / 255``, for people.

    Raises:
        ConfigError: The level or the minimum area is out of range, or there is no such step.
    """

    level: int = DEFAULT_LEVEL
    min_area: int = 0
    steps: tuple[str, ...] = ()
    threshold: float = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.level < LEVELS:
            raise ConfigError(f"level {self.level}", expected=f"an integer from 0 to {LEVELS - 1}")
        if self.min_area < 0:
            raise ConfigError(
                f"minimum area {self.min_area}", expected="a number of pixels, 0 or more"
            )
        require_steps(self.steps)
        object.__setattr__(self, "threshold", self.level / (LEVELS - 1))

    def __str__(self) -> str:
        """For example ``threshold 0.4353, minimum area 44 px, then blank-empty``."""
        then = f", then {', '.join(self.steps)}" if self.steps else ""
        return f"threshold {self.threshold:.4f}, minimum area {self.min_area} px{then}"

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], *, next_step: str = "write it anew") -> Self:
        """The rule whose fields stand in a JSON document; the threshold may be missing.

        Args:
            stored: The document.
            next_step: How to get another one, for the message.

        Raises:
            ConfigError: The rule is impossible.
            DataError: A field is missing, or is not of its type.
        """
        level, min_area, steps = (stored.get(key) for key in ("level", "min_area", "steps"))
        if not (type(level) is type(min_area) is int and isinstance(steps, list)):  # true is an int
            raise DataError(
                "a rule of "
                + shortened(f"level {level!r}, minimum area {min_area!r} and steps {steps!r}"),
                expected="two whole numbers and a list, as salt ensemble writes them",
                next_step=next_step,
            )
        return cls(level, min_area, tuple(map(str, steps)))

    def as_json(self) -> dict[str, Any]:
        """The fields, as a JSON document gives them back."""
        return {**asdict(self), "steps": list(self.steps)}

    def apply(
        self, probabilities: NDArray[np.uint8], tiles: TileContext | None = None
    ) -> NDArray[np.bool_]:
        """Turn probabilities into masks.

        Args:
            probabilities: uint8 ``[N, H, W]``; probability = value / 255.
            tiles: What the steps may look at, of the same N tiles; without steps not needed.

        Returns:
            bool ``[N, H, W]``.

        Raises:
            DataError: The probabilities are not uint8 ``[N, H, W]``, or the steps lack the tiles.
        """
        if probabilities.dtype != np.uint8 or probabilities.ndim != 3:
            raise DataError(
                f"probabilities are {probabilities.dtype} {list(probabilities.shape)}",
                expected="uint8 [N, H, W]",
            )
        masks = probabilities > self.level
        if self.min_area > 1:
            masks[np.count_nonzero(masks, axis=(1, 2)) < self.min_area] = False
        if not self.steps:
            return masks
        if tiles is None or len(tiles) != len(masks):
            given = "no tile" if tiles is None else f"{len(tiles)} tiles"
            raise DataError(
                f"{given} for {len(masks)} masks and the steps {', '.join(self.steps)}",
                expected="the tile of each mask, which a step may look at",
            )
        for name in self.steps:
            masks = STEPS[name].apply(masks, tiles)
        return masks


#: Threshold .5 and nothing after it: the rule before anything is chosen.
PLAIN_RULE = Rule()


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
