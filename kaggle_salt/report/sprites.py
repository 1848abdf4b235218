"""Sprite sheets: a hundred thumbnails in one picture, four pictures to a sheet of tiles.

The tiles are one picture, and three see-through ones lie over it: the truth, the probabilities
and the errors. The tiles are WebP, a third of JPEG's size and a tenth of PNG's for such pictures;
the others hold a few colours each, which is what indexed PNG is best at.
"""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_salt.report.facts import Gallery

#: Tiles of a sheet, side by side and below each other.
COLUMNS = 10
SHEET = COLUMNS * COLUMNS

#: Longest side of a thumbnail; larger tiles are made smaller.
LONGEST = 112

#: Pixels of a tile's own edge that are drawn again around it, for a browser that smooths a
#: thumbnail looks a little beyond it.
MARGIN = 1

#: Of the tiles, 0 to 100.
WEBP_QUALITY = 60

Colour = tuple[int, int, int, int]  # red, green, blue, opacity

TRUTH: Sequence[Colour] = ((0, 0, 0, 0), (86, 180, 233, 120))
#: Neither, then right, missed and false salt.
ERRORS: Sequence[Colour] = (
    (0, 0, 0, 0), (86, 180, 233, 115), (230, 159, 0, 165), (213, 40, 120, 165),
)  # fmt: skip
#: From probability 0, where the tile shows through, to 1; after them the outline of the mask.
HEAT_STEPS = 12
OUTLINE: Colour = (255, 255, 255, 255)


@dataclass(frozen=True)
class Sheets:
    """The sheets of a gallery.

    Args:
        sheets: For each its pictures ``tile``, ``truth``, ``prediction`` and ``error``: the kind
            of picture, and its bytes in base 64.
        height: Of a thumbnail, in pixels.
        width: Of a thumbnail, in pixels.
    """

    sheets: Sequence[dict[str, tuple[str, str]]]
    height: int
    width: int


def make_sheets(gallery: Gallery, order: NDArray[np.int64]) -> Sheets:
    """Draw the tiles of a gallery.

    Args:
        gallery: N tiles.
        order: int64 ``[N]``: the row that each place of the sheets shows.
    """
    height, width = _thumbnail_size(*gallery.truths.shape[1:])
    return Sheets(list(_sheets(gallery, order, height, width)), height, width)


def _sheets(
    gallery: Gallery, order: NDArray[np.int64], height: int, width: int
) -> Iterator[dict[str, tuple[str, str]]]:
    heat = _heat_colours()
    for start in range(0, len(order), SHEET):
        rows = order[start : start + SHEET]
        truth, mask = gallery.truths[rows], gallery.masks[rows]
        errors = np.select([truth & mask, truth, mask], [1, 2, 3], 0).astype(np.uint8)
        levels = np.rint(gallery.probabilities[rows] * ((HEAT_STEPS - 1) / 255)).astype(np.uint8)
        levels[_outlines(mask)] = HEAT_STEPS
        yield {
            "tile": ("image/webp", _webp(_sheet(gallery.images[rows], height, width, smooth=True))),
            "truth": ("image/png", _png(_sheet(truth.astype(np.uint8), height, width), TRUTH)),
            "prediction": ("image/png", _png(_sheet(levels, height, width), heat)),
            "error": ("image/png", _png(_sheet(errors, height, width), ERRORS)),
        }


def _thumbnail_size(height: int, width: int) -> tuple[int, int]:
    smaller = min(1.0, LONGEST / max(height, width))
    return max(1, round(height * smaller)), max(1, round(width * smaller))


def _heat_colours() -> list[Colour]:
    """From nothing over violet and orange to yellow; opaque enough to be seen on any grey."""
    stops = np.linspace(0, HEAT_STEPS - 1, 4)
    ramp = np.array(
        [(60, 15, 100, 0), (140, 30, 100, 150), (230, 100, 40, 200), (255, 224, 115, 230)]
    )
    parts = [np.interp(np.arange(HEAT_STEPS), stops, ramp[:, part]) for part in range(4)]
    colours = np.rint(np.stack(parts, axis=1)).astype(int).tolist()
    return [*((r, g, b, a) for r, g, b, a in colours), OUTLINE]


def _outlines(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of each mask beside one that is not, bool ``[N, H, W]``; a tile's edge is no side."""
    around = np.pad(masks, [(0, 0), (1, 1), (1, 1)], mode="edge")
    inner = around[:, :-2, 1:-1] & around[:, 2:, 1:-1] & around[:, 1:-1, :-2] & around[:, 1:-1, 2:]
    return masks & ~inner


def _sheet(
    tiles: NDArray[np.uint8], height: int, width: int, *, smooth: bool = False
) -> NDArray[np.uint8]:
    """Lay out up to a hundred tiles ``[n, H, W, ...]``; those that lack are black, or 0."""
    if tiles.shape[1:3] != (height, width):
        how = cv2.INTER_AREA if smooth else cv2.INTER_NEAREST
        resized = [cv2.resize(tile, (width, height), interpolation=how) for tile in tiles]
        tiles = np.stack(resized).astype(np.uint8)
    rest = [(0, 0)] * (tiles.ndim - 3)
    tiles = np.pad(tiles, [(0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), *rest], mode="edge")
    rows = -(-len(tiles) // COLUMNS)
    full = np.zeros((rows * COLUMNS, *tiles.shape[1:]), dtype=np.uint8)
    full[: len(tiles)] = tiles
    _, high, wide, *colours = full.shape
    grid = full.reshape(rows, COLUMNS, high, wide, *colours).swapaxes(1, 2)
    return grid.reshape(rows * high, COLUMNS * wide, *colours)


def _webp(sheet: NDArray[np.uint8]) -> str:
    order = cv2.COLOR_GRAY2BGR if sheet.ndim == 2 else cv2.COLOR_RGB2BGR
    _, data = cv2.imencode(
        ".webp", cv2.cvtColor(sheet, order), [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY]
    )
    return b64encode(data.tobytes()).decode()


def _png(sheet: NDArray[np.uint8], colours: Sequence[Colour]) -> str:
    """An indexed PNG of 16 colours at most, each with its opacity.

    Source: Portable Network Graphics specification, third edition, W3C.
    """
    bits = next(bits for bits in (1, 2, 4) if len(colours) <= 1 << bits)
    height, width = sheet.shape
    per_byte = 8 // bits
    padded = np.pad(sheet, [(0, 0), (0, -width % per_byte)])
    packed = np.zeros((height, padded.shape[1] // per_byte), dtype=np.uint8)
    for place in range(per_byte):
        packed |= padded[:, place::per_byte] << (8 - bits * (place + 1))
    lines = np.pad(packed, [(0, 0), (1, 0)])  # filter 0 before each line: taken as it is
    palette = np.array(colours, dtype=np.uint8)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, content)
        for kind, content in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 3, 0, 0, 0)),
            (b"PLTE", palette[:, :3].tobytes()),
            (b"tRNS", palette[:, 3].tobytes()),
            (b"IDAT", zlib.compress(lines.tobytes(), 9)),
            (b"IEND", b""),
        )
    )
    return b64encode(data).decode()


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
