"""The competition's tiles: decoded once from Kaggle's files, mapped from a cache ever after."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kaggle_salt.competition import cache
from kaggle_salt.competition.archive import Role
from kaggle_salt.competition.decoding import Decoded, Form, Progress, decode, guess_form
from kaggle_salt.competition.faults import refuse
from kaggle_salt.competition.mask_threshold import read_threshold
from kaggle_salt.competition.source import Source, open_source, require_tiles
from kaggle_salt.errors import DataError
from kaggle_salt.predictions import blocks, map_array

PLAIN_FIELDS = ("modes", "train_hash", "test_hash", "mask_levels", "coloured_tiles")
#: Looks at a cache that was just filled; between them a twentieth of a second.
READING_TRIES = 100

ARRAYS = ("images", "masks", "depths", "test_images", "test_depths")


@dataclass(frozen=True, eq=False)
class Competition:
    """Everything Kaggle gives: tiles, masks, depths and the ids a submission must name.

    Tiles are grey, of two dimensions, unless red, green and blue differ somewhere in a training
    or test tile; then all of them, training and test, have a last dimension of three.

    Args:
        path: The folder with Kaggle's files.
        ids: Training tiles, in the order of ``train.csv``; without it, sorted.
        images: uint8, grey levels ``[N, H, W]``, or red, green and blue ``[N, H, W, 3]``;
            memory-mapped, read-only.
        masks: bool ``[N, H, W]``, True is salt; memory-mapped, read-only.
        depths: float64 ``[N]``, feet; nan where ``depths.csv`` does not say.
        test_ids: Test tiles, in the order of ``sample_submission.csv``; without it, sorted. May
            be empty.
        test_images: uint8 ``[M, H, W]`` or ``[M, H, W, 3]``, as ``images``.
        test_depths: float64 ``[M]``, feet; nan where unknown.
        modes: Picture modes and how many files have each, for ``images``, ``masks`` and ``test``.
        train_hash: SHA-256 of the training ids, pixels, masks and depths.
        test_hash: SHA-256 of the test ids, pixels and depths.
        mask_levels: The highest level in a mask's file, as text, and how many masks have it.
        coloured_tiles: Number of tiles, training and test, that are not grey.
        notes: What a person should know of how the files were understood.
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
    mask_levels: Mapping[str, int] = field(default_factory=dict)
    coloured_tiles: int = 0
    notes: tuple[str, ...] = ()

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Height and width of every tile, in pixels."""
        return self.images.shape[1], self.images.shape[2]

    @property
    def is_coloured(self) -> bool:
        """Whether tiles have red, green and blue; else they are grey."""
        return self.images.ndim == 4

    @property
    def data_hash(self) -> str:
        """SHA-256 of all content, wherever and in whatever form the files lie."""
        return hashlib.sha256((self.train_hash + self.test_hash).encode()).hexdigest()

    @classmethod
    def open(cls, path: str | Path, *, progress: Progress | None = None) -> Self:
        """Open a folder with a competition's files, each archive zipped or unpacked.

        The first call decodes every picture into a cache, in ``<path>/.salt-cache`` or, where
        that cannot be written, in the user's cache folder. Later calls map that cache, until a
        file in ``path`` changes; if it is damaged, all is decoded again.

        Args:
            path: Folder with PNG or JPEG files named after their ids, in folders or zips:
                training tiles in ``train/images`` or ``train``, masks in ``train/masks``,
                ``train_masks`` or ``masks``, test tiles, if any, in ``test/images`` or ``test``.
                Where they are there, ``train.csv`` and ``sample_submission.csv`` name the ids,
                and ``depths.csv`` gives depths.
            progress: Told how far the decoding is; not called when the cache is there.

        Raises:
            DataError: A file is missing or damaged, or the files contradict each other; the
                faults are named together.
            ConfigError: The remembered mask threshold cannot be used.
        """
        data = Path(path)
        require_tiles(data)
        key = cache.fingerprint(data, read_threshold(data))
        notes: tuple[str, ...] = ()
        for root in cache.roots(data):
            fields = _read_cache(root / key)
            if fields is not None:
                cache.keep_only(root / key)
                return cls(path=data, **fields)
            if (root / key).exists():
                notes = (f"the decoded tiles in {root / key} are damaged: decoding them again",)
        folder = _fill_cache(data, key, progress or (lambda done, total: None))
        for _ in range(READING_TRIES):
            fields = _read_cache(folder)
            if fields is not None:
                return cls(path=data, **fields | {"notes": fields["notes"] + notes})
            time.sleep(0.05)  # another opening is just putting the same in its place
        raise DataError(f"{folder} vanished while it was read", next_step="try again")

    def require_test_tiles(self, purpose: str) -> None:
        """Refuse a competition without test tiles where some are needed.

        Args:
            purpose: What for, as in ``to label``.

        Raises:
            DataError: There are none.
        """
        if not self.test_ids:
            raise DataError(
                f"{self.path} has no test tiles {purpose}",
                expected="test.zip (or test/) and sample_submission.csv",
                next_step="put them beside the training tiles: salt download",
            )


def _read_cache(folder: Path) -> dict[str, Any] | None:
    """Fields of :class:`Competition` from a cache; None if it is not there or not whole."""
    try:
        index = cache.read_index(folder, ARRAYS)
        if index is None:
            return None
        return {
            **{name: tuple(index[name]) for name in ("ids", "test_ids", "notes")},
            **{name: index[name] for name in PLAIN_FIELDS},
            **{name: map_array(folder / f"{name}.npy") for name in ARRAYS},
        }
    except (OSError, ValueError, TypeError, KeyError, DataError):
        return None


def _fill_cache(data: Path, key: str, progress: Progress) -> Path:
    """Decode every file of a competition folder; give the folder with the arrays."""
    with open_source(data) as source:
        refuse(source.faults)
        form = guess_form(source)
        folder = cache.create_root(data, size_in_bytes(source, form)) / key
        with decoded(source, form, folder, progress) as (arrays, met, index):
            refuse(met.faults)
            arrays["depths"][:] = depths_of(source, source.ids["images"])
            arrays["test_depths"][:] = depths_of(source, source.ids["test"])
            index.update(describe(source, source.ids["images"], source.ids["test"], arrays, met))
    cache.keep_only(folder)
    return folder


class _OtherFormError(Exception):
    """Tiles are not what they were thought to be like."""

    def __init__(self, form: Form) -> None:
        self.form = form


@contextmanager
def decoded(
    source: Source, form: Form, folder: Path, progress: Progress
) -> Iterator[tuple[Mapping[str, NDArray[Any]], Decoded, dict[str, Any]]]:
    """Decode all files into new arrays of ``folder``, which are kept if the block ends well.

    Args:
        source: The files.
        form: What tiles are thought to be like. If they are not, all is done again.
        folder: Where the arrays go.
        progress: Told how far the decoding is.

    Yields:
        The arrays of a :class:`Competition` by name, with a row for each id of ``source`` (the
        depths unfilled), what was met on the way, and the index to be filled for the cache.
    """
    while True:
        try:
            with cache.new_arrays(folder, _layout(source, form)) as (arrays, index):
                by_role: dict[Role, NDArray[Any]] = {
                    "images": arrays["images"],
                    "masks": arrays["masks"],
                    "test": arrays["test_images"],
                }
                met = decode(source, form, by_role, progress)
                if met.form.tile_shape != form.tile_shape:
                    raise _OtherFormError(met.form)
                form = met.form
                yield arrays, met, index
                return
        except _OtherFormError as error:
            form = error.form


def _layout(source: Source, form: Form) -> dict[str, tuple[DTypeLike, tuple[int, ...]]]:
    images, masks, tests = (len(source.ids[role]) for role in ("images", "masks", "test"))
    return {
        "images": (np.uint8, (images, *form.tile_shape)),
        "masks": (np.bool_, (masks, *form.shape)),
        "depths": (np.float64, (images,)),
        "test_images": (np.uint8, (tests, *form.tile_shape)),
        "test_depths": (np.float64, (tests,)),
    }


def size_in_bytes(source: Source, form: Form) -> int:
    """Bytes that the arrays of a competition take."""
    layout = _layout(source, form).values()
    return sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in layout)


def depths_of(source: Source, ids: Sequence[str]) -> list[float]:
    """Depth in feet of each tile, nan where it is unknown."""
    feet = source.depths or {}
    return [feet.get(tile, math.nan) for tile in ids]


def describe(
    source: Source,
    ids: Sequence[str],
    test_ids: Sequence[str],
    arrays: Mapping[str, NDArray[Any]],
    met: Decoded,
) -> dict[str, Any]:
    """The fields of a :class:`Competition` that are no arrays, as JSON can hold them."""
    return {
        "ids": tuple(ids),
        "test_ids": tuple(test_ids),
        "modes": {role: dict(counts) for role, counts in met.modes.items()},
        "train_hash": _content_hash(ids, arrays, ("images", "masks", "depths")),
        "test_hash": _content_hash(test_ids, arrays, ("test_images", "test_depths")),
        "mask_levels": {str(level): count for level, count in sorted(met.mask_levels.items())},
        "coloured_tiles": met.coloured,
        "notes": source.notes,
    }


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
    """Which tiles are of one grey value or colour, bool ``[N]``.

    Args:
        images: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``.
    """
    blank = np.empty(len(images), dtype=np.bool_)
    for block in blocks(images):
        tiles = images[block]
        same = tiles.max(axis=(1, 2)) == tiles.min(axis=(1, 2))
        blank[block] = same.reshape(len(tiles), -1).all(axis=1)
    return blank
