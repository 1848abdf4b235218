"""PNG and JPEG files of every mode, decoded to grey levels, colours and masks."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.archive import GET_ANEW
from kaggle_salt.errors import DataError

#: ``[H, W]`` grey levels, or ``[H, W, 3]`` red, green and blue.
Pixels = NDArray[np.uint8] | NDArray[np.uint16]

#: What red, green and blue count in the grey of a coloured tile (luminance, ITU-R BT.601).
LUMINANCE = (0.299, 0.587, 0.114)

#: Pixels of the largest tile: a side of 8192. Sixteen bits in four channels take half a GiB.
LARGEST_TILE = 1 << 26

#: Bytes of a file beside its pixels that are let pass: colour profiles, notes, a preview.
METADATA = 1 << 20

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
#: PNG colour type -> Pillow's name for it.
_COLOUR_TYPES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
#: JPEG's number of components -> the same.
_COMPONENTS = {1: "JPEG L", 3: "JPEG RGB", 4: "JPEG CMYK"}

#: The next JPEG marker that is neither a stuffed byte nor a restart within the pixels.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_END, _SCAN = 0xD9, 0xDA
#: Start of frame, in all its codings (ITU T.81, table B.1); others in between are not.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}

#: What may stand for salt in a mask of two levels, in files of 8 and of 16 bits.
_SALT_LEVELS = {np.dtype(np.uint8): (1, 255), np.dtype(np.uint16): (1, 255, 65535)}
BY_THRESHOLD = "salt check --mask-threshold 128, which is remembered; or fetch the file anew"


@dataclass(frozen=True)
class Picture:
    """A whole PNG or JPEG file of which nothing has been decoded yet.

    Args:
        data: Its bytes.
        name: What to call it in messages.
        mode: In Pillow's words: ``1``, ``L``, ``I;16``, ``RGB``, ``RGBA``, ``P``, ``LA``,
            ``JPEG L``, ``JPEG RGB``.
        shape: Height and width in pixels, as its header states them.
    """

    data: bytes
    name: str
    mode: str
    shape: tuple[int, int]

    def decode(self) -> Pixels:
        """Levels, uint8 or (for 16-bit files) uint16.

        Grey ``[H, W]`` where red, green and blue are equal everywhere, else ``[H, W, 3]`` in this
        order; transparency is ignored.

        Raises:
            DataError: The file is damaged.
        """
        try:
            pixels = cv2.imdecode(np.frombuffer(self.data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            pixels = None
        if pixels is None or pixels.shape[:2] != self.shape:
            raise _damaged(self.data, self.name)
        return without_equal_channels(pixels)


def open_picture(data: bytes, name: str) -> Picture:
    """Look through a PNG of any mode, or a JPEG, without unpacking it.

    Args:
        data: The file's bytes; they say what it is, not its name.
        name: What to call the file in messages.

    Raises:
        DataError: The file is truncated or damaged, or has more than :data:`LARGEST_TILE` pixels.
    """
    # Checked first, for what OpenCV does with half a file (give up, or return what there is)
    # differs from release to release, and it complains on stderr.
    mode = _jpeg_mode(data) if data.startswith(_JPEG) else _png_mode(data)
    shape = stated_shape(data, name)
    if mode is None or shape is None:
        raise _damaged(data, name)
    return Picture(data, name, mode, shape)


def stated_shape(data: bytes, name: str) -> tuple[int, int] | None:
    """Height and width as a file's header states them; None if there is no such header.

    Args:
        data: The file's bytes, or the first of them.
        name: What to call the file in messages.

    Raises:
        DataError: They are those of no tile: a side is zero, or there are more pixels than
            :data:`LARGEST_TILE`.
    """
    shape = _jpeg_shape(data) if data.startswith(_JPEG) else _png_shape(data)
    if shape is not None and not 0 < shape[0] * shape[1] <= LARGEST_TILE:
        raise DataError(
            f"{name} has {shape[0]}x{shape[1]} pixels",
            expected=f"1 to {LARGEST_TILE} pixels a tile",
            next_step=GET_ANEW,
        )
    return shape


def largest_file(shape: tuple[int, int]) -> int:
    """Bytes of the largest file of such a tile: every pixel unpacked, twice over, and notes."""
    return 16 * shape[0] * shape[1] + METADATA


def read_pixels(data: bytes, name: str) -> tuple[Pixels, str]:
    """Levels of a PNG or JPEG, and its mode: see :func:`open_picture`, :meth:`Picture.decode`.

    Raises:
        DataError: The file is truncated or damaged, or too large.
    """
    picture = open_picture(data, name)
    return picture.decode(), picture.mode


def _damaged(data: bytes, name: str) -> DataError:
    return DataError(
        f"{name} is truncated or damaged ({len(data)} bytes)",
        expected="a whole PNG or JPEG file",
        next_step=GET_ANEW,
    )


def _png_shape(data: bytes) -> tuple[int, int] | None:
    """From the header chunk, which is the first (PNG, section 11.2.2)."""
    if not data.startswith(_PNG) or data[12:16] != b"IHDR" or len(data) < 24:
        return None
    return int.from_bytes(data[20:24]), int.from_bytes(data[16:20])


def _png_mode(data: bytes) -> str | None:
    """Mode of a PNG whose every chunk is there and passes its checksum (PNG, section 5)."""
    if not data.startswith(_PNG) or data[12:16] != b"IHDR":
        return None
    start = len(_PNG)
    while start < len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4])
        if zlib.crc32(data[start + 4 : end]) != int.from_bytes(data[end : end + 4]):
            return None
        if data[start + 4 : start + 8] == b"IEND":
            return _png_header(data)
        start = end + 4
    return None


def _png_header(data: bytes) -> str | None:
    depth, colour_type = data[24], data[25]  # bytes 8 and 9 of the header chunk
    mode = _COLOUR_TYPES.get(colour_type)
    if mode == "L" and depth == 1:
        return "1"
    if mode and depth == 16:
        return "I;16" if mode == "L" else f"{mode};16"
    return mode


def _jpeg_mode(data: bytes) -> str | None:
    """Mode of a JPEG that goes on to its end marker; it has no checksum (ITU T.81, annex B)."""
    frame = None
    for code, start in _markers(data):
        if code == _END:
            return _COMPONENTS.get(data[frame + 7]) if frame is not None else None
        if code in _FRAMES and frame is None and len(data) > start + 7:
            frame = start
    return None


def _jpeg_shape(data: bytes) -> tuple[int, int] | None:
    """From the frame's header (ITU T.81, B.2.2)."""
    frame = next((start for code, start in _markers(data) if code in _FRAMES), None)
    if frame is None or len(data) < frame + 7:
        return None
    return int.from_bytes(data[frame + 3 : frame + 5]), int.from_bytes(data[frame + 5 : frame + 7])


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Each marker of a JPEG and where its parameters begin, to the end of the file."""
    start = 2
    while marker := _MARKER.search(data, start):
        code, start = marker[1][0], marker.end()
        yield code, start
        # After the header of a scan come its pixels, which hold no marker but the next one.
        start += int.from_bytes(data[start : start + 2])


def without_equal_channels(pixels: Pixels) -> Pixels:
    """OpenCV's pixels as ours.

    Args:
        pixels: ``[H, W]`` grey levels, or ``[H, W, 3 or 4]``: blue, green, red and transparency.

    Returns:
        ``[H, W]`` where the colours are equal everywhere, else ``[H, W, 3]``: red, green, blue.
    """
    if pixels.ndim == 2:
        return pixels
    blue, green, red = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    if np.array_equal(blue, green) and np.array_equal(green, red):
        return blue
    return pixels[..., 2::-1]


def is_coloured(pixels: Pixels) -> bool:
    """Whether red, green and blue differ somewhere."""
    return pixels.ndim == 3


def _grey(pixels: Pixels) -> Pixels:
    if not is_coloured(pixels):
        return pixels
    luminosity: Pixels = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    return luminosity


def _eight_bits(levels: Pixels) -> NDArray[np.uint8]:
    """Levels as uint8; 16-bit levels are rounded to the nearest of 256."""
    if levels.dtype == np.uint8:
        return levels.astype(np.uint8, copy=False)
    return ((levels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def to_tile(pixels: Pixels) -> NDArray[np.uint8]:
    """A grey tile, uint8 ``[H, W]``: of colours, their luminosity."""
    return _eight_bits(_grey(pixels))


def to_coloured_tile(pixels: Pixels) -> NDArray[np.uint8]:
    """A tile in red, green and blue, uint8 ``[H, W, 3]``: of grey levels, three times the same."""
    tile = _eight_bits(pixels)
    return tile if is_coloured(pixels) else np.repeat(tile[..., np.newaxis], 3, axis=2)


def to_mask(
    pixels: Pixels, name: str, *, threshold: int | None = None, lossy: bool = False
) -> NDArray[np.bool_]:
    """A mask, bool ``[H, W]``, True where there is salt.

    Args:
        pixels: Of the mask's file; of colours, their luminosity counts.
        name: What to call the file in messages.
        threshold: Levels from this on are salt, on the scale of 8 bits; by default a mask has
            two levels, 0 and one for salt: 1, 255 or, in 16 bits, 65535.
        lossy: The file is a JPEG, whose levels are not those that were written.

    Raises:
        DataError: Without a threshold, the file has other levels or is lossy.
    """
    grey = _grey(pixels)
    if threshold is not None:
        return np.asarray(_eight_bits(grey) >= threshold)
    if lossy:
        raise DataError(
            f"mask {name} is a JPEG, which does not keep levels as they were",
            expected="a PNG, or a threshold from which on levels are salt",
            next_step=BY_THRESHOLD,
        )
    mask: NDArray[np.bool_] = grey > 0
    if mask.any() and not _has_two_levels(grey, mask):
        levels = np.unique(grey)
        shown = ", ".join(map(str, levels[:5])) + (", ..." if len(levels) > 5 else "")
        raise DataError(
            f"mask {name} has the grey levels {shown}",
            expected=f"no level but 0 and {np.iinfo(grey.dtype).max} (or 0 and 1)",
            next_step=BY_THRESHOLD,
        )
    return mask


def _has_two_levels(grey: Pixels, mask: NDArray[np.bool_]) -> bool:
    salt = grey[mask]
    return int(salt[0]) in _SALT_LEVELS[grey.dtype] and bool((salt == salt[0]).all())
