"""Which traces of a survey make a line: from the numbers in their headers, whatever their order.

Nothing is asked of a survey but numbers: lines may be of different lengths, have gaps, and lie in
the file in any order. In a line the traces stand side by side by their number in the other
direction; where numbers are missing there is no gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.errors import ConfigError

#: Ways to go through a survey. ``file`` is for one that has no line numbers: it is one line.
Direction = Literal["inline", "crossline", "file"]

#: What may be asked for.
Along = Literal["inline", "crossline", "both"]


@dataclass(frozen=True, eq=False)
class Line:
    """Traces side by side.

    Args:
        direction: Of the line.
        number: Of the line, as the headers have it.
        traces: Places in the file, counted from 0, int64 ``[N]``.
    """

    direction: Direction
    number: int
    traces: NDArray[np.int64]

    @property
    def name(self) -> str:
        return f"{self.direction}{self.number}"


@dataclass(frozen=True, eq=False)
class Numbers:
    """What the headers say of where each trace is.

    Args:
        inlines: int32 ``[traces]``.
        crosslines: int32 ``[traces]``.
    """

    inlines: NDArray[np.int32]
    crosslines: NDArray[np.int32]

    def directions(self) -> tuple[Direction, ...]:
        """Directions that have lines; of a survey without numbers ``file`` alone.

        A 2-D line is one inline, or one crossline. Numbers that are (nearly) all different make
        no lines, and numbers that are all alike in both directions say nothing.
        """
        counts = {
            "inline": len(np.unique(self.inlines)),
            "crossline": len(np.unique(self.crosslines)),
        }
        if set(counts.values()) == {1}:
            return ("file",)
        found = [one for one in get_args(Direction)[:2] if 2 * counts[one] <= len(self.inlines)]
        return tuple(found) or ("file",)

    def repeated(self) -> int:
        """Traces that have the same two numbers as another before them."""
        pairs = self.inlines.astype(np.int64) << 32 | (
            self.crosslines.astype(np.int64) & 0xFFFFFFFF
        )
        return len(pairs) - len(np.unique(pairs))

    def lines(self, direction: Direction) -> Iterator[Line]:
        """The lines of a direction, by ascending number."""
        if direction == "file":
            yield Line(direction, 0, np.arange(len(self.inlines)))
            return
        own, other = self.inlines, self.crosslines
        if direction == "crossline":
            own, other = other, own
        order = np.lexsort((other, own))  # stable: equal numbers stay in the file's order
        numbers, starts = np.unique(own[order], return_index=True)
        stops = [*starts[1:], len(order)]
        for number, start, stop in zip(numbers, starts, stops, strict=True):
            yield Line(direction, int(number), order[start:stop])


def choose_directions(there: tuple[Direction, ...], along: Along | None) -> tuple[Direction, ...]:
    """Directions to go.

    Args:
        there: Those that have lines.
        along: What is asked for; by default the first of them.

    Raises:
        ConfigError: There are no lines in a direction that is asked for.
    """
    if along is None:
        return there[:1]
    wanted: tuple[Direction, ...] = ("inline", "crossline") if along == "both" else (along,)
    if missing := [one for one in wanted if one not in there]:
        raise ConfigError(
            f"the survey has no {missing[0]}s",
            expected="traces that share a line number",
            next_step=f"leave out --along {along}; or, if it is 3-D, say where its headers have "
            "the numbers: --inline-byte and --xline-byte",
        )
    return wanted
