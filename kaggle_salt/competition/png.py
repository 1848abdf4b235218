"""PNG files of every mode the competition uses, decoded to grey levels and masks."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.archive import GET_ANEW
from kaggle_salt.errors import DataError

Grey = NDArray[np.uint8] | NDArray[np.uint16]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: PNG colour type -> Pillow's name for it.
_COLOUR_TYPES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}


def read_grey(data: bytes, name: str) -> tuple[Grey, str]:
    """Decode a PNG of any mode to grey.

    Args:
        data: The file's bytes.
        name: What to call the file in messages.

    Returns:
        Grey levels, uint8 or (for 16-bit files) uint16 ``[H, W]``: the first channel where all
        are equal, else their luminosity; transparency is ignored. And the mode, in Pillow's
        words: ``1``, ``L``, ``I;16``, ``RGB``, ``RGBA``, ``P``, ``LA``.

    Raises:
        DataError: The file is truncated or damaged.
    """
    # Checked first, for what OpenCV does with half a file (give up, or return what there is)
    # differs from release to release, and it complains on stderr.
    whole = _is_whole(data)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if whole else None
    if pixels is None:
        raise DataError(
            f"{name} is truncated or damaged ({len(data)} bytes)",
            expected="a whole PNG file",
            next_step=GET_ANEW,
        )
    return _grey(pixels), _mode(data)


def _is_whole(data: bytes) -> bool:
    """Whether every chunk up to the last is there and passes its checksum (PNG, section 5)."""
    if not data.startswith(_SIGNATURE) or data[12:16] != b"IHDR":
        return False
    start = len(_SIGNATURE)
    while start < len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4])
        if zlib.crc32(data[start + 4 : end]) != int.from_bytes(data[end : end + 4]):
            return False
        if data[start + 4 : start + 8] == b"IEND":
            return True
        start = end + 4
    return False


def _mode(data: bytes) -> str:
    depth, colour_type = data[24], data[25]  # bytes 8 and 9 of the header chunk
    mode = _COLOUR_TYPES[colour_type]
    if mode == "L" and depth == 1:
        return "1"
    if depth == 16:
        return "I;16" if mode == "L" else f"{mode};16"
    return mode


def _grey(pixels: Grey) -> Grey:
    if pixels.ndim == 2:
        return pixels
    blue, green, red = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    if np.array_equal(blue, green) and np.array_equal(green, red):
        return blue
    luminosity: Grey = cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2GRAY)
    return luminosity


def to_tile(grey: Grey, name: str) -> NDArray[np.uint8]:
    """Grey levels as uint8; 16-bit levels are rounded to the nearest of 256."""
    del name  # a tile of any levels will do
    if grey.dtype == np.uint8:
        return grey.astype(np.uint8, copy=False)
    return ((grey.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def to_mask(grey: Grey, name: str) -> NDArray[np.bool_]:
    """Grey levels as a mask: 0 is background, the highest level of the type is salt.

    Raises:
        DataError: There is any other level.
    """
    mask: NDArray[np.bool_] = grey > 0
    highest = np.iinfo(grey.dtype).max
    if (grey[mask] != highest).any():
        levels = np.unique(grey)
        shown = ", ".join(map(str, levels[:5])) + (", ..." if len(levels) > 5 else "")
        raise DataError(
            f"mask {name} has the grey levels {shown}",
            expected=f"no level but 0 and {highest}",
            next_step=GET_ANEW,
        )
    return mask
