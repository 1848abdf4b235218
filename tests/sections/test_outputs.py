from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from kaggle_salt.sections.images import ImageSection
from kaggle_salt.sections.outputs import Outputs, draw_overlay, write_outputs


def test_the_overlay_tints_salt_and_draws_its_border() -> None:
    section = ImageSection(Path("a.png"), np.full((6, 7), 100, np.uint8))
    salt = np.zeros((6, 7), np.uint8)
    salt[1:, 2:6] = 255
    overlay = draw_overlay(section, salt)
    tint, yellow = [142, 138, 90], [240, 228, 66]
    assert overlay[0, 0].tolist() == [100, 100, 100]
    assert overlay[1, 3].tolist() == overlay[3, 2].tolist() == overlay[3, 5].tolist() == yellow
    assert overlay[3, 3].tolist() == tint
    assert overlay[5, 3].tolist() == tint  # salt goes on below the section


def test_three_pictures_are_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (300, 9, 3), dtype=np.uint8)
    levels = rng.integers(0, 256, (300, 9), dtype=np.uint8)
    files = Outputs.of(Path("lines/a.b.tif"), tmp_path / "new")
    assert [path.name for path in files] == [
        "a.b-mask.png", "a.b-probability.png", "a.b-overlay.png",
    ]  # fmt: skip
    section = ImageSection(Path("a.png"), colours)
    write_outputs(section, levels, levels > 200, files)
    assert np.array_equal(np.array(Image.open(files.mask)), (levels > 200) * np.uint8(255))
    assert np.array_equal(np.array(Image.open(files.probability)), levels)
    overlay = np.array(Image.open(files.overlay))
    assert np.array_equal(overlay[levels <= 200], colours[levels <= 200])
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(
        path.name for path in files
    )
