"""Mosaics: tiles that were cut from one section, put back beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kaggle_salt.competition.mosaic_borders import STEPS, mutual_bests, read_borders
from kaggle_salt.competition.mosaic_layout import Cell, believed, lay_out, touching
from kaggle_salt.errors import DataError

#: Of the table; one row for each tile that has a neighbour.
COLUMNS = ["id", "mosaic", "row", "column"]

#: How often the joints are dealt out anew to see how often any two tiles agree.
SHUFFLES = 20


def assemble(ids: Sequence[str], *stacks: NDArray[np.uint8]) -> pd.DataFrame:
    """Put tiles back beside those that they were cut from.

    The method is that of the solutions to the salt challenge, with a loop test: see
    :func:`kaggle_salt.competition.mosaic_borders.mutual_bests` for who is whose neighbour and
    :func:`kaggle_salt.competition.mosaic_layout.lay_out` for how they are put together. The
    result depends on which tiles there are, not on their order.

    Args:
        ids: Ids of all tiles, unique, those of one stack after the other's.
        stacks: uint8 ``[N, H, W]`` or ``[N, H, W, 3]`` each, of one tile size.

    Returns:
        The columns :data:`COLUMNS`, by mosaic, row and column, all from 0. Mosaics are numbered
        from the largest on; of equal ones that with the first id in the alphabet comes first.
        Tiles without a neighbour are left out.

    Raises:
        DataError: There is not one id for each tile, or tiles have no borders to compare.
    """
    count = sum(map(len, stacks))
    if len(ids) != count:
        raise DataError(f"{len(ids)} ids for {count} tiles", expected="one for each")
    borders = read_borders(*stacks)
    order = np.argsort(np.array(ids, dtype=np.str_), kind="stable")
    rows = order[~borders.flat[order]]
    borders = borders.take(rows)
    rightwards, downwards = (mutual_bests(borders, step) for step in range(len(STEPS)))
    mosaics = [
        {cell: ids[rows[tile]] for cell, tile in mosaic.items()}
        for mosaic in lay_out(believed(rightwards, downwards), borders)
    ]
    mosaics.sort(key=lambda mosaic: (-len(mosaic), min(mosaic.values())))
    lines = [
        (tile, number, *cell)
        for number, mosaic in enumerate(mosaics)
        for cell, tile in sorted(mosaic.items())
    ]
    return pd.DataFrame(lines, columns=COLUMNS)


def neighbours(table: pd.DataFrame) -> list[tuple[int, str, str]]:
    """All tiles that lie beside each other in a table of mosaics.

    Returns:
        Which of :data:`kaggle_salt.competition.mosaic_borders.STEPS`, the tile on the left or
        above, and the tile on the right or below.
    """
    ids = table["id"].tolist()
    cells: dict[int, dict[Cell, int]] = {}
    columns = (table[name].tolist() for name in COLUMNS[1:])
    for tile, (mosaic, row, column) in enumerate(zip(*columns, strict=True)):
        cells.setdefault(mosaic, {})[row, column] = tile
    return [
        (step, ids[first], ids[second])
        for mosaic in cells.values()
        for step, first, second in touching(mosaic)
    ]


@dataclass(frozen=True)
class Agreement:
    """How often the masks of neighbours say the same of the two pixels at a joint.

    Args:
        joints: Number of joints between two tiles with known masks.
        share: Share of the pixels along them that agree, 0 to 1; nan without joints.
        random: The same where each tile is put beside the neighbour of another joint.
        salt_joints: Number of joints between two tiles with salt. A tile wholly inside salt is
            labelled empty, and so agrees with none of its neighbours: here there are none such.
        salt_share: Share of their pixels that agree.
        salt_random: Share of pixels that agree where random tiles with salt meet.
    """

    joints: int
    share: float
    random: float
    salt_joints: int
    salt_share: float
    salt_random: float


def mask_agreement(
    table: pd.DataFrame, row_of: Mapping[str, int], masks: NDArray[np.bool_], *, seed: int = 0
) -> Agreement:
    """Compare the masks on both sides of every joint: what no border could know.

    Args:
        table: Of mosaics.
        row_of: Row in ``masks`` of each tile that has one.
        masks: bool ``[N, H, W]``.
        seed: Of the random pairs.
    """
    known = [
        (step, row_of[first], row_of[second])
        for step, first, second in neighbours(table)
        if first in row_of and second in row_of
    ]
    salty = [pair for pair in known if masks[pair[1]].any() and masks[pair[2]].any()]
    rng = np.random.default_rng(seed)
    share, random = _agreeing(known, masks, rng)
    salt_share, salt_random = _agreeing(salty, masks, rng)
    return Agreement(len(known), share, random, len(salty), salt_share, salt_random)


def _agreeing(
    joints: Sequence[tuple[int, int, int]], masks: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[float, float]:
    """Share of pixels that agree along joints, and along joints dealt out anew."""
    pixels = same = random_same = 0.0
    for step in range(len(STEPS)):
        rows = [joint[1:] for joint in joints if joint[0] == step]
        if not rows:
            continue
        first, second = np.array(rows).T
        ends = masks[first][:, -1] if step else masks[first][:, :, -1]
        starts = masks[second][:, 0] if step else masks[second][:, :, 0]
        pixels += ends.size
        same += np.count_nonzero(ends == starts)
        for _ in range(SHUFFLES):
            dealt = starts[rng.permutation(len(starts))]
            random_same += np.count_nonzero(ends == dealt) / SHUFFLES
    return (same / pixels, random_same / pixels) if pixels else (float("nan"), float("nan"))
