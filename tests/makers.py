"""Tiny competitions in Kaggle's own files, for tests."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Folders of training images, masks and test images, as Kaggle has them.
PLACES = ("train/images", "train/masks", "test/images")


@dataclass(frozen=True)
class TinyCompetition:
    """What :func:`write_competition` wrote: the values a reader should find."""

    path: Path
    ids: tuple[str, ...]
    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    depths: NDArray[np.float64]
    test_ids: tuple[str, ...]
    test_images: NDArray[np.uint8]
    test_depths: NDArray[np.float64]


def write_competition(
    folder: Path,
    *,
    n_train: int = 6,
    n_test: int = 3,
    shape: tuple[int, int] = (8, 8),
    zipped: bool = False,
    image_mode: str = "L",
    mask_mode: str = "L",
    coloured: bool = False,
    suffix: str = ".png",
    salt_level: int = 255,
    flat: bool = False,
    tables: bool = True,
    seed: int = 0,
) -> TinyCompetition:
    """Write a competition with random tiles; every third mask is empty.

    The tables name the tiles in another order than the files sort in.

    Args:
        folder: Where it goes.
        n_train: Number of training tiles.
        n_test: Number of test tiles; 0 leaves out the sample submission too.
        shape: Of a tile.
        zipped: Pack the folders, as Kaggle does.
        image_mode: One of Pillow's modes.
        mask_mode: Likewise.
        coloured: Red, green and blue are drawn each for itself; ``image_mode`` is RGB then.
        suffix: Of training and test tiles: ``.png`` or one of JPEG's.
        salt_level: The level of salt in a mask's file.
        flat: ``train/``, ``train_masks/`` and ``test/`` without folders in them.
        tables: Without them ids are in alphabetical order, and depths unknown.
        seed: Of everything random.
    """
    rng = np.random.default_rng(seed)
    ids = tuple(f"tile{n:03d}" for n in rng.permutation(n_train))
    test_ids = tuple(f"test{n:03d}" for n in rng.permutation(n_test))
    if not tables:
        ids, test_ids = tuple(sorted(ids)), tuple(sorted(test_ids))
    tile_shape = (*shape, 3) if coloured else shape
    images = rng.integers(0, 256, (n_train, *tile_shape), dtype=np.uint8)
    test_images = rng.integers(0, 256, (n_test, *tile_shape), dtype=np.uint8)
    if image_mode == "1":
        images, test_images = images // 128 * 255, test_images // 128 * 255
    masks = np.zeros((n_train, *shape), dtype=np.bool_)
    for row in range(n_train):
        if row % 3:
            masks[row, int(rng.integers(shape[0])) :, int(rng.integers(shape[1])) :] = True
    depths = rng.integers(50, 950, n_train).astype(np.float64)
    test_depths = rng.integers(50, 950, n_test).astype(np.float64)
    places = ("train", "train_masks", "test") if flat else PLACES
    mode, encode = "RGB" if coloured else image_mode, png if suffix.lower() == ".png" else jpeg
    for tile, image, mask in zip(ids, images, masks, strict=True):
        put(folder / places[0] / f"{tile}{suffix}", encode(image, mode))
        levels = mask.astype(np.uint8) * np.uint8(salt_level)
        put(folder / places[1] / f"{tile}.png", png(levels, mask_mode))
    for tile, image in zip(test_ids, test_images, strict=True):
        put(folder / places[2] / f"{tile}{suffix}", encode(image, mode))
    if zipped:
        for root in sorted({place.split("/")[0] for place in places[: 3 if n_test else 2]}):
            pack(folder, root)
    if not tables:
        unknown = np.full(n_train, np.nan), np.full(n_test, np.nan)
        return TinyCompetition(
            folder, ids, images, masks, unknown[0], test_ids, test_images, unknown[1]
        )
    write_table(folder / "train.csv", "id,rle_mask", zip(ids, map(rle, masks), strict=True))
    all_depths = [*zip(ids, depths, strict=True), *zip(test_ids, test_depths, strict=True)]
    write_table(folder / "depths.csv", "id,z", [(tile, f"{z:.0f}") for tile, z in all_depths])
    if n_test:
        sample = [(tile, "1 1") for tile in test_ids]
        write_table(folder / "sample_submission.csv", "id,rle_mask", sample)
    return TinyCompetition(folder, ids, images, masks, depths, test_ids, test_images, test_depths)


def jpeg(levels: NDArray[np.uint8], mode: str = "L") -> bytes:
    """Encode uint8 levels ``[H, W]`` or ``[H, W, 3]`` as a JPEG, which keeps them only nearly."""
    out = io.BytesIO()
    Image.fromarray(levels).convert(mode).save(out, format="JPEG", quality=95)
    return out.getvalue()


def png(levels: NDArray[np.uint8], mode: str = "L") -> bytes:
    """Encode uint8 levels, grey ``[H, W]`` or coloured ``[H, W, 3]``, as a PNG of Pillow's mode."""
    grey = Image.fromarray(levels)
    if mode == "I;16":
        picture = Image.fromarray(levels.astype(np.uint16) * 257)
    elif mode == "1":
        picture = grey.point(lambda level: 255 if level > 127 else 0).convert("1")
    else:
        picture = grey.convert(mode)
    out = io.BytesIO()
    picture.save(out, format="PNG")
    return out.getvalue()


def put(path: Path, data: bytes) -> Path:
    """Write a file and the folders it needs; give its path back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def write_table(path: Path, header: str, rows: Iterable[Sequence[str]]) -> None:
    """Write rows of text under a header, with commas."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header, *(",".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def pack(folder: Path, split: str, *, inside: str = "") -> Path:
    """Turn an unpacked folder, as ``train``, into a zip, as Kaggle has it, and remove it."""
    files = sorted((folder / split).rglob("*.*"))
    with zipfile.ZipFile(folder / f"{split}.zip", "w") as packed:
        for file in files:
            packed.write(file, inside + file.relative_to(folder / split).as_posix())
            file.unlink()
    for kind in (folder / split).iterdir():
        kind.rmdir()
    (folder / split).rmdir()
    return folder / f"{split}.zip"


def rle(mask: NDArray[np.bool_]) -> str:
    """Run lengths the slow way: walk down the columns, pixel by pixel."""
    words: list[str] = []
    run = 0
    pixels = [*mask.T.ravel().tolist(), False]
    for number, salt in enumerate(pixels, start=1):
        if salt:
            run += 1
        elif run:
            words += [str(number - run), str(run)]
            run = 0
    return " ".join(words)
