"""Ids, probabilities and a manifest: the one format that learning and ensembling exchange.

On disk a set of predictions is two files with one stem: ``<stem>.npy`` holds the
probabilities as uint8 ``[N, H, W]`` (probability = value / 255) and can be memory-mapped;
``<stem>.json`` holds the ids in the same order and the manifest. The JSON is written last
(see :mod:`kaggle_salt.storage.files`), so its presence says that the array is whole.
"""

from __future__ import annotations

import math
import mmap
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.errors import DataError, SaltError, reason
from kaggle_salt.runs import train_anew
from kaggle_salt.storage.files import (
    HASH_KEY,
    WRITE_AGAIN,
    file_hash,
    read_json,
    vouched,
    vouched_for,
)
from kaggle_salt.storage.mapped import create_mapped

#: Pixels that :func:`blocks` hands out at once, and between two releases, each of which costs
#: microseconds.
BLOCK_PIXELS = 1 << 22


@dataclass(frozen=True)
class Predictions:
    """Salt probabilities of some tiles.

    Args:
        ids: Tile ids, unique, one per row.
        probabilities: uint8 ``[N, H, W]``; probability = value / 255. May be memory-mapped.
        manifest: Where the numbers come from (run, fold, weights hash, TTA, ...); JSON values.
    """

    ids: tuple[str, ...]
    probabilities: NDArray[np.uint8]
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.probabilities.dtype != np.uint8 or self.probabilities.ndim != 3:
            raise DataError(
                f"probabilities are {self.probabilities.dtype} {list(self.probabilities.shape)}",
                expected="uint8 [N, H, W]",
            )
        if len(self.ids) != len(self.probabilities):
            raise DataError(f"{len(self.ids)} ids for {len(self.probabilities)} probability maps")
        refuse_duplicates(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Row number of each of ``ids``.

        Raises:
            DataError: An id is asked for that is not here.
        """
        position = {tile: row for row, tile in enumerate(self.ids)}
        missing = [tile for tile in ids if tile not in position]
        if missing:
            raise DataError(
                f"{len(missing)} tiles have no prediction, the first is {missing[0]}",
                expected="a prediction for every tile",
            )
        return np.array([position[tile] for tile in ids], dtype=np.int64)


def refuse_duplicates(ids: Iterable[str]) -> None:
    """Refuse a list of ids that names a tile twice.

    Raises:
        DataError: With the first id that comes twice.
    """
    seen: set[str] = set()
    for tile in ids:
        if tile in seen:
            raise DataError(f"tile {tile} is predicted twice", expected="each id once")
        seen.add(tile)


def save(stem: Path, predictions: Predictions) -> None:
    """Write ``<stem>.npy`` and then ``<stem>.json``, each atomically."""
    shape = predictions.probabilities.shape
    with create(stem, predictions.ids, shape[1:], predictions.manifest) as out:
        out[:] = predictions.probabilities


@contextmanager
def create(
    stem: Path, ids: Sequence[str], size: Sequence[int], manifest: Mapping[str, Any]
) -> Iterator[NDArray[np.uint8]]:
    """Give a memory-mapped uint8 array ``[N, H, W]`` to fill; keep it if the block ends well.

    For predictions that are too large for memory: only the pages being written are resident.
    """
    with vouched(_document(stem), _array(stem)) as draft:
        draft.document.update(_says(ids, manifest))
        out = create_mapped(draft.paths[0], np.uint8, (len(ids), *size))
        yield out
        out.flush()


def _document(stem: Path) -> Path:
    return stem.with_name(stem.name + ".json")


def _array(stem: Path) -> Path:
    return stem.with_name(stem.name + ".npy")


def _says(ids: Sequence[str], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the document says."""
    return {"ids": list(ids), "manifest": dict(manifest)}


def exists(stem: Path) -> bool:
    """Whether a whole set of predictions lies at ``stem``."""
    return _document(stem).exists()


def stated_hash(stem: Path, *, next_step: str = WRITE_AGAIN) -> str | None:
    """Hash of the probabilities as their document states it; None where there is none.

    Raises:
        DataError: The document is damaged; ``next_step`` says how it is made again.
    """
    stated = read_json(_document(stem), next_step=next_step).get(HASH_KEY) if exists(stem) else None
    return None if stated is None else str(stated)


def stated_manifest(stem: Path) -> dict[str, Any]:
    """What a document says that its predictions are of; nothing where there is none, or damage."""
    try:
        return dict(read_json(_document(stem))["manifest"]) if exists(stem) else {}
    except (DataError, KeyError, TypeError, ValueError):
        return {}


def load_same(
    stem: Path, ids: Sequence[str], manifest: Mapping[str, Any], tell: Callable[[str], None]
) -> Predictions | None:
    """Read predictions if they are there, whole, of these tiles in this order, and of the same.

    Args:
        stem: Path without suffix.
        ids: The tiles that are wanted.
        manifest: What would be written beside them now.
        tell: Told of some that are damaged, and have to be made again.
    """
    wanted = _says(ids, manifest)
    try:
        if vouched_for(_document(stem), _array(stem), wanted=wanted, check_hash=False):
            return load(stem)
        if exists(stem):
            read_json(_document(stem))  # of others nothing is told, of a damaged one it is
    except DataError as error:
        tell(f"{error.found}; what it belongs to is made again")
    return None


def load(stem: Path, *, memory_map: bool = True, next_step: str = "") -> Predictions:
    """Read predictions written by :func:`save` or :func:`create`, if they are as they were written.

    To see that, the file is read once.

    Args:
        stem: Path without suffix.
        memory_map: Leave the probabilities on disk and read what is touched.
        next_step: How damaged ones are made again; by default what the place of the files tells.

    Raises:
        DataError: A file is missing or damaged, or ids and array do not fit together.
    """
    next_step = next_step or _anew(stem)
    meta = read_json(_document(stem), next_step=next_step)
    path = _array(stem)
    try:
        if meta.get(HASH_KEY, "") not in ("", file_hash(path)):
            raise ValueError("it has changed since it was written")
        mapped = map_array(path)
        probabilities = mapped if memory_map else np.array(mapped)
        return Predictions(tuple(meta["ids"]), probabilities, meta["manifest"])
    except (OSError, ValueError, TypeError, KeyError, DataError) as error:
        why = error.found if isinstance(error, SaltError) else reason(error)
        raise DataError(
            f"{path} cannot be read: {why}",
            expected="predictions written by salt train or salt ensemble",
            next_step=next_step,
        ) from error


def map_array(path: Path) -> NDArray[Any]:
    """Map a file that :func:`numpy.save` wrote, for reading only. No pickle is ever loaded.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such file, or a damaged one.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a header that is nearly Python
            # a Path it would resolve link by link, which takes longer than the mapping
            return np.lib.format.open_memmap(os.fspath(path), mode="r")
    except (OSError, ValueError):
        raise
    except Exception as error:  # numpy has Python read the header, and raises what that trips over
        raise ValueError(reason(error)) from error


def _anew(stem: Path) -> str:
    """How damaged predictions are made again: out of fold with their fold, the others alone."""
    if stem.name == "oof" and stem.parent.name.startswith("fold"):
        return f"train the fold anew: {train_anew(stem.parent)}"
    return "delete both files of that name and run the command again"


def blocks(
    *arrays: NDArray[Any], pixels: int = BLOCK_PIXELS, tiles_at_once: int | None = None
) -> Iterator[slice]:
    """Go through arrays block by block, and release them on the way.

    So mapped files of any size take little memory. Working on small blocks is often faster too:
    what is made of them stays in the processor's cache.

    Args:
        arrays: The first, ``[N, ...]``, is gone through. What is read beside it, in this order
            or another, is named after it to be released too. All may be memory-mapped.
        pixels: Of a block of the first array, at most; but a block is one tile at least.
        tiles_at_once: The tiles of a block, whatever their size, in place of ``pixels``.

    Yields:
        Slices of tiles, all of them in order.
    """
    tiles, *size = arrays[0].shape
    pixels_of_tile = max(1, math.prod(size))
    step = tiles_at_once or max(1, pixels // pixels_of_tile)
    unreleased = 0
    for start in range(0, tiles, step):
        yield slice(start, start + step)
        unreleased += step * pixels_of_tile
        if unreleased >= BLOCK_PIXELS or start + step >= tiles:
            unreleased = 0
            for array in arrays:
                release(array)


def release(array: NDArray[Any]) -> None:
    """Give back the memory of a mapped file; what was written stays with the system's cache.

    Otherwise every page that was read or written would count as memory in use to the end. Only
    a hint: systems without it keep the pages until they need them, and arrays that are not
    mapped files are left alone.
    """
    mapping = getattr(array, "_mmap", None)
    shared = getattr(array, "mode", None) in ("r", "r+", "w+")  # a private copy would be lost
    if isinstance(mapping, mmap.mmap) and shared:
        advice = getattr(mmap, "MADV_DONTNEED", None)
        if advice is not None:
            mapping.madvise(advice)
