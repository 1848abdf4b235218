"""The page of a comparison: whole in itself, escaped, with pictures that show what they say."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kaggle_salt.ensembling.comparing import paired, shake
from kaggle_salt.ensembling.comparison import ChangedTile, Comparison, Part, Rival, Standing
from kaggle_salt.errors import ConfigError
from kaggle_salt.report.comparison_page import (
    TilePicture,
    refuse_other_page,
    thumbnail,
    write_page,
)

DIFFERENCES = np.array([0.1, 0.0, 0.3])


def found(name: str = "better") -> Comparison:
    difference = paired(DIFFERENCES)
    changed = (ChangedTile("a1", 0, 0.25, 0.5, 0.8, 3),)
    rival = Rival(name, difference, None, shake(DIFFERENCES), changed, "yes, a gain")
    return Comparison(
        3, "threshold .5 for all", (Standing("base", 0.5, (0.4, 0.6)),
                                    Standing(name, 0.6, (0.5, 0.7))),
        (rival,), (Part("fold", "0", 3, (0.5, 0.6), (difference,)),), (), None, ("it is late",),
    )  # fmt: skip


def picture() -> TilePicture:
    """Truth is the upper row; the first finds its left pixel, the other the left column."""
    mask = np.zeros((2, 2), np.bool_)
    truth, first, other = mask.copy(), mask.copy(), mask.copy()
    truth[0], first[0, 0], other[:, 0] = True, True, True
    return TilePicture(np.full((2, 2), 100, np.uint8), truth, first, other)


def test_the_panels_show_what_is_found_missed_and_wrong() -> None:
    address = thumbnail(picture())
    head, _, content = address.partition(",")
    assert head == "data:image/png;base64"
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(content))))
    assert pixels.shape == (2, 4 * 2 + 3 * 4, 3)
    tile, truth, first, other = (pixels[:, n : n + 2] for n in (0, 6, 12, 18))
    assert (tile == 100).all()
    salt, missed, wrong = truth[0, 0], first[0, 1], other[1, 0]
    assert (truth[1] == 100).all()
    assert (first[0, 0] == salt).all()
    assert (other[0] == [salt, missed]).all()
    assert (first[1] == 100).all()
    assert salt[2] > salt[0], "light blue"
    assert missed[0] > missed[2], "yellow"
    assert wrong[0] > wrong[1] > wrong[2], "vermillion"


def test_a_page_needs_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    write_page(path, found(), {"better": [picture()]})
    page = path.read_text(encoding="utf-8")
    assert page.count("<img") == page.count("data:image/png;base64,") == 1
    assert "http" not in page
    assert 'alt="Tile a1: the tile, its true mask' in page
    for told in ("yes, a gain", "it is late", "6000 public", "fold: 0", "+0.1333 [+0.0"):
        assert told in page
    assert "undefined" not in page


def test_names_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(path, found("<b>&"), {"<b>&": [picture()]})
    page = path.read_text(encoding="utf-8")
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page


def test_only_a_page_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    refuse_other_page(path)
    write_page(path, found(), {"better": [picture()]})
    refuse_other_page(path)
    path.write_text("<!doctype html><p>mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="is no page of a comparison"):
        refuse_other_page(path)
    with pytest.raises(ConfigError, match="is no page of a comparison"):
        refuse_other_page(tmp_path)
