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
from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.postprocess import TileContext
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.predictions import BLOCK_PIXELS, Predictions, blocks
from kaggle_salt.storage.files import differs, vouched

#: The columns Kaggle expects, in order.
COLUMNS = ["id", "rle_mask"]

#: Characters of a cell that are read at most: as many as a system takes that has 32 bits.
LONGEST_CELL = 2**31 - 1

#: Ids, and as many masks, bool ``[n, H, W]``.
Block = tuple[Sequence[str], NDArray[np.bool_]]


def write_submission(
    path: Path,
    predictions: Predictions,
    sample_ids: Sequence[str],
    *,
    rule: Rule,
    manifest: Mapping[str, Any],
    tiles: TileContext | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write ``<name>.csv`` for Kaggle, and ``<name>.json`` beside it.

    Args:
        path: The CSV to write.
        predictions: Probabilities of the test tiles, in any order.
        sample_ids: Ids of Kaggle's sample submission; the rows come in this order.
        rule: How they become masks.
        manifest: Where the probabilities and the rule come from; JSON values.
        tiles: What the rule's steps may look at, in the order of ``sample_ids``; without steps
            not needed.
        overwrite: Replace a submission of that name.

    Returns:
        The manifest as written: the one given, the rule, the number of rows, of empty and of
        full masks, and the CSV's hash.

    Raises:
        ConfigError: The name is taken, or is not a CSV's.
        DataError: The ids differ, or the file reads back otherwise; nothing is replaced then.
    """
    manifest_path = path.with_suffix(".json")
    _refuse_unusable_path(path, manifest_path, overwrite=overwrite)
    _refuse_other_ids(predictions.ids, sample_ids)
    _refuse_other_tiles(tiles, sample_ids)
    with vouched(manifest_path, path) as draft:
        (temporary,) = draft.paths
        counts = _write_checked(temporary, predictions, sample_ids, rule, tiles)
        if not overwrite and differs(path, temporary):
            raise _taken(path)
        draft.document.update({**manifest, "rule": rule.as_json(), **counts})
    return draft.document


def _write_checked(
    path: Path,
    predictions: Predictions,
    sample_ids: Sequence[str],
    rule: Rule,
    tiles: TileContext | None,
) -> dict[str, int]:
    """Write the CSV and read it back; masks are made twice, so that they need not all be held."""
    masks = functools.partial(_mask_blocks, predictions, sample_ids, rule, tiles)
    counts = _write_csv(path, masks())
    _check_csv(path, masks())
    return counts


def _write_csv(path: Path, mask_blocks: Iterable[Block]) -> dict[str, int]:
    """Write the rows, and count them and the masks that hold no salt or nothing else."""
    written = empty = full = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for ids, masks in mask_blocks:
            texts = rle.encode_batch(masks)
            rows.writerows(zip(ids, texts, strict=True))
            written += len(ids)
            empty += texts.count("")
            full += texts.count(f"1 {masks[0].size}")
    return {"rows": written, "empty_masks": empty, "full_masks": full}


def _check_csv(path: Path, mask_blocks: Iterable[Block]) -> None:
    """Read the CSV again; refuse it unless it holds exactly these ids and masks."""
    other = DataError(
        "the CSV read back has other columns or ids than were written",
        expected=f"the columns {', '.join(COLUMNS)} and the sample submission's ids",
    )
    csv.field_size_limit(LONGEST_CELL)  # 128 KiB until one says so: too few for a large tile
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
    predictions: Predictions, sample_ids: Sequence[str], rule: Rule, tiles: TileContext | None
) -> Iterator[Block]:
    """Ids and masks in the order of ``sample_ids``, a bounded number at a time."""
    rows = predictions.rows(sample_ids)
    for block in blocks(predictions.probabilities, pixels=BLOCK_PIXELS):
        probabilities = predictions.probabilities[rows[block]]
        yield sample_ids[block], rule.apply(probabilities, tiles and tiles.take(block))


def _refuse_unusable_path(path: Path, manifest_path: Path, *, overwrite: bool) -> None:
    if path.suffix != ".csv":
        raise ConfigError(f"a submission cannot be called {path.name}", expected="a name in .csv")
    if manifest_path.exists() and not overwrite:
        raise _taken(path if path.exists() else manifest_path)


def _taken(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} exists",
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


def _refuse_other_tiles(tiles: TileContext | None, sample: Sequence[str]) -> None:
    if tiles is not None and list(tiles.ids) != list(sample):
        raise DataError(
            "the tiles that the steps look at are others than the sample submission's",
            expected="the same ids in the same order",
        )


def _count_and_first(tiles: Sequence[str]) -> str:
    """For example ``4 tiles (00a3, 00b1, 00c9, ...)``."""
    shown = ", ".join(tiles[:3]) + (", ..." if len(tiles) > 3 else "")
    return f"{len(tiles)} {'tile' if len(tiles) == 1 else 'tiles'} ({shown})"
