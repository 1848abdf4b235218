"""Where a tile lies in its mosaic, and what the masks of its neighbours say of its own.

Known are the masks of training tiles. What is said of a tile comes from the other cells of its
column, never from its own: so the same is asked of a test tile, and of a training tile as if its
mask were not known.

Source: post-processing of the 14th place of the competition (lRomul/argus-tgs-salt,
``mosaic/postprocess.py``), which copies vertical masks down and up a column, and empties what
lies under a mask that fills the lower edge. What is vertical is that of
:mod:`kaggle_salt.competition.mask_types`; upwards all rows must be alike, for above a half wall
is where it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kaggle_salt.competition.archive import read_table, shortlist
from kaggle_salt.competition.fold_files import second_table
from kaggle_salt.competition.mosaic import COLUMNS
from kaggle_salt.errors import DataError, salt_command, shortened

#: How many tiles down and up from a vertical wall the same mask is still to be expected.
WALL_DOWN, WALL_UP = 3, 1

#: Mosaic and column.
Column = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Tiles in mosaics, and the masks of some of them.

    Args:
        table: Of mosaics, as :func:`kaggle_salt.competition.mosaic.assemble` gives it.
        row_of: Row in ``masks`` of each tile whose mask is known.
        masks: bool ``[M, H, W]``; may be memory-mapped.
    """

    table: pd.DataFrame
    row_of: Mapping[str, int]
    masks: NDArray[np.bool_]

    @property
    def walls(self) -> NDArray[np.bool_]:
        """The lowest row of each mask drawn all the way up, bool ``[M, H, W]``; a view."""
        return np.broadcast_to(self.masks[:, -1:], self.masks.shape)

    def wall_above(self, tile: str) -> int | None:
        """Which is the nearest known mask above, if it ends as a wall and is not too far up."""
        lower_half = slice(self.masks.shape[1] // 2, None)
        return self._nearest_wall(tile, range(-1, -WALL_DOWN - 1, -1), lower_half)

    def wall_below(self, tile: str) -> int | None:
        """Which is the nearest known mask below, if all of it is a wall and not too far down."""
        return self._nearest_wall(tile, range(1, WALL_UP + 1), slice(None))

    def is_under_salt(self, tile: str) -> bool:
        """Whether the lowest row of a known mask is all salt, anywhere above in the column."""
        return any(
            step < 0 and bool(self.masks[known][-1].all())
            for step, known in self._known_from(tile).items()
        )

    def _nearest_wall(self, tile: str, steps: Iterable[int], rows: slice) -> int | None:
        known = self._known_from(tile)
        nearest = next((known[step] for step in steps if step in known), None)
        return nearest if nearest is not None and is_wall(self.masks[nearest, rows]) else None

    def _known_from(self, tile: str) -> dict[int, int]:
        """How many tiles down from a tile masks are known in its column, and their rows."""
        if tile not in self._places:
            return {}
        column, row = self._places[tile]
        return {other - row: known for other, known in self._columns.get(column, {}).items()}

    @cached_property
    def _places(self) -> dict[str, tuple[Column, int]]:
        """Column of each tile, and its row there."""
        cells = zip(*(self.table[name].tolist() for name in COLUMNS), strict=True)
        return {tile: ((mosaic, column), row) for tile, mosaic, row, column in cells}

    @cached_property
    def _columns(self) -> dict[Column, dict[int, int]]:
        """For each column in which rows masks are known, and which of ``masks`` they are."""
        columns: dict[Column, dict[int, int]] = {}
        for tile, (column, row) in self._places.items():
            if tile in self.row_of:
                columns.setdefault(column, {})[row] = self.row_of[tile]
        return columns


def is_wall(mask: NDArray[np.bool_]) -> bool:
    """Whether all rows of a mask ``[H, W]`` are alike, and have both salt and none."""
    last = mask[-1]
    return bool(last.any() and not last.all() and (mask == last).all())


def read_mosaics(path: Path, ids: Sequence[str]) -> pd.DataFrame:
    """Read a table of mosaics, and make sure that it is about these tiles.

    Args:
        path: A file as ``salt mosaic`` writes it.
        ids: Training and test tiles.

    Returns:
        The columns :data:`kaggle_salt.competition.mosaic.COLUMNS`, places as whole numbers.

    Raises:
        DataError: The file is missing, is no such table, names other tiles, or puts two in one
            place.
    """
    then = _another(path)
    table = read_table(path, COLUMNS, next_step=then)[COLUMNS]
    for name in COLUMNS[1:]:
        wrong = ~table[name].str.fullmatch(r"-?\d{1,9}")
        if wrong.any():
            row = table[wrong].iloc[0]
            raise DataError(
                f"{path} gives tile {shortened(row['id'])} the {name} '{shortened(row[name])}'",
                expected="a whole number",
                next_step=then,
            )
        table[name] = table[name].astype(np.int64)
    if strangers := sorted(set(table["id"]) - set(ids)):
        raise DataError(
            f"{path} names {len(strangers)} unknown tiles: {shortlist(strangers)}",
            expected="a table made of the competition's tiles as they are now",
            next_step=then,
        )
    twice = table[table.duplicated(COLUMNS[1:], keep=False)]
    if len(twice):
        raise DataError(
            f"{path} puts {shortlist(twice['id'].tolist())} in places that others have",
            expected="one tile in each row and column of a mosaic",
            next_step=then,
        )
    return table


def _another(path: Path) -> str:
    """How to get a table that will do; one that is there stays."""
    if not path.exists():
        return salt_command("mosaic", "--out", path)
    return second_table(path, "mosaic", "--mosaic")
