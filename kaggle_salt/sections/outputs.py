"""What is written of a predicted section: its mask, its probabilities, and both to look at."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_salt.sections.tiling import Section
from kaggle_salt.storage.files import atomic_path

#: Salt in an overlay: Okabe and Ito's yellow, which stands out from grey, dark or light.
YELLOW = np.array([240, 228, 66], dtype=np.float32)

#: How much of a pixel of salt is yellow; the mask's border is all yellow.
TINT = 0.3

#: Rows of an overlay that are made at once.
_ROWS = 256


class Outputs(NamedTuple):
    """The files of a picture.

    Args:
        mask: Grey PNG, salt 255 and all else 0.
        probability: Grey PNG, probability = level / 255.
        overlay: Coloured PNG, the picture with its salt tinted and outlined.
    """

    mask: Path
    probability: Path
    overlay: Path

    @classmethod
    def of(cls, picture: Path, out: Path) -> Self:
        """Where the results of a picture go."""
        return cls(*(out / f"{picture.stem}-{kind}.png" for kind in cls._fields))


def write_outputs(
    section: Section, probabilities: NDArray[np.uint8], mask: NDArray[np.bool_], files: Outputs
) -> None:
    """Write the three pictures, each atomically.

    Args:
        section: What was predicted.
        probabilities: uint8 ``[H, W]``, probability = value / 255.
        mask: bool ``[H, W]``.
        files: Where they go.
    """
    salt = mask.view(np.uint8) * np.uint8(255)
    _write_png(files.mask, salt)
    _write_png(files.probability, probabilities)
    _write_png(files.overlay, draw_overlay(section, salt)[..., ::-1])  # OpenCV's blue comes first


def draw_overlay(section: Section, salt: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A section with its salt tinted, and outlined by a line one pixel wide within it.

    Args:
        section: What was predicted.
        salt: uint8 ``[H, W]``, 255 where there is salt, else 0.

    Returns:
        uint8 ``[H, W, 3]``: red, green, blue.
    """
    border = salt != cv2.erode(salt, np.ones((3, 3), np.uint8))
    overlay = np.empty((*salt.shape, 3), dtype=np.uint8)
    for start in range(0, len(salt), _ROWS):
        rows = slice(start, min(start + _ROWS, len(salt)))
        pixels = section.rows(rows.start, rows.stop)
        colours = overlay[rows]
        colours[:] = pixels if section.coloured else pixels[..., np.newaxis]
        inside = salt[rows] > 0
        colours[inside] = np.rint((1 - TINT) * colours[inside] + TINT * YELLOW)
        colours[border[rows]] = YELLOW
    return overlay


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    _, data = cv2.imencode(".png", pixels)
    with atomic_path(path, tidy=False) as temporary:  # one of many
        temporary.write_bytes(data.tobytes())
