"""What the items work on: a competition of any size, and probabilities that look predicted."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kaggle_salt.predictions import blocks, create
from kaggle_salt.synthetic.kaggle_files import write_demo_competition

#: Different tiles of a synthetic competition; drawing one takes far longer than decoding it.
DRAWN = 300


def write_competition(folder: Path, n_train: int, n_test: int, side: int) -> None:
    """Write a synthetic competition with tiles of ``side`` pixels squared, its zips stored.

    Up to :data:`DRAWN` tiles of each kind are drawn and repeated under other ids.
    """
    drawn = folder.with_name(folder.name + "-drawn")
    write_demo_competition(drawn, n_train=min(n_train, DRAWN), n_test=min(n_test, DRAWN), size=side)
    folder.mkdir()
    train_ids = [f"train{number:05d}" for number in range(n_train)]
    test_ids = [f"test{number:05d}" for number in range(n_test)]
    _repeat_tiles(drawn / "train.csv", folder, "train.zip", train_ids)
    _repeat_tiles(drawn / "sample_submission.csv", folder, "test.zip", test_ids)
    depths = pd.DataFrame({"id": train_ids + test_ids, "z": 500})
    depths.to_csv(folder / "depths.csv", index=False)


def _repeat_tiles(table: Path, folder: Path, archive: str, ids: list[str]) -> None:
    """Write a table and its zip again with the rows and tiles repeated under new ids."""
    drawn = pd.read_csv(table, dtype=str, keep_default_na=False)
    repeated = drawn.iloc[np.arange(len(ids)) % len(drawn)]
    repeated.assign(id=ids).to_csv(folder / table.name, index=False)
    with (
        zipfile.ZipFile(table.with_name(archive)) as source,
        zipfile.ZipFile(folder / archive, "w") as target,
    ):
        files = {name: source.read(name) for name in source.namelist()}
        kinds = sorted({name.partition("/")[0] for name in files})
        for tile, drawn_tile in zip(ids, repeated["id"], strict=True):
            for kind in kinds:
                target.writestr(f"{kind}/{tile}.png", files[f"{kind}/{drawn_tile}.png"])


def write_predictions(stem: Path, ids: Sequence[str], masks: NDArray[np.bool_]) -> None:
    """Write likely probabilities of the masks, bool ``[N, H, W]``, again and again for all ids."""
    with create(stem, ids, masks.shape[1:], {}) as out:
        for block in blocks(out):
            rows = np.arange(len(ids))[block] % len(masks)
            out[block] = likely_probabilities(masks[rows], seed=block.start)


def likely_probabilities(truth: NDArray[np.bool_], seed: int = 0) -> NDArray[np.uint8]:
    """Probabilities as of a trained network: unsure along the boundary, wrong in places.

    Uint8 of the masks' shape ``[N, H, W]``; probability = value / 255. The same at every call.
    """
    rng = np.random.default_rng(seed)
    out = np.empty(truth.shape, dtype=np.uint8)
    height, width = truth.shape[1:]
    for row, mask in enumerate(truth):
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3.0)
        doubt = rng.standard_normal((6, 6), dtype=np.float32)
        field = cv2.resize(doubt, (width, height), interpolation=cv2.INTER_CUBIC)
        out[row] = np.clip(255 * soft + 50 * field, 0, 255)
    return out
