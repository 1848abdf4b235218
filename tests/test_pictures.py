"""The README's pictures of what can be seen: small, and shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.pictures import LIMIT, PICTURES, WIDTH, save, stacked

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_small_and_shown(name: str) -> None:
    path = ROOT / f"docs/{name}.png"
    assert path.stat().st_size <= LIMIT
    with Image.open(path) as picture:
        assert picture.width <= WIDTH
    assert f"](docs/{name}.png)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_picture_gets_the_colours_that_the_limit_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.pictures.WIDTH", 60)
    monkeypatch.setattr("benchmarks.pictures.LIMIT", 700)
    ramp = np.tile(np.arange(120, dtype=np.uint8), (20, 1))
    save(Image.fromarray(ramp), tmp_path / "ramp.png")
    with Image.open(tmp_path / "ramp.png") as saved:
        assert (saved.mode, saved.size) == ("P", (60, 10))
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"noise\.png has \d+ bytes in 16 colours, over 700"):
        save(Image.fromarray(noise), tmp_path / "noise.png")
    assert not (tmp_path / "noise.png").exists()


def test_pictures_are_stacked() -> None:
    sheet = stacked([Image.new("L", (4, 2), 7), Image.new("RGB", (3, 5))], gap=1)
    assert sheet.size == (4, 8)
    assert [sheet.getpixel((0, row)) for row in (1, 2, 3)] == [(7,) * 3, (255,) * 3, (0,) * 3]
