"""Tiles with the same pixels: a network that trained on one has seen the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.tiles import is_blank
from kaggle_salt.predictions import blocks
from kaggle_salt.storage.files import bytes_hash


def identical_tiles(*stacks: NDArray[np.uint8]) -> list[list[int]]:
    """Find the tiles with the same pixels.

    Blank tiles are left out: all of one value are alike, and say nothing of each other.

    Args:
        stacks: uint8 ``[N, H, W]`` or ``[N, H, W, 3]`` each, of one tile size; may be
            memory-mapped.

    Returns:
        The rows of each set of two tiles or more, ascending; those of the second stack are
        counted on after the first's.
    """
    found: defaultdict[str, list[int]] = defaultdict(list)
    before = 0
    for images in stacks:
        blank = is_blank(images)
        for block in blocks(images):
            for row, image in enumerate(images[block], start=block.start):
                if not blank[row]:
                    found[bytes_hash(image.tobytes())].append(before + row)
        before += len(images)
    return [rows for rows in found.values() if len(rows) > 1]


def merged_groups(names: Sequence[str], twins: Sequence[Sequence[int]]) -> list[str]:
    """Make one group of the groups that hold identical tiles.

    Args:
        names: Group of each tile.
        twins: Rows of identical tiles, as :func:`identical_tiles` gives them.

    Returns:
        For each tile the first name, in the order of the alphabet, of all the groups that are
        now one; the others keep theirs. The order of the tiles does not matter.
    """
    name_of = {name: name for name in names}

    def first(name: str) -> str:
        while name_of[name] != name:
            name = name_of[name]
        return name

    for rows in twins:
        roots = sorted({first(names[row]) for row in rows})
        for root in roots[1:]:
            name_of[root] = roots[0]
    return [first(name) for name in names]
