"""Tiles in memory-mapped files are gone through without staying in memory.

Measured as Linux counts it: a page of a mapped file is resident from the first access until it
is released.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.fold_files import read_folds, write_folds
from kaggle_salt.competition.folds import make_folds
from kaggle_salt.competition.postprocess import TileContext
from kaggle_salt.competition.submission import write_submission
from kaggle_salt.competition.tiles import Competition, is_blank
from kaggle_salt.config.schema import InferenceConfig, InputConfig
from kaggle_salt.ensembling.thresholds import search
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import predict
from kaggle_salt.predictions import Predictions, create
from tests.makers import png, put, write_table

TILES, SIDE = 1200, 256
BYTES = TILES * SIDE**2

#: What the work itself may take, blocks of tiles above all: half of what the tiles would.
ALLOWED = BYTES // 2

PEAK_RESET = Path("/proc/self/clear_refs")

pytestmark = pytest.mark.skipif(
    not os.access(PEAK_RESET, os.W_OK), reason=f"{PEAK_RESET} is needed to measure a peak"
)


def peak_growth(work: Callable[[], object]) -> int:
    """Bytes of memory in use during the work, at its peak, beyond those before it."""
    PEAK_RESET.write_text("5", encoding="ascii")
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (found,) = (line for line in lines if line.startswith(f"{field}:"))
    return 1024 * int(found.split()[1])


@dataclass(frozen=True)
class Mapped:
    """Empty masks and zeros, mapped from files, and a folder to write to."""

    folder: Path
    ids: tuple[str, ...]
    masks: NDArray[np.bool_]
    values: NDArray[np.uint8]

    def first(self, tiles: int) -> Mapped:
        return Mapped(self.folder, self.ids[:tiles], self.masks[:tiles], self.values[:tiles])


@pytest.fixture
def mapped(tmp_path: Path) -> Mapped:
    shape = (TILES, SIDE, SIDE)
    for name, dtype in (("masks", np.bool_), ("values", np.uint8)):
        np.lib.format.open_memmap(tmp_path / name, mode="w+", dtype=dtype, shape=shape)  # type: ignore[no-untyped-call]
    masks, values = (np.load(tmp_path / name, mmap_mode="r") for name in ("masks", "values"))
    return Mapped(tmp_path, tuple(f"tile{n:04}" for n in range(TILES)), masks, values)


def check_folds(mapped: Mapped) -> None:
    write_folds(mapped.folder / "folds.csv", make_folds(mapped.ids, mapped.masks))
    read_folds(mapped.folder / "folds.csv", mapped.ids, mapped.masks)


def submit(mapped: Mapped) -> None:
    write_submission(
        mapped.folder / "one.csv", Predictions(mapped.ids, mapped.values), mapped.ids[::-1],
        rule=Rule(127, 10, ("blank-empty",)), manifest={}, overwrite=True,
        tiles=TileContext(mapped.ids[::-1], mapped.values),
    )  # fmt: skip


def infer(mapped: Mapped) -> None:
    with create(mapped.folder / "new", mapped.ids, (SIDE, SIDE), {}) as out:
        predict(
            [torch.nn.Conv2d(1, 1, 1)], mapped.values, out,
            framing=Framing((SIDE, SIDE), InputConfig(size=SIDE)),
            compute=Compute(torch.device("cpu")),
            config=InferenceConfig(batch_size=4),
        )  # fmt: skip


@pytest.mark.parametrize(
    "work",
    [
        check_folds,
        lambda mapped: search(mapped.masks, mapped.values),
        lambda mapped: is_blank(mapped.values),
        submit,
        infer,
    ],
    ids=["folds", "decision", "blank tiles", "submission", "inference"],
)
def test_mapped_tiles_do_not_stay_in_memory(
    work: Callable[[Mapped], object], mapped: Mapped
) -> None:
    work(mapped.first(5))  # what is loaded and set up once does not count
    assert peak_growth(lambda: work(mapped)) < ALLOWED


def test_tiles_that_stay_would_be_noticed(mapped: Mapped) -> None:
    assert peak_growth(lambda: mapped.values.max()) > 0.9 * BYTES


def test_first_opening_does_not_keep_what_it_decodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)  # each thread has a block of tiles at hand
    black = png(np.zeros((SIDE, SIDE), np.uint8))
    ids = [f"tile{n:04}" for n in range(TILES // 3)]
    for folder in ("train/images", "train/masks", "test/images"):
        for tile in ids:
            put(tmp_path / folder / f"{tile}.png", black)
    for table in ("train.csv", "sample_submission.csv"):
        write_table(tmp_path / table, "id,rle_mask", [(tile, "") for tile in ids])
    assert peak_growth(lambda: Competition.open(tmp_path)) < ALLOWED
