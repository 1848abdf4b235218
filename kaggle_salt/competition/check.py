"""What a competition's files hold, and everything that is wrong with them, in one pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.decoding import Progress
from kaggle_salt.competition.duplicates import identical_tiles
from kaggle_salt.competition.faults import Fault, Sort
from kaggle_salt.competition.salvage import readable
from kaggle_salt.competition.source import Source, open_source
from kaggle_salt.competition.suspicions import joined_faults, tile_faults
from kaggle_salt.competition.tiles import Competition, is_blank

#: Bins of the coverage histogram, beside the one for empty masks.
COVERAGE_BINS = 10

#: Sentences that a finding quotes.
MAX_EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """All that is wrong in one way.

    Args:
        title: What it is, in the plural: "files that cannot be read".
        count: How many there are.
        examples: The first of them, a sentence each.
        remedy: What to do about them, in one line.
        tiles: Ids of all that it concerns, or names of files.
    """

    title: str
    count: int
    examples: tuple[str, ...]
    remedy: str
    tiles: tuple[str, ...]


@dataclass(frozen=True)
class CheckReport:
    """What :func:`check` found; where files have faults, of the tiles that can be read.

    Args:
        path: The competition folder.
        data_hash: SHA-256 of its content.
        train_tiles: Number of training tiles with their masks.
        test_tiles: Number of test tiles.
        tile_shape: Height and width, in pixels.
        is_coloured: Whether tiles have red, green and blue.
        modes: Picture modes and how many files have each, for images, masks and test.
        mask_levels: The highest level in a mask's file and how many masks have it.
        mask_threshold: The level from which on masks are salt; None for masks of two levels.
        empty_masks: Number of training tiles without salt.
        blank_tiles: Training tiles of one grey value or colour.
        blank_test_tiles: Test tiles of one grey value or colour.
        coverage_histogram: Number of training tiles that are empty, then with a salt share in
            (0, .1], (.1, .2], ... (.9, 1].
        duplicates: Groups of training tiles with the same pixels; blank tiles left out.
        train_test_duplicates: The same for groups that have training and test tiles.
        unknown_depths: Tiles, training and test, without a depth.
        notes: How the files were understood, where that is not evident.
        faults: What cannot be used, or contradicts something else.
        warnings: What can be trained on but is suspicious.
    """

    path: str
    data_hash: str
    train_tiles: int
    test_tiles: int
    tile_shape: tuple[int, int]
    is_coloured: bool
    modes: Mapping[str, Mapping[str, int]]
    mask_levels: Mapping[str, int]
    mask_threshold: int | None
    empty_masks: int
    blank_tiles: tuple[str, ...]
    blank_test_tiles: tuple[str, ...]
    coverage_histogram: tuple[int, ...]
    duplicates: tuple[tuple[str, ...], ...]
    train_test_duplicates: tuple[tuple[str, ...], ...]
    unknown_depths: tuple[str, ...]
    notes: tuple[str, ...]
    faults: tuple[Finding, ...]
    warnings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as values that JSON can hold."""
        return asdict(self)


def check(
    path: str | Path,
    *,
    progress: Progress | None = None,
    visit: Callable[[Competition], None] | None = None,
) -> CheckReport:
    """Look at every file and every tile of a competition, and go on after a fault.

    Args:
        path: The competition folder, as for :meth:`Competition.open`.
        progress: Told how far the decoding is.
        visit: Called with the tiles that can be read, which last only as long as the call.

    Raises:
        DataError: There is no folder, or not one tile can be read.
        ConfigError: The remembered mask threshold cannot be used.
    """
    data = Path(path)
    with (
        open_source(data) as source,
        readable(data, source, progress or (lambda done, total: None)) as (competition, of_files),
    ):
        if visit is not None:
            visit(competition)
        return _report(competition, source, of_files)


def _report(competition: Competition, source: Source, of_files: Sequence[Fault]) -> CheckReport:
    ids, test_ids = competition.ids, competition.test_ids
    areas = np.count_nonzero(competition.masks, axis=(1, 2))
    blank, blank_test = is_blank(competition.images), is_blank(competition.test_images)
    groups = identical_tiles(competition.images, competition.test_images)
    all_ids = (*ids, *test_ids)
    train_groups = _training_groups(groups, len(ids))
    unknown = np.isnan(np.concatenate([competition.depths, competition.test_depths]))
    faults, warnings = _findings([
        *source.faults,
        *of_files,
        *joined_faults(competition, source),
        *tile_faults(competition, source, areas, blank, groups),
    ])  # fmt: skip
    return CheckReport(
        path=str(competition.path),
        data_hash=competition.data_hash,
        train_tiles=len(ids),
        test_tiles=len(test_ids),
        tile_shape=competition.tile_shape,
        is_coloured=competition.is_coloured,
        modes=competition.modes,
        mask_levels=competition.mask_levels,
        mask_threshold=source.threshold,
        empty_masks=int((areas == 0).sum()),
        blank_tiles=_named(ids, blank),
        blank_test_tiles=_named(test_ids, blank_test),
        coverage_histogram=_coverage_histogram(areas, competition.tile_shape),
        duplicates=tuple(tuple(ids[row] for row in group) for group in train_groups),
        train_test_duplicates=tuple(
            tuple(all_ids[row] for row in group)
            for group in groups
            if group[0] < len(ids) <= group[-1]
        ),
        unknown_depths=_named(all_ids, unknown),
        notes=competition.notes,
        faults=faults,
        warnings=warnings,
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


def _findings(faults: Iterable[Fault]) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Faults and warnings, each sort together, in the order in which sorts are listed."""
    by_sort: defaultdict[Sort, list[Fault]] = defaultdict(list)
    for fault in faults:
        by_sort[fault.sort].append(fault)
    found = {
        sort: Finding(
            title=sort.title,
            count=sum(len(fault.tiles) for fault in by_sort[sort]),
            examples=tuple(fault.found for fault in by_sort[sort][:MAX_EXAMPLES]),
            remedy=sort.remedy,
            tiles=tuple(chain.from_iterable(fault.tiles for fault in by_sort[sort])),
        )
        for sort in Sort
        if sort in by_sort
    }
    return (
        tuple(finding for sort, finding in found.items() if sort.is_fault),
        tuple(finding for sort, finding in found.items() if not sort.is_fault),
    )
