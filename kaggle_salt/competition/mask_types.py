"""What kind of mask a tile has: share of salt alone does not tell a hard one from an easy one.

Masks of 3 % are slivers along an edge that hardly any network finds, or small bodies that most
find; masks of 50 % are drawn along a boundary, or are plain vertical cuts. So scores are read by
type, and folds can be dealt by it.

Source: the "error analysis" of Heng CherKeng in the competition's forum (discussion 63984), which
many took over to split by. There, masks of fewer than 8 pixels are called empty; but the score
does not forgive them, so here they are what their pixels make them. Vertical there means that all
rows are alike; masks whose lower half alone is so were cut in the same way, and count here too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.masks import Masks, as_bool
from kaggle_salt.predictions import blocks

#: Upper ends of the coverages of masks that are neither empty nor border nor vertical.
OBJECT_EDGES = (0.15, 0.25, 0.5, 0.75)

#: All types, in the order in which the tables list them.
TYPES = (
    "empty",
    "border",
    "vertical",
    "object-15",
    "object-25",
    "object-50",
    "object-75",
    "object-100",
)

#: One part in this many of a side is border: 10 pixels of the competition's tiles.
_BORDER_PART = 10


def mask_types(masks: Masks) -> list[str]:
    """The type of each mask: the first of these that it is.

    - ``empty``: no pixel is salt.
    - ``border``: all salt lies along the edges, no farther in than a tenth of the tile's height
      (top and bottom) or width (left and right), rounded down, one pixel at least.
    - ``vertical``: all rows of the lower half, the middle row included, are alike, and have both
      salt and none; whatever the upper half is. Masks of which all rows are alike are among them.
    - ``object-15``, ``-25``, ``-50``, ``-75``, ``-100``: the others by coverage: below 15 %,
      from 15 % to below 25, 50 and 75 %, and from 75 % on.

    Args:
        masks: bool ``[N, H, W]``, True is salt, or uint8 of 0 and 1; may be memory-mapped.

    Returns:
        One of :data:`TYPES` for each mask.

    Raises:
        DataError: They are no masks.
    """
    numbers: list[int] = []
    for block in blocks(masks):
        numbers += _numbers(as_bool(masks[block], "masks")).tolist()
    return [TYPES[number] for number in numbers]


def edges_cut(masks: Masks) -> NDArray[np.int64]:
    """How many of a tile's four edges cut its salt; beyond such an edge the salt goes on.

    Args:
        masks: bool ``[N, H, W]``, True is salt, or uint8 of 0 and 1; may be memory-mapped.

    Returns:
        int64 ``[N]``, 0 to 4.

    Raises:
        DataError: They are no masks.
    """
    cut = np.zeros(len(masks), dtype=np.int64)
    for block in blocks(masks):
        salt = as_bool(masks[block], "masks")
        edges = (salt[:, 0], salt[:, -1], salt[:, :, 0], salt[:, :, -1])
        cut[block] = sum(edge.any(axis=1).astype(np.int64) for edge in edges)
    return cut


def _numbers(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Places of the types in :data:`TYPES`, int64 ``[N]``."""
    height, width = masks.shape[1:]
    coverage = np.count_nonzero(masks, axis=(1, 2)) / (height * width)
    rows, columns = max(1, height // _BORDER_PART), max(1, width // _BORDER_PART)
    middle = masks[:, rows : height - rows, columns : width - columns]
    lower = masks[:, height // 2 :]
    last = lower[:, -1]
    alike = (lower == last[:, np.newaxis]).all(axis=(1, 2))
    kinds = [
        coverage == 0,
        ~middle.any(axis=(1, 2)),
        alike & last.any(axis=1) & ~last.all(axis=1),
    ]
    objects = len(kinds) + np.digitize(coverage, OBJECT_EDGES)
    chosen: NDArray[np.int64] = np.select(kinds, list(range(len(kinds))), objects)
    return chosen
