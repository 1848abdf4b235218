from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kaggle_salt.competition.archive import open_archive
from kaggle_salt.competition.decoding import BLOCK, MAX_FAULTS_SHOWN, Stack, decode
from kaggle_salt.competition.png import to_tile
from kaggle_salt.errors import DataError
from tests.makers import png, put

N = BLOCK + 2  # more than one block


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for row in range(N):
        mode = "RGB" if row % 2 else "L"
        put(tmp_path / f"train/images/{row}.png", png(np.full((4, 5), row, np.uint8), mode))
    return tmp_path


def fill(folder: Path) -> tuple[np.ndarray, dict[str, dict[str, int]], list[tuple[int, int]]]:
    out = np.zeros((N, 4, 5), np.uint8)
    told: list[tuple[int, int]] = []
    with open_archive(folder, "train") as archive:
        stack = Stack(archive, "images", [str(row) for row in range(N)], to_tile, out)
        modes = decode({"all": stack}, "0.png", lambda done, total: told.append((done, total)))
    return out, {name: dict(counts) for name, counts in modes.items()}, told


def test_rows_modes_and_progress(folder: Path) -> None:
    out, modes, told = fill(folder)
    assert (out == np.arange(N).reshape(N, 1, 1)).all()
    assert modes == {"all": {"L": N // 2, "RGB": N // 2}}
    assert told == [(BLOCK, N), (N, N)]


def test_one_fault_keeps_its_own_words(folder: Path) -> None:
    put(folder / "train/images/3.png", png(np.zeros((5, 4), np.uint8)))
    with pytest.raises(
        DataError, match=r"^train/images/3\.png has 5x4 pixels\nexpected: 4x5 pixels, as 0\.png"
    ):
        fill(folder)


def test_many_faults_are_named_together(folder: Path) -> None:
    for row in range(MAX_FAULTS_SHOWN + 3):
        put(folder / f"train/images/{row}.png", b"")
    with pytest.raises(DataError, match="truncated or damaged") as caught:
        fill(folder)
    lines = caught.value.found.splitlines()
    assert len(lines) == MAX_FAULTS_SHOWN + 1
    assert lines[0] == "train/images/0.png is truncated or damaged (0 bytes)"
    assert lines[-1] == "and 3 more files"
    assert caught.value.expected == "a whole PNG file"
