"""A finished fold's predictions of the test tiles: made in one go, or block by block by several.

A block is some batches, those that the whole has, too: so its bits are the same, whoever predicts
it. Each is an artefact of its own, in a folder that goes once the whole is written.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from kaggle_salt import predictions
from kaggle_salt.config.schema import Config
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.fold import final_framing, load_networks, read_summary
from kaggle_salt.learning.inference import Progress, predict
from kaggle_salt.runs import FoldFolder

#: Batches of a block: few are lost with a process, and writing them costs little beside them.
BATCHES = 8

#: What a manifest says of the number format; the last where blocks were predicted in several.
FORMATS = ("bf16", "float16", "several_formats")


@dataclass(frozen=True, eq=False)
class FoldOnTest:
    """The test tiles, and a finished fold that is to predict them.

    Args:
        config: The run's configuration.
        folder: A finished fold.
        ids: Test ids, in the order of ``tiles``.
        tiles: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``, may be memory-mapped.
        data_hash: Hash of the competition's data.
        compute: Device and number format.
        any_format: Take predictions that were made in another number format, too.
        tell: Told of predictions that are damaged and have to be made again.
    """

    config: Config
    folder: FoldFolder
    ids: Sequence[str]
    tiles: NDArray[np.uint8]
    data_hash: str
    compute: Compute
    any_format: bool = False
    tell: Callable[[str], None] = lambda text: None

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return manifest_of_test(self.config, self.folder, self.data_hash, self.compute)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a tile, in pixels."""
        height, width = self.tiles.shape[1:3]
        return height, width

    @cached_property
    def blocks(self) -> list[slice]:
        """Whole batches, and all tiles together."""
        total, step = len(self.tiles), BATCHES * self.config.inference.batch_size
        return [slice(start, min(start + step, total)) for start in range(0, total, step)]

    @property
    def made(self) -> Path:
        """Folder of the blocks; it goes when the whole is written."""
        return self.folder.test.with_suffix(".blocks")

    def stem(self, block: slice) -> Path:
        """Where a block lies; see :mod:`kaggle_salt.predictions`."""
        return self.made / f"{block.start:06d}"

    def whole(self) -> predictions.Predictions | None:
        """The predictions of all tiles, if they are there and made of the same."""
        return self._same(self.folder.test, self.ids)

    def block(self, block: slice) -> predictions.Predictions | None:
        """Those of a block."""
        return self._same(self.stem(block), self.ids[block])

    def missing(self, blocks: Sequence[slice]) -> list[slice]:
        """Those of some blocks that are still to be predicted."""
        if self.whole() is not None:
            return []
        return [block for block in blocks if self.block(block) is None]

    def _same(self, stem: Path, ids: Sequence[str]) -> predictions.Predictions | None:
        wanted = self.manifest
        if self.any_format:
            told = predictions.stated_manifest(stem)
            wanted = {key: value for key, value in wanted.items() if key not in FORMATS}
            wanted |= {key: told[key] for key in FORMATS if key in told}
        return predictions.load_same(stem, ids, wanted, self.tell)


def predict_test(fold: FoldOnTest, progress: Progress | None = None) -> predictions.Predictions:
    """Predict the test tiles with a finished fold, or take the predictions that are there.

    They are taken from disk if weights, data, input, augmentation and number format are the same;
    so are blocks of them.

    Args:
        fold: What is to be predicted, and by which fold.
        progress: Called with (tiles done, tiles in all).

    Returns:
        Memory-mapped predictions.
    """
    made = fold.whole()
    if made is not None:
        return made
    there = [fold.block(block) for block in fold.blocks]
    ready = [one.manifest for one in there if one is not None]
    lacks = len(ready) < len(there)
    networks = load_networks(fold.config, fold.folder, fold.compute) if lacks else []
    manifest = _common([fold.manifest, *ready] if lacks else ready)
    with predictions.create(fold.folder.test, fold.ids, fold.size, manifest) as out:
        for block, one in zip(fold.blocks, there, strict=True):
            if one is None:
                bar = _after(block.start, len(fold.tiles), progress)
                _predict(fold, networks, block, out[block], bar)
            else:
                out[block] = one.probabilities
    shutil.rmtree(fold.made, ignore_errors=True)
    return predictions.load(fold.folder.test)


def _common(manifests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is true of all: they differ in the number format alone, if at all."""
    first, *others = manifests
    same = all(one.get(key) == first.get(key) for one in others for key in FORMATS)
    return dict(first) if same else {**first, "several_formats": True}


def predict_blocks(
    fold: FoldOnTest, blocks: Sequence[slice], progress: Progress | None = None
) -> None:
    """Predict those of some blocks that are missing, for :func:`predict_test` to take.

    Args:
        fold: What is to be predicted, and by which fold.
        blocks: Of its own.
        progress: Called with (tiles done, tiles of the missing blocks).
    """
    missing = fold.missing(blocks)
    if not missing:
        return
    networks = load_networks(fold.config, fold.folder, fold.compute)
    done, total = 0, sum(block.stop - block.start for block in missing)
    for block in missing:
        ids = fold.ids[block]
        with predictions.create(fold.stem(block), ids, fold.size, fold.manifest) as out:
            _predict(fold, networks, block, out, _after(done, total, progress))
        done += len(ids)


def _after(start: int, total: int, progress: Progress | None) -> Progress | None:
    """Tells of tiles of a block as of some among all."""
    return progress and (lambda done, _: progress(start + done, total))


def _predict(
    fold: FoldOnTest,
    networks: Sequence[nn.Module],
    block: slice,
    out: NDArray[np.uint8],
    progress: Progress | None,
) -> None:
    predict(
        networks, fold.tiles[block], out, framing=final_framing(fold.config, fold.size),
        compute=fold.compute, config=fold.config.inference, progress=progress,
    )  # fmt: skip


def manifest_of_test(
    config: Config, folder: FoldFolder, data_hash: str, compute: Compute
) -> dict[str, Any]:
    """What decides a finished fold's predictions of the test tiles, as their manifest has it."""
    return {
        "kind": "test",
        "fold": folder.fold,
        "weights_hash": read_summary(folder).weights_hash,
        "data_hash": data_hash,
        "input": {**config.input.model_dump(), "shrink": config.stage[-1].shrink},
        "tta": config.inference.tta,
        "bf16": compute.precision == "bf16",
        # predictions made before there was float16 stay what they are
        **({"float16": True} if compute.precision == "float16" else {}),
    }
