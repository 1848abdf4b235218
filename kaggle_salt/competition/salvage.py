"""What can be read of a competition whose files have faults, for ``salt check`` to look at."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition import cache
from kaggle_salt.competition.decoding import Decoded, Progress, guess_form
from kaggle_salt.competition.faults import Fault, refuse
from kaggle_salt.competition.source import Source
from kaggle_salt.competition.tiles import (
    ARRAYS,
    Competition,
    decoded,
    depths_of,
    describe,
    size_in_bytes,
)
from kaggle_salt.errors import DataError


@contextmanager
def readable(
    data: Path, source: Source, progress: Progress
) -> Iterator[tuple[Competition, Sequence[Fault]]]:
    """The competition if it can be opened; else those of its tiles that can be read.

    Args:
        data: The competition folder.
        source: Its files.
        progress: Told how far the decoding is.

    Yields:
        The competition, whose arrays last as long as the block, and what was wrong with its
        pictures. What is wrong with its tables stands in ``source``.

    Raises:
        DataError: Not one tile can be read.
    """
    if not source.faults:
        try:
            sound = Competition.open(data, progress=progress)
        except DataError:
            pass  # what is wrong is collected below
        else:
            yield sound, ()
            return
    form = guess_form(source)
    root = cache.create_root(data, size_in_bytes(source, form))
    with (
        tempfile.TemporaryDirectory(dir=root) as folder,
        decoded(source, form, Path(folder), progress) as (arrays, met, _),
    ):
        yield _rest(data, source, arrays, met), met.faults


def _rest(
    data: Path, source: Source, arrays: Mapping[str, NDArray[Any]], met: Decoded
) -> Competition:
    """The tiles that were read, training tiles only where their mask was too."""
    read = {
        role: {tile: row for row, tile in enumerate(ids) if tile not in met.lost[role]}
        for role, ids in source.ids.items()
    }
    ids = tuple(tile for tile in read["images"] if tile in read["masks"])
    test_ids = tuple(read["test"])
    if not ids and not test_ids:
        refuse([*source.faults, *met.faults])
    rows = {
        "images": [read["images"][tile] for tile in ids],
        "masks": [read["masks"][tile] for tile in ids],
        "test_images": list(read["test"].values()),
    }
    kept: dict[str, NDArray[Any]] = {
        name: _move_up(arrays[name], wanted) for name, wanted in rows.items()
    }
    kept["depths"] = np.array(depths_of(source, ids), dtype=np.float64)
    kept["test_depths"] = np.array(depths_of(source, test_ids), dtype=np.float64)
    fields = describe(source, ids, test_ids, kept, met)
    return Competition(path=data, **fields | {name: kept[name] for name in ARRAYS})


def _move_up(array: NDArray[Any], rows: Sequence[int]) -> NDArray[Any]:
    """These rows, which ascend, at the beginning of the same array: it may not fit in memory."""
    for place, row in enumerate(rows):
        if place != row:
            array[place] = array[row]
    return array[: len(rows)]
