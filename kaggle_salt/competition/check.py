"""What a competition's files hold, and where they contradict each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition import rle
from kaggle_salt.competition.archive import read_table, shortlist
from kaggle_salt.competition.duplicates import identical_tiles
from kaggle_salt.competition.tiles import Competition, is_blank
from kaggle_salt.errors import RleError

#: Bins of the coverage histogram, beside the one for empty masks.
COVERAGE_BINS = 10


@dataclass(frozen=True)
class CheckReport:
    """What :func:`inspect` found.

    Args:
        path: The competition folder.
        data_hash: SHA-256 of its content.
        train_tiles: Number of training tiles.
        test_tiles: Number of test tiles.
        tile_shape: Height and width, in pixels.
        modes: PNG modes and how many files have each, for images, masks and test.
        empty_masks: Number of training tiles without salt.
        blank_tiles: Training tiles of one grey value.
        blank_test_tiles: Test tiles of one grey value.
        coverage_histogram: Number of training tiles that are empty, then with a salt share in
            (0, .1], (.1, .2], ... (.9, 1].
        duplicates: Groups of training tiles with the same pixels; blank tiles left out.
        train_test_duplicates: The same for groups that have training and test tiles.
        unknown_depths: Tiles, training and test, without a depth.
        rle_disagreements: Training tiles whose mask is not what ``train.csv`` says.
        inconsistencies: Every contradiction, a plain sentence each.
    """

    path: str
    data_hash: str
    train_tiles: int
    test_tiles: int
    tile_shape: tuple[int, int]
    modes: Mapping[str, Mapping[str, int]]
    empty_masks: int
    blank_tiles: tuple[str, ...]
    blank_test_tiles: tuple[str, ...]
    coverage_histogram: tuple[int, ...]
    duplicates: tuple[tuple[str, ...], ...]
    train_test_duplicates: tuple[tuple[str, ...], ...]
    unknown_depths: tuple[str, ...]
    rle_disagreements: tuple[str, ...]
    inconsistencies: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as values that JSON can hold."""
        return asdict(self)


def inspect(competition: Competition) -> CheckReport:
    """Look at every tile of a competition.

    Args:
        competition: An opened competition; its ``train.csv`` and ``depths.csv`` are read again.

    Raises:
        DataError: ``train.csv`` has no column ``rle_mask``, or is gone.
    """
    areas = np.count_nonzero(competition.masks, axis=(1, 2))
    blank, blank_test = is_blank(competition.images), is_blank(competition.test_images)
    groups = identical_tiles(competition.images, competition.test_images)
    all_ids = (*competition.ids, *competition.test_ids)
    train_tiles = len(competition.ids)
    unknown = np.isnan(np.concatenate([competition.depths, competition.test_depths]))
    wrong_rles = _wrong_rles(competition)
    return CheckReport(
        path=str(competition.path),
        data_hash=competition.data_hash,
        train_tiles=train_tiles,
        test_tiles=len(competition.test_ids),
        tile_shape=competition.tile_shape,
        modes=competition.modes,
        empty_masks=int((areas == 0).sum()),
        blank_tiles=_named(competition.ids, blank),
        blank_test_tiles=_named(competition.test_ids, blank_test),
        coverage_histogram=_coverage_histogram(areas, competition.tile_shape),
        duplicates=tuple(
            tuple(all_ids[row] for row in group) for group in _training_groups(groups, train_tiles)
        ),
        train_test_duplicates=tuple(
            tuple(all_ids[row] for row in group)
            for group in groups
            if group[0] < train_tiles <= group[-1]
        ),
        unknown_depths=_named(all_ids, unknown),
        rle_disagreements=tuple(wrong_rles),
        inconsistencies=(
            *wrong_rles.values(),
            *_unlikely_masks(competition, areas, blank, _training_groups(groups, train_tiles)),
            *_wrong_ids(competition, _named(all_ids, unknown)),
        ),
    )


def _named(ids: Sequence[str], chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(ids[row] for row in np.flatnonzero(chosen).tolist())


def _coverage_histogram(areas: NDArray[np.int64], shape: tuple[int, int]) -> tuple[int, ...]:
    """Number of empty masks, then of those in each bin of coverage, closed at its upper end."""
    pixels = shape[0] * shape[1]
    bins = -(-areas * COVERAGE_BINS // pixels)  # rounded up, in integers: no bin edge is missed
    return tuple(np.bincount(bins, minlength=COVERAGE_BINS + 1).tolist())


def _training_groups(groups: Sequence[Sequence[int]], train_tiles: int) -> list[list[int]]:
    """The groups without their test rows, where at least two rows are left."""
    inside = [[row for row in group if row < train_tiles] for group in groups]
    return [group for group in inside if len(group) > 1]


def _wrong_rles(competition: Competition) -> dict[str, str]:
    """For each tile whose mask is not what ``train.csv`` says, a sentence about it."""
    table = read_table(competition.path / "train.csv", ["id", "rle_mask"])
    told = dict(zip(table["id"], table["rle_mask"], strict=True))
    wrong = {}
    for tile, mask in zip(competition.ids, competition.masks, strict=True):
        try:
            differing = np.count_nonzero(rle.decode(told[tile], competition.tile_shape) != mask)
        except RleError as error:
            wrong[tile] = f"train.csv has no valid mask for {tile}: {error.found}"
            continue
        if differing:
            wrong[tile] = f"the mask of {tile} differs from train.csv in {differing} pixels"
    return wrong


def _unlikely_masks(
    competition: Competition,
    areas: NDArray[np.int64],
    blank: NDArray[np.bool_],
    groups: Sequence[Sequence[int]],
) -> Iterator[str]:
    for row in np.flatnonzero(blank & (areas > 0)).tolist():
        yield f"tile {competition.ids[row]} is blank but its mask is not empty"
    for first, *others in groups:
        for row in others:
            if not np.array_equal(competition.masks[first], competition.masks[row]):
                twins = f"{competition.ids[first]} and {competition.ids[row]}"
                yield f"tiles {twins} have the same pixels but different masks"


def _wrong_ids(competition: Competition, without_depth: Sequence[str]) -> Iterator[str]:
    ids, test_ids = set(competition.ids), set(competition.test_ids)
    for tile in sorted(ids & test_ids):
        yield f"tile {tile} is both a training and a test tile"
    depths = competition.path / "depths.csv"
    if not depths.is_file():
        return
    if without_depth:
        yield f"depths.csv has no depth for {_count(without_depth)}"
    named = read_table(depths, ["id"])["id"]
    # Without test tiles, it is only natural that the file names more than there are.
    if test_ids and (strangers := sorted(set(named) - ids - test_ids)):
        yield f"depths.csv gives a depth to {_count(strangers)} that nothing else names"


def _count(tiles: Sequence[str]) -> str:
    return f"{len(tiles)} tile{'s' if len(tiles) > 1 else ''} ({shortlist(tiles)})"
