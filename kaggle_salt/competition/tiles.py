"""The competition's tiles: decoded once from Kaggle's files, mapped from a cache ever after."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray

from kaggle_salt.competition import cache
from kaggle_salt.competition.archive import (
    GET_ANEW,
    Archive,
    Kind,
    locate,
    open_archive,
    read_table,
    shortlist,
)
from kaggle_salt.competition.decoding import Progress, Stack, decode
from kaggle_salt.competition.png import read_grey, to_mask, to_tile
from kaggle_salt.errors import DataError
from kaggle_salt.files import vouched_for
from kaggle_salt.predictions import blocks

ARRAYS = ("images", "masks", "depths", "test_images", "test_depths")


@dataclass(frozen=True, eq=False)
class Competition:
    """Everything Kaggle gives: tiles, masks, depths and the ids a submission must name.

    Args:
        path: The folder with Kaggle's files.
        ids: Training tiles, in the order of ``train.csv``.
        images: uint8 ``[N, H, W]``, grey levels; memory-mapped, read-only.
        masks: bool ``[N, H, W]``, True is salt; memory-mapped, read-only.
        depths: float64 ``[N]``, feet; nan where ``depths.csv`` does not say.
        test_ids: Test tiles, in the order of ``sample_submission.csv``; may be empty.
        test_images: uint8 ``[M, H, W]``; memory-mapped, read-only.
        test_depths: float64 ``[M]``, feet; nan where unknown.
        modes: PNG modes and how many files have each, for ``images``, ``masks`` and ``test``.
        train_hash: SHA-256 of the training ids, pixels, masks and depths.
        test_hash: SHA-256 of the test ids, pixels and depths.
    """

    path: Path
    ids: tuple[str, ...]
    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    depths: NDArray[np.float64]
    test_ids: tuple[str, ...]
    test_images: NDArray[np.uint8]
    test_depths: NDArray[np.float64]
    modes: Mapping[str, Mapping[str, int]]
    train_hash: str
    test_hash: str

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Height and width of every tile, in pixels."""
        return self.images.shape[1], self.images.shape[2]

    @property
    def data_hash(self) -> str:
        """SHA-256 of all content, wherever and in whatever form the files lie."""
        return hashlib.sha256((self.train_hash + self.test_hash).encode()).hexdigest()

    @classmethod
    def open(cls, path: str | Path, *, progress: Progress | None = None) -> Self:
        """Open a folder with Kaggle's files, each archive zipped or unpacked.

        The first call decodes every PNG into a cache, in ``<path>/.salt-cache`` or, where that
        cannot be written, in the user's cache folder. Later calls map that cache, until a file
        in ``path`` changes.

        Args:
            path: Folder with ``train.csv``, ``train.zip`` or ``train/images`` and
                ``train/masks``; and, where there are test tiles, ``test.zip`` or
                ``test/images`` and ``sample_submission.csv``; and maybe ``depths.csv``.
            progress: Told how far the decoding is; not called when the cache is there.

        Raises:
            DataError: A file is missing or damaged, or the files contradict each other; all
                faults of one sort are named together.
        """
        data = Path(path)
        _require_files(data)
        key = cache.fingerprint(data)
        for root in cache.roots(data):
            fields = _read_cache(root / key)
            if fields is not None:
                return cls(path=data, **fields)
        folder = _fill_cache(data, key, progress or (lambda done, total: None))
        fields = _read_cache(folder)
        if fields is None:
            raise DataError(f"{folder} vanished while it was read", next_step="try again")
        return cls(path=data, **fields)


def _require_files(data: Path) -> None:
    expected = "train.csv and train.zip (or train/), test.zip (or test/), sample_submission.csv"
    next_step = "salt download, or --data FOLDER where the files are elsewhere"
    if not data.is_dir():
        raise DataError(f"there is no folder {data}", expected=expected, next_step=next_step)
    missing = [] if (data / "train.csv").is_file() else ["train.csv"]
    if locate(data, "train") is None:
        missing.append("train.zip or train/images")
    if missing:
        lacking = " and no ".join(missing)
        raise DataError(f"{data} has no {lacking}", expected=expected, next_step=next_step)


def _read_cache(folder: Path) -> dict[str, Any] | None:
    """Fields of :class:`Competition` from a cache; None if it is not there or not whole."""
    # no hash is looked at: the arrays are mapped, and opening them takes milliseconds
    files = cache.array_paths(folder, ARRAYS)
    index = vouched_for(folder / cache.INDEX, *files, wanted={}, check_hash=False)
    if index is None:
        return None
    try:
        return {
            "ids": tuple(index["ids"]),
            "test_ids": tuple(index["test_ids"]),
            **{name: index[name] for name in ("modes", "train_hash", "test_hash")},
            **{name: cache.map_array(folder, name) for name in ARRAYS},
        }
    except (OSError, EOFError, ValueError, TypeError, KeyError):
        return None


@dataclass(frozen=True)
class _Source:
    """Kaggle's files, open, with the ids that the tables name."""

    ids: tuple[str, ...]
    test_ids: tuple[str, ...]
    train: Archive
    test: Archive


@contextmanager
def _open_source(data: Path) -> Iterator[_Source]:
    ids = tuple(read_table(data / "train.csv", ["id"])["id"])
    test_ids: tuple[str, ...] = ()
    if locate(data, "test") is not None:  # without test tiles one can still train
        test_ids = tuple(read_table(data / "sample_submission.csv", ["id"])["id"])
    with open_archive(data, "train") as train, open_archive(data, "test") as test:
        source = _Source(ids, test_ids, train, test)
        _check_ids(source)
        yield source


def _check_ids(source: _Source) -> None:
    """Refuse ids without a file and files without an id.

    Raises:
        DataError: Naming the ids of every kind of gap.
    """
    if not source.ids:
        raise DataError(
            "train.csv names no tile", expected="an id on each line", next_step=GET_ANEW
        )
    faults = [
        *_gaps("train.csv", source.ids, source.train, "images"),
        *_gaps("train.csv", source.ids, source.train, "masks"),
        *_gaps("sample_submission.csv", source.test_ids, source.test, "images"),
    ]
    if faults:
        raise DataError(
            "\n".join(faults),
            expected="the same ids in the tables and among the files",
            next_step=GET_ANEW,
        )


def _gaps(table: str, ids: Sequence[str], archive: Archive, kind: Kind) -> Iterator[str]:
    there = archive.ids(kind)
    if missing := [tile for tile in ids if tile not in there]:
        yield f"{archive.path.name} lacks {kind} of {table}: {shortlist(missing)}"
    if unnamed := sorted(there - set(ids)):
        yield f"{archive.path.name} has {kind} that {table} does not name: {shortlist(unnamed)}"


def _fill_cache(data: Path, key: str, progress: Progress) -> Path:
    """Decode every file of a competition folder; give the folder with the arrays."""
    with _open_source(data) as source:
        first = source.train.name("images", source.ids[0])
        shape = read_grey(source.train.read("images", source.ids[0]), first)[0].shape
        tiles, test_tiles = len(source.ids), len(source.test_ids)
        size = (2 * tiles + test_tiles) * math.prod(shape)
        folder = cache.create_root(data, size) / key
        layout: dict[str, tuple[DTypeLike, tuple[int, ...]]] = {
            "images": (np.uint8, (tiles, *shape)),
            "masks": (np.bool_, (tiles, *shape)),
            "depths": (np.float64, (tiles,)),
            "test_images": (np.uint8, (test_tiles, *shape)),
            "test_depths": (np.float64, (test_tiles,)),
        }
        feet = _read_depths(data / "depths.csv")
        with cache.new_arrays(folder, layout) as (arrays, index):
            modes = decode(_stacks(source, arrays), first, progress)
            arrays["depths"][:] = [feet.get(tile, math.nan) for tile in source.ids]
            arrays["test_depths"][:] = [feet.get(tile, math.nan) for tile in source.test_ids]
            index["ids"], index["test_ids"], index["modes"] = source.ids, source.test_ids, modes
            train, test = ("images", "masks", "depths"), ("test_images", "test_depths")
            index["train_hash"] = _content_hash(source.ids, arrays, train)
            index["test_hash"] = _content_hash(source.test_ids, arrays, test)
    cache.keep_only(folder)
    return folder


def _stacks(source: _Source, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Stack]:
    return {
        "images": Stack(source.train, "images", source.ids, to_tile, arrays["images"]),
        "masks": Stack(source.train, "masks", source.ids, to_mask, arrays["masks"]),
        "test": Stack(source.test, "images", source.test_ids, to_tile, arrays["test_images"]),
    }


def _read_depths(path: Path) -> dict[str, float]:
    """Depth in feet of each tile that the file knows; nothing if there is no file."""
    if not path.is_file():
        return {}
    table = read_table(path, ["id", "z"])
    feet = pd.to_numeric(table["z"], errors="coerce").astype(np.float64)
    wrong = ~np.isfinite(feet)
    if wrong.any():
        row = table[wrong].iloc[0]
        raise DataError(
            f"{path} gives the depth of {row['id']} as '{row['z']}'",
            expected="a number of feet",
            next_step=GET_ANEW,
        )
    return dict(zip(table["id"], feet, strict=True))


def _content_hash(
    ids: Sequence[str], arrays: Mapping[str, NDArray[Any]], names: Sequence[str]
) -> str:
    digest = hashlib.sha256(json.dumps(ids).encode())
    for name in names:
        digest.update(json.dumps([name, arrays[name].shape]).encode())
        for block in blocks(arrays[name]):
            digest.update(arrays[name][block].data)
    return digest.hexdigest()


def is_blank(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which tiles are of one grey value, bool ``[N]`` of uint8 ``[N, H, W]``."""
    blank = np.empty(len(images), dtype=np.bool_)
    for block in blocks(images):
        tiles = images[block]
        blank[block] = tiles.max(axis=(1, 2)) == tiles.min(axis=(1, 2))
    return blank
