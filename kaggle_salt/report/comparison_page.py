"""A comparison as one HTML file: its tables, and pictures of the tiles that changed most.

The file needs no other and no network. Every picture is a PNG within it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from kaggle_salt.ensembling.comparison import Comparison, interval_words
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.report.drawing import VERMILLION
from kaggle_salt.report.grid import TRUTH_COLOUR
from kaggle_salt.storage.files import write_text

#: How a page of ours begins: another file is not replaced by one.
MARK = "<!doctype html><!-- salt compare -->"

#: Okabe and Ito's yellow: salt that was missed.
MISSED = "#F0E442"

#: Blank pixels between the panels of a picture.
_GAP = 4

#: How strongly a mask tints its tile.
_TINT = 0.5


@dataclass(frozen=True, eq=False)
class TilePicture:
    """A tile and three masks of it.

    Args:
        image: uint8 ``[H, W]`` or ``[H, W, 3]``.
        truth: bool ``[H, W]``.
        first: bool ``[H, W]``, as the first predicts it.
        other: bool ``[H, W]``, as the other does.
    """

    image: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    first: NDArray[np.bool_]
    other: NDArray[np.bool_]


def refuse_other_page(path: Path) -> None:
    """Refuse to replace a file that is no such page.

    Raises:
        ConfigError: One is there.
    """
    if path.is_dir() or (path.exists() and not path.read_bytes().startswith(MARK.encode())):
        raise ConfigError(
            f"{path} is there already and is no page of a comparison",
            expected="a name that is free, or a page to replace",
            next_step="--html ANOTHER.html",
        )


def write_page(
    path: Path, found: Comparison, pictures: Mapping[str, Sequence[TilePicture]]
) -> None:
    """Write the page.

    Args:
        path: The file; a page that is there is replaced.
        found: What the comparison found.
        pictures: For each rival, those of its changed tiles, in their order.
    """
    environment = Environment(
        loader=PackageLoader("kaggle_salt.report"), autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["difference"] = lambda one: interval_words(one.difference, one.interval)
    thumbnails = {name: [thumbnail(one) for one in these] for name, these in pictures.items()}
    template = environment.get_template("comparison.html")
    page = template.render(
        found=found, thumbnails=thumbnails, missed=MISSED, wrong=VERMILLION, truth=TRUTH_COLOUR
    )
    write_text(path, MARK + "\n" + page)


def thumbnail(picture: TilePicture) -> str:
    """Four panels side by side, as the address of a PNG that holds itself.

    The tile; its true mask; and by the first and by the other what is wrong with theirs: salt
    that is none, and salt that is missed.
    """
    height = picture.image.shape[0]
    gap = np.full((height, _GAP, 3), 128, dtype=np.uint8)
    grey = picture.image if picture.image.ndim == 3 else np.repeat(picture.image[..., None], 3, -1)
    panels = [grey, gap, _tinted(grey, picture.truth, TRUTH_COLOUR)]
    for mask in (picture.first, picture.other):
        right = _tinted(grey, mask & picture.truth, TRUTH_COLOUR)
        missed = _tinted(right, picture.truth & ~mask, MISSED)
        panels += [gap, _tinted(missed, mask & ~picture.truth, VERMILLION)]
    encoded, content = cv2.imencode(".png", np.concatenate(panels, axis=1)[..., ::-1])
    if not encoded:
        raise DataError(f"a picture of {height} pixels' height could not be written as PNG")
    return "data:image/png;base64," + base64.b64encode(content.tobytes()).decode()


def _tinted(image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: str) -> NDArray[np.uint8]:
    tinted = image.copy()
    paint = 255 * np.array(to_rgb(colour))
    tinted[mask] = np.rint((1 - _TINT) * image[mask] + _TINT * paint).astype(np.uint8)
    return tinted
