"""A synthetic competition in Kaggle's own files, to try the pipeline without the real tiles.

Beside the five files that Kaggle delivers lies ``hidden_test_masks.zip``, so that a demo can
score its own submission. The same arguments write the same bytes: each tile has a seed of its
own, and the archives carry no clock time.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.rle import encode_batch
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.storage.files import atomic_path, write_text
from kaggle_salt.synthetic.geology import Tile, draw_tile

#: Masks of the test tiles, ``masks/<id>.png``: known here, hidden on Kaggle.
HIDDEN_TEST_MASKS = "hidden_test_masks.zip"

COMPETITION_FILES = ("train.zip", "test.zip", "train.csv", "depths.csv", "sample_submission.csv")

MIN_SIZE = 16  # pixels; below it no layer fits into a tile
RGBA_SHARE = 0.2  # of the training images; the others are RGB
EIGHT_BIT_SHARE = 0.4  # of the masks; the others are 16-bit
DEPTH_FEET = (506.0, 209.0, 50, 959)  # mean, standard deviation, least and greatest depth

#: Successive multiples of the golden ratio, modulo 1, are spread evenly however many there
#: are, so that a demo of twenty tiles has its share of empty and of salt tiles too.
GOLDEN_RATIO = (1 + 5**0.5) / 2

#: Streams of random numbers that must not influence one another.
TRAIN, TEST, TRAIN_FORMATS, TEST_FORMATS, TABLES = range(5)


def write_demo_competition(
    folder: Path,
    *,
    n_train: int = 400,
    n_test: int = 200,
    size: int = 101,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a competition of synthetic seismic tiles, ready for ``Competition.open``.

    About 39 % of the masks are empty, 2 % of the tiles blank, and a quarter of all pixels salt.
    Training images are RGB or RGBA, test images grey; masks are 16-bit or 8-bit, 0 or the
    greatest value. The first training tiles do not depend on how many tiles there are.

    Args:
        folder: Where the files go; made if missing, and an older demo in it is replaced.
        n_train: Number of training tiles.
        n_test: Number of test tiles.
        size: Height and width of a tile in pixels, 16 or more.
        seed: Any non-negative integer.
        progress: Called with (tiles written, tiles in all) after each tile.

    Raises:
        ConfigError: A number is out of range.
        DataError: The folder holds competition files that no demo wrote.
    """
    _refuse_bad_numbers(n_train, n_test, size, seed)
    _refuse_foreign_files(folder)
    rng = _generator(seed, TABLES)
    ids = _draw_ids(rng, n_train + n_test)
    counter = _Counter(n_train + n_test, progress)
    # The hidden masks come first: they tell a demo, even an interrupted one, from real data.
    test_tiles = counter.count(_draw_tiles(seed, TEST, n_test, size))
    _write_test(folder, ids[n_train:], test_tiles, _generator(seed, TEST_FORMATS))
    train_tiles = counter.count(_draw_tiles(seed, TRAIN, n_train, size))
    masks = _write_train(folder, ids[:n_train], train_tiles, _generator(seed, TRAIN_FORMATS))
    _write_tables(folder, ids, masks, rng)


def _refuse_bad_numbers(n_train: int, n_test: int, size: int, seed: int) -> None:
    limits = [("n_train", n_train, 1), ("n_test", n_test, 1), ("size", size, MIN_SIZE)]
    for name, value, least in [*limits, ("seed", seed, 0)]:
        if value < least:
            raise ConfigError(f"{name} is {value}", expected=f"{least} or more")


def _refuse_foreign_files(folder: Path) -> None:
    present = [name for name in COMPETITION_FILES if (folder / name).exists()]
    if present and not (folder / HIDDEN_TEST_MASKS).exists():
        raise DataError(
            f"{folder} already holds {', '.join(present)}, which no demo wrote",
            expected="an empty folder, or one with an older demo",
            next_step="give the demo a folder of its own",
        )


# Tiles


@dataclass
class _Counter:
    """Reports each tile that passes through it, of the training or of the test set."""

    total: int
    report: Callable[[int, int], None] | None
    done: int = 0

    def count(self, tiles: Iterator[Tile]) -> Iterator[Tile]:
        for tile in tiles:
            yield tile
            self.done += 1
            if self.report is not None:
                self.report(self.done, self.total)


def _generator(seed: int, *key: int) -> np.random.Generator:
    """Random numbers that depend on the seed and the key alone, alike on every platform."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


def _draw_tiles(seed: int, stream: int, count: int, size: int) -> Iterator[Tile]:
    start = _generator(seed, stream).random()
    for index in range(count):
        position = (start + index * GOLDEN_RATIO) % 1.0
        yield draw_tile(_generator(seed, stream, index), size, position)


def _draw_ids(rng: np.random.Generator, count: int) -> list[str]:
    """Distinct ids of ten hexadecimal digits, in the order drawn."""
    ids: dict[str, None] = {}  # a set that keeps its order
    while len(ids) < count:
        ids[f"{rng.integers(16**10):010x}"] = None
    return list(ids)


# Files


def _write_test(
    folder: Path, ids: list[str], tiles: Iterator[Tile], rng: np.random.Generator
) -> None:
    """Write the images for everyone and the masks for the demo alone."""
    with (
        atomic_path(folder / HIDDEN_TEST_MASKS) as hidden_path,
        zipfile.ZipFile(hidden_path, "w") as hidden,
    ):
        images = []
        for tile_id, tile in zip(ids, tiles, strict=True):
            images.append(_png(tile.image))
            _add(hidden, f"masks/{tile_id}.png", _mask_png(tile.mask, rng))
    with atomic_path(folder / "test.zip") as path, zipfile.ZipFile(path, "w") as archive:
        for tile_id, image in zip(ids, images, strict=True):
            _add(archive, f"images/{tile_id}.png", image)


def _write_train(
    folder: Path, ids: list[str], tiles: Iterator[Tile], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Write images and masks; return the masks, bool ``[N, H, W]``."""
    masks = []
    with atomic_path(folder / "train.zip") as path, zipfile.ZipFile(path, "w") as archive:
        for tile_id, tile in zip(ids, tiles, strict=True):
            _add(archive, f"images/{tile_id}.png", _png(_in_colour(tile.image, rng)))
            _add(archive, f"masks/{tile_id}.png", _mask_png(tile.mask, rng))
            masks.append(tile.mask)
    return np.stack(masks)


def _write_tables(
    folder: Path, ids: list[str], train_masks: NDArray[np.bool_], rng: np.random.Generator
) -> None:
    n_train = len(train_masks)
    mean, deviation, least, greatest = DEPTH_FEET
    depths = np.clip(np.rint(rng.normal(mean, deviation, len(ids))), least, greatest).astype(int)
    shuffled = rng.permutation(len(ids))  # as on Kaggle: tables can only be joined by id
    runs = encode_batch(train_masks)
    _write_csv(folder / "train.csv", "id,rle_mask", zip(ids[:n_train], runs, strict=True))
    _write_csv(folder / "depths.csv", "id,z", ((ids[row], depths[row]) for row in shuffled))
    _write_csv(
        folder / "sample_submission.csv", "id,rle_mask", ((test, "1 1") for test in ids[n_train:])
    )


def _write_csv(path: Path, header: str, rows: Iterable[tuple[str, object]]) -> None:
    write_text(path, "\n".join([header, *(f"{key},{value}" for key, value in rows)]) + "\n")


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Store one file without its time and with the same attributes on every system."""
    entry = zipfile.ZipInfo(name)  # dated 1980-01-01
    entry.create_system = 3  # Unix
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


# Pictures


def _in_colour(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Repeat the grey values for red, green and blue, now and then with an opaque alpha."""
    code = cv2.COLOR_GRAY2BGRA if rng.random() < RGBA_SHARE else cv2.COLOR_GRAY2BGR
    return np.asarray(cv2.cvtColor(image, code), dtype=np.uint8)


def _mask_png(mask: NDArray[np.bool_], rng: np.random.Generator) -> bytes:
    if rng.random() < EIGHT_BIT_SHARE:
        return _png(mask.astype(np.uint8) * np.uint8(255))
    return _png(mask.astype(np.uint16) * np.uint16(65535))


def _png(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    encoded, content = cv2.imencode(".png", pixels)
    if not encoded:
        raise DataError(f"a tile of shape {pixels.shape} could not be written as PNG")
    return bytes(content.tobytes())
