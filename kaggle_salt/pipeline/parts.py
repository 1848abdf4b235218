"""``--part 2/4``: which of the pieces that work is made of are one machine's."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from kaggle_salt.errors import ConfigError


def parse_part(text: str | None) -> tuple[int, int]:
    """Read ``2/4``.

    Returns:
        Which part, from 1, and of how many; of nothing the first of one.

    Raises:
        ConfigError: It is no such text, or there is no such part.
    """
    if text is None:
        return 1, 1
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= part <= parts:
        raise ConfigError(
            f"--part {text}",
            expected="a part and how many there are, from 1/4 to 4/4",
            next_step="--part 1/4 on one machine, --part 2/4 on the next, and so on",
        )
    return part, parts


def part_of(sizes: Sequence[int], part: int, parts: int) -> slice:
    """Which pieces a part is: some in a row, and all parts have about the same to do.

    Args:
        sizes: How much there is to do for each piece.
        part: Which part, from 1.
        parts: How many there are.
    """
    ends = np.cumsum(sizes)
    start, stop = np.searchsorted(ends * parts, ends[-1] * np.array([part - 1, part]), "right")
    return slice(int(start), int(stop))
