"""What tiles, masks and tables say of each other: contradictions, and what looks wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition import rle
from kaggle_salt.competition.archive import shortlist
from kaggle_salt.competition.faults import Fault, Sort
from kaggle_salt.competition.source import Source
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import RleError

#: Coloured tiles are a few below this share of all.
FEW = 0.05


# Tables


def joined_faults(competition: Competition, source: Source) -> Iterator[Fault]:
    """What the tables say otherwise than the files, as far as opening does not ask.

    Args:
        competition: The tiles that could be read.
        source: The tables.
    """
    yield from _wrong_runs(competition, source)
    test_ids = set(source.ids["test"])
    for tile in source.ids["images"]:
        if tile in test_ids:
            yield Fault(Sort.IN_BOTH, (tile,), f"tile {tile} is both a training and a test tile")
    sample = competition.path / "sample_submission.csv"
    # What a broken zip holds is not known.
    whole = all(fault.sort is not Sort.ZIP for fault in source.faults)
    if sample.is_file() and not test_ids and whole:
        yield Fault(
            Sort.SAMPLE_ALONE, (sample.name,), "there is a sample submission but no test tile"
        )
    yield from _wrong_depths(source, whole)


def _wrong_runs(competition: Competition, source: Source) -> Iterator[Fault]:
    """Run-length strings of ``train.csv`` that are not valid, or not those of the masks."""
    rows = {tile: row for row, tile in enumerate(competition.ids)}
    for tile, text in (source.told or {}).items():
        try:
            told = rle.decode(text, competition.tile_shape)
        except RleError as error:
            found = f"train.csv has no valid mask for {tile}: {error.found}"
            yield Fault(Sort.BAD_RLE, (tile,), found)
            continue
        if tile in rows:
            differing = np.count_nonzero(told != competition.masks[rows[tile]])
            if differing:
                found = f"the mask of {tile} differs from train.csv in {differing} pixels"
                yield Fault(Sort.OTHER_RLE, (tile,), found)


def _wrong_depths(source: Source, whole: bool) -> Iterator[Fault]:
    if source.depths is None:
        return
    tiles = dict.fromkeys((*source.ids["images"], *source.ids["test"]))
    if without := tuple(tile for tile in tiles if tile not in source.depths):
        yield Fault(Sort.NO_DEPTH, without, f"depths.csv has no depth for {_count(without)}")
    # Without test tiles, it is only natural that the file names more than there are.
    strangers = tuple(sorted(set(source.depths) - set(tiles)))
    if source.ids["test"] and strangers and whole:
        found = f"depths.csv gives a depth to {_count(strangers)} that nothing else names"
        yield Fault(Sort.DEPTH_ALONE, strangers, found)


# Tiles and masks


def tile_faults(
    competition: Competition,
    source: Source,
    areas: NDArray[np.int64],
    blank: NDArray[np.bool_],
    groups: Sequence[Sequence[int]],
) -> Iterator[Fault]:
    """What looks wrong with the tiles.

    Args:
        competition: The tiles that could be read.
        source: All that there are.
        areas: Salt pixels of each training tile, int ``[N]``.
        blank: Training tiles of one colour, bool ``[N]``.
        groups: Rows with the same pixels, test rows counted on after the training rows.
    """
    for row in np.flatnonzero(blank & (areas > 0)).tolist():
        tile = competition.ids[row]
        found = f"tile {tile} is blank but its mask is not empty"
        yield Fault(Sort.BLANK_SALT, (tile,), found)
    for group in groups:
        yield from _equal_tiles(competition, group)
    if len(competition.ids) == len(source.ids["masks"]):  # else the others may be unlike
        yield from _alike_masks(competition, areas)
    yield from _mixed_files(competition)


def _equal_tiles(competition: Competition, group: Sequence[int]) -> Iterator[Fault]:
    train_tiles = len(competition.ids)
    first, *others = group
    for row in others:
        if row >= train_tiles:
            if first < train_tiles:
                test = competition.test_ids[row - train_tiles]
                found = f"test tile {test} has the pixels of training tile {competition.ids[first]}"
                yield Fault(Sort.LEAK, (test,), found)
        elif not np.array_equal(competition.masks[first], competition.masks[row]):
            twins = f"{competition.ids[first]} and {competition.ids[row]}"
            found = f"tiles {twins} have the same pixels but different masks"
            yield Fault(Sort.TWINS, (competition.ids[row],), found)


def _alike_masks(competition: Competition, areas: NDArray[np.int64]) -> Iterator[Fault]:
    height, width = competition.tile_shape
    for area, word in ((0, "empty"), (height * width, "full")):
        if len(areas) > 1 and (areas == area).all():
            yield Fault(Sort.ONE_CLASS, competition.ids, f"every mask is {word}")


def _mixed_files(competition: Competition) -> Iterator[Fault]:
    levels = competition.mask_levels
    others = sum(count for level, count in levels.items() if level not in ("0", "1"))
    ones = levels.get("1", 0)
    if ones and others:
        found = f"salt is level 1 in {ones} masks, and a higher one in {others}"
        yield Fault(Sort.MIXED, ("masks",), found)
    tiles = len(competition.ids) + len(competition.test_ids)
    few = competition.coloured_tiles
    if 0 < few < FEW * tiles:
        found = f"{few} of {tiles} tiles are coloured, so all are kept in red, green and blue"
        yield Fault(Sort.FEW_COLOURED, ("images",), found)


def _count(tiles: Sequence[str]) -> str:
    return f"{len(tiles)} tile{'s' if len(tiles) > 1 else ''} ({shortlist(tiles)})"
