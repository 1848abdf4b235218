"""What the first bytes of a picture say: its format, its size, and what else is in the file."""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kaggle_salt.errors import DataError

#: A file's bytes, read or mapped.
Bytes = bytes | mmap.mmap

#: Next step for a picture that cannot be used.
ANOTHER_FILE = "mend it, save it as PNG, or leave it out"

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_PNG_WITH_ALPHA = (4, 6)  # colour types (PNG, section 11.2.2)

#: Start of a JPEG's frame: marker, length, bits, height, width (ITU T.81, B.2.2).
_FRAME = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]..\x08(..)(..)", re.DOTALL)

#: Byte order of a TIFF, as struct writes it, by its first bytes (TIFF 6.0, section 2).
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_TIFF_TYPES = {1: "B", 3: "H", 4: "I"}  # byte, short and long: what the tags below are made of
_WIDTH, _HEIGHT, _BITS, _EXTRA, _FORMAT = 256, 257, 258, 338, 339
_PLACES = ((273, 279), (324, 325))  # offsets and lengths of strips, and of tiles


@dataclass(frozen=True)
class Header:
    """A picture that has not been decoded.

    Args:
        format: How it is written.
        height: In pixels.
        width: In pixels.
        alpha: Whether it says how transparent its pixels are.
        pages: Pictures in the file, 2 standing for more than one.
    """

    format: Literal["PNG", "JPEG", "TIFF"]
    height: int
    width: int
    alpha: bool = False
    pages: int = 1


def read_header(path: Path) -> Header:
    """Tell what a picture is; only the bytes that say so are read.

    Raises:
        DataError: The file is no PNG, JPEG or TIFF, or its header is damaged.
    """
    header = None
    if path.stat().st_size:  # an empty file cannot be mapped
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            header = _header_of(data, str(path))
    if header is None or not (header.height and header.width):
        raise DataError(
            f"{path} is no image, or its beginning is damaged",
            expected="a PNG, a JPEG or a TIFF of less than 4 GB",
            next_step=ANOTHER_FILE,
        )
    return header


def _header_of(data: Bytes, name: str) -> Header | None:
    readers: Mapping[bytes, Callable[[Bytes, str], Header | None]] = {
        _PNG: _read_png, _JPEG: _read_jpeg, **dict.fromkeys(_ORDERS, _read_tiff)
    }  # fmt: skip
    for magic, read in readers.items():
        if data[: len(magic)] == magic:
            return read(data, name)
    return None


def _read_png(data: Bytes, _: str) -> Header | None:
    if data[12:16] != b"IHDR" or len(data) < 26:
        return None
    width, height, _bits, colours = struct.unpack(">IIBB", data[16:26])
    return Header("PNG", height, width, alpha=colours in _PNG_WITH_ALPHA)


def _read_jpeg(data: Bytes, _: str) -> Header | None:
    start = len(_JPEG) - 1
    while start + 4 <= len(data) and data[start] == 0xFF:  # segment by segment: thumbnails nest
        if frame := _FRAME.match(data, start):
            return Header("JPEG", int.from_bytes(frame[1]), int.from_bytes(frame[2]))
        start += 2 + int.from_bytes(data[start + 2 : start + 4])
    return None


def _read_tiff(data: Bytes, name: str) -> Header | None:
    """The first picture of a TIFF whose pixels are all there."""
    try:
        tags, next_page = _tiff_tags(data)
        places = [pair for pair in _PLACES if pair[0] in tags]
        ends = [
            max(map(sum, zip(tags[offsets], tags[lengths], strict=True)))
            for offsets, lengths in places
        ]
        (height, *_), (width, *_) = tags[_HEIGHT], tags[_WIDTH]
    except (struct.error, KeyError, ValueError):
        return None
    if not ends or max(ends) > len(data):
        raise DataError(
            f"{name} is truncated or damaged ({len(data)} bytes)",
            expected="a whole TIFF file",
            next_step=ANOTHER_FILE,
        )
    bits, kinds = set(tags.get(_BITS, (1,))), set(tags.get(_FORMAT, (1,)))
    if bits not in ({8}, {16}) or kinds != {1}:
        words = {1: "unsigned", 2: "signed", 3: "floating-point"}
        kind = words.get(max(kinds), "other")
        raise DataError(
            f"{name} has {kind} levels of {max(bits)} bits",
            expected="unsigned whole numbers of 8 or 16 bits",
            next_step="save it so, its levels spread over that range",
        )
    return Header("TIFF", height, width, alpha=_EXTRA in tags, pages=2 if next_page else 1)


def _tiff_tags(data: Bytes) -> tuple[dict[int, tuple[int, ...]], int]:
    """Whole-numbered tags of the first picture, and where the next one is, or 0."""
    order = _ORDERS[data[:4]]

    def unpack(form: str, at: int) -> tuple[int, ...]:
        return struct.unpack(order + form, data[at : at + struct.calcsize(order + form)])

    (directory,) = unpack("I", 4)
    (count,) = unpack("H", directory)
    tags = {}
    for number in range(count):
        at = directory + 2 + 12 * number
        tag, kind, length = unpack("HHI", at)
        if kind not in _TIFF_TYPES:
            continue
        form = f"{length}{_TIFF_TYPES[kind]}"
        place = at + 8 if struct.calcsize(order + form) <= 4 else unpack("I", at + 8)[0]
        tags[tag] = unpack(form, place)
    return tags, unpack("I", directory + 2 + 12 * count)[0]
