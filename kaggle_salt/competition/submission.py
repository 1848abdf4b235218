"""From probabilities to the CSV that Kaggle scores, checked before it is kept.

The file is written under a temporary name, read back, decoded and compared bit for bit with
the masks; only then does it take its name. A JSON manifest beside it says where it comes from.
Work goes block by block, so that memory-mapped predictions need little memory however many
they are: of a tile no more than its id is kept.
"""

from __future__ import annotations

import csv
import functools
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition import rle
from kaggle_salt.competition.decision import apply_decision, refuse_impossible_decision
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.predictions import BLOCK_PIXELS, Predictions, blocks
from kaggle_salt.runs import atomic_path, file_hash, write_json

#: The columns Kaggle expects, in order.
COLUMNS = ["id", "rle_mask"]

#: Ids, and as many masks, bool ``[n, H, W]``.
Block = tuple[Sequence[str], NDArray[np.bool_]]


def write_submission(
    path: Path,
    predictions: Predictions,
    sample_ids: Sequence[str],
    *,
    level: int,
    min_area: int,
    manifest: Mapping[str, Any],
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write ``<name>.csv`` for Kaggle, and ``<name>.json`` beside it.

    Args:
        path: The CSV to write.
        predictions: Probabilities of the test tiles, in any order.
        sample_ids: Ids of Kaggle's sample submission; the rows come in this order.
        level: See :func:`apply_decision`, like ``min_area``.
        min_area: In pixels.
        manifest: Where the probabilities and the decision come from; JSON values.
        overwrite: Replace a submission of that name.

    Returns:
        The manifest as written: the one given, the decision, counts and the CSV's SHA-256.

    Raises:
        ConfigError: The name is taken, is not a CSV's, or the decision is out of range.
        DataError: The ids differ, or the file reads back otherwise; nothing is replaced then.
    """
    manifest_path = path.with_suffix(".json")
    refuse_impossible_decision(level, min_area)
    _refuse_unusable_path(path, manifest_path, overwrite=overwrite)
    _refuse_other_ids(predictions.ids, sample_ids)

    with atomic_path(path) as temporary:
        # made twice, so that not all masks need to be held in between
        masks = functools.partial(_mask_blocks, predictions, sample_ids, level, min_area)
        empty_masks = _write_csv(temporary, masks())
        _check_csv(temporary, masks())
        digest = file_hash(temporary)
        manifest_path.unlink(missing_ok=True)  # an old one must not vouch for the new CSV

    written = {
        **manifest,
        **{"level": level, "min_area": min_area},
        "rows": len(sample_ids),
        "empty_masks": empty_masks,
        "csv_sha256": digest,
    }
    write_json(manifest_path, written)
    return written


def _write_csv(path: Path, mask_blocks: Iterable[Block]) -> int:
    """Write the rows; the number of empty masks is returned."""
    empty_masks = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for ids, masks in mask_blocks:
            texts = rle.encode_batch(masks)
            rows.writerows(zip(ids, texts, strict=True))
            empty_masks += texts.count("")
    return empty_masks


def _check_csv(path: Path, mask_blocks: Iterable[Block]) -> None:
    """Read the CSV again; refuse it unless it holds exactly these ids and masks."""
    other = DataError(
        "the CSV read back has other columns or ids than were written",
        expected=f"the columns {', '.join(COLUMNS)} and the sample submission's ids",
    )
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, None)
        for ids, masks in mask_blocks:
            found = list(itertools.islice(rows, len(ids)))
            if header != COLUMNS or [row[:-1] for row in found] != [[tile] for tile in ids]:
                raise other
            for (tile, text), mask in zip(found, masks, strict=True):
                _refuse_other_mask(tile, text, mask)
        if next(rows, None) is not None:
            raise other


def _refuse_other_mask(tile: str, text: str, mask: NDArray[np.bool_]) -> None:
    height, width = mask.shape
    if not np.array_equal(rle.decode(text, (height, width)), mask):
        raise DataError(
            f"the CSV read back holds another mask for tile {tile} than was written",
            expected="the same mask, bit for bit",
        )


def _mask_blocks(
    predictions: Predictions, sample_ids: Sequence[str], level: int, min_area: int
) -> Iterator[Block]:
    """Ids and masks in the order of ``sample_ids``, a bounded number at a time."""
    rows = predictions.rows(sample_ids)
    for block in blocks(predictions.probabilities, pixels=BLOCK_PIXELS):
        probabilities = predictions.probabilities[rows[block]]
        yield sample_ids[block], apply_decision(probabilities, level, min_area)


def _refuse_unusable_path(path: Path, manifest_path: Path, *, overwrite: bool) -> None:
    if path.suffix != ".csv":
        raise ConfigError(f"a submission cannot be called {path.name}", expected="a name in .csv")
    taken = [file for file in (path, manifest_path) if file.exists()]
    if taken and not overwrite:
        raise ConfigError(
            f"{taken[0]} exists",
            expected="a new name for each submission",
            next_step="choose another name, or give --overwrite to replace it",
        )


def _refuse_other_ids(predicted: Sequence[str], sample: Sequence[str]) -> None:
    twice = [tile for tile, count in Counter(sample).items() if count > 1]
    faults = {
        "listed twice in the sample submission": twice,
        "without a prediction": sorted(set(sample) - set(predicted)),
        "predicted but not in the sample submission": sorted(set(predicted) - set(sample)),
    }
    found = [f"{_count_and_first(tiles)} {fault}" for fault, tiles in faults.items() if tiles]
    if found:
        raise DataError(
            "ids differ from the sample submission: " + "; ".join(found),
            expected="a prediction for each of its ids and no other",
            next_step="predict these test tiles: make the ensemble again, of the same runs",
        )


def _count_and_first(tiles: Sequence[str]) -> str:
    """For example ``4 tiles (00a3, 00b1, 00c9, ...)``."""
    shown = ", ".join(tiles[:3]) + (", ..." if len(tiles) > 3 else "")
    return f"{len(tiles)} {'tile' if len(tiles) == 1 else 'tiles'} ({shown})"
