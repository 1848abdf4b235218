from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kaggle_salt.competition.decoding import BLOCK, Decoded, Form, decode, guess_form
from kaggle_salt.competition.faults import Sort
from kaggle_salt.competition.source import Source, open_source
from tests.makers import jpeg, png, put

N = BLOCK + 2  # more than one block
GREY = Form((4, 5), coloured=False, example="train/00.png")
COLOURED = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Flat training tiles of one level each, with full and empty masks in turn."""
    for row in range(N):
        mode = "RGB" if row % 2 else "L"
        put(tmp_path / f"train/{row:02}.png", png(np.full((4, 5), row, np.uint8), mode))
        put(tmp_path / f"masks/{row:02}.png", png(np.full((4, 5), 255 * (row % 2), np.uint8)))
    return tmp_path


@pytest.fixture
def source(folder: Path) -> Iterator[Source]:
    with open_source(folder) as opened:
        yield opened


def fill(source: Source, form: Form = GREY) -> tuple[dict[str, np.ndarray], Decoded, list[int]]:
    arrays = {
        "images": np.zeros((N, *form.tile_shape), np.uint8),
        "masks": np.zeros((N, *form.shape), np.bool_),
        "test": np.zeros((0, *form.tile_shape), np.uint8),
    }
    told: list[int] = []

    def progress(done: int, total: int) -> None:
        assert total == 2 * N
        told.append(done)

    return arrays, decode(source, form, arrays, progress), told


def test_rows_modes_and_progress(source: Source) -> None:
    arrays, met, told = fill(source)
    assert (arrays["images"] == np.arange(N).reshape(N, 1, 1)).all()
    assert (arrays["masks"] == (np.arange(N) % 2 == 1).reshape(N, 1, 1)).all()
    assert met.modes == {"images": {"L": N // 2, "RGB": N // 2}, "masks": {"L": N}, "test": {}}
    assert met.mask_levels == {0: N // 2, 255: N // 2}
    assert met.faults == []
    assert met.form == GREY
    assert told == [BLOCK, N, N + BLOCK, 2 * N]


def test_faults_are_collected_and_their_rows_are_lost(folder: Path, source: Source) -> None:
    put(folder / "train/03.png", png(np.zeros((5, 4), np.uint8)))
    put(folder / "train/65.png", b"")
    put(folder / "masks/07.png", png(np.full((4, 5), 9, np.uint8)))
    _, met, _ = fill(source)
    assert [(fault.sort, fault.tiles, fault.found) for fault in met.faults] == [
        (Sort.SIZE, ("03",), "train/03.png has 5x4 pixels"),
        (Sort.UNREADABLE, ("65",), "train/65.png is truncated or damaged (0 bytes)"),
        (Sort.MASK_LEVELS, ("07",), "mask masks/07.png has the grey levels 9"),
    ]
    assert met.faults[0].expected == "4x5 pixels, as train/00.png"
    assert met.lost == {"images": {"03", "65"}, "masks": {"07"}, "test": set()}
    assert met.form == GREY


def test_the_size_of_most_images_counts(folder: Path, source: Source) -> None:
    for row in (0, 8, 16):
        put(folder / f"train/{row:02}.png", png(np.zeros((9, 9), np.uint8)))
    assert guess_form(source).shape == (4, 5)
    _, met, _ = fill(source, Form((9, 9), coloured=False, example="train/00.png"))
    assert met.form == Form((4, 5), coloured=False, example="train/01.png")


def test_a_coloured_tile_ends_the_work_at_once(folder: Path, source: Source) -> None:
    put(folder / "train/05.png", png(COLOURED, "RGB"))
    _, met, told = fill(source)
    assert told == []
    assert met.form.coloured
    arrays, met, _ = fill(source, Form((4, 5), coloured=True, example=""))
    assert (arrays["images"][5] == COLOURED).all()
    assert (arrays["images"][6] == 6).all()
    assert met.coloured == 1


def test_a_form_is_guessed_of_whole_files(folder: Path, source: Source) -> None:
    for row in range(N):
        put(folder / f"train/{row:02}.png", b"")
    assert guess_form(source) == Form((1, 1), coloured=False, example="")


def test_threshold_makes_masks_of_grey_values(folder: Path) -> None:
    put(folder / "salt-data.toml", b"mask_threshold = 100\n")
    for row in range(N):
        levels = np.array([[0, 90, 99, 110, 255]] * 4, np.uint8)
        put(folder / f"masks/{row:02}.png", (jpeg if row % 2 else png)(levels))
    with open_source(folder) as source:
        arrays, met, _ = fill(source)
    assert met.faults == []
    assert met.mask_levels == {}
    assert (arrays["masks"][0] == [False, False, False, True, True]).all()
    assert arrays["masks"][1][:, -1].all()
