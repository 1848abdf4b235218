"""Files made to do harm: pictures and zips larger than they look, pickles that run commands."""

from __future__ import annotations

import os
import pickle
import resource
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20
STORED, DEFLATED, BZIP2 = 0, 8, 12


@contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """Let this process ask for so many bytes more than it has, and for no others."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, its checksum right."""
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_of_size(width: int, height: int, *, depth: int = 8, colour_type: int = 0) -> bytes:
    """A PNG whose header states a size, with pixels for none of it; every checksum is right."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + pixels + png_chunk(b"IEND", b"")


def jpeg_of_size(whole: bytes, width: int, height: int) -> bytes:
    """A JPEG with another size in its header."""
    frame = whole.index(b"\xff\xc0")
    return whole[: frame + 5] + struct.pack(">HH", height, width) + whole[frame + 9 :]


def deflated_zeros(mib: int) -> bytes:
    """A deflate stream of so many MiB of zeros: a thousandth of that."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (mib - 1) + packer.flush()


def zip_of(name: str, packed: bytes, stated: int, *, method: int = DEFLATED) -> bytes:
    """A zip of one file that states a size of its own choosing, and the checksum of nothing."""
    path = name.encode()
    common = struct.pack(
        "<HHHHHIIIHH", 20, 0, method, 0, 33, 0, len(packed), stated, len(path), 0
    )  # version, flags, method, time, date, checksum, sizes, lengths of name and extra field
    local = b"PK\x03\x04" + common + path + packed
    central = b"PK\x01\x02\x14\x00" + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + path
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


def pickle_that_makes(trace: Path) -> bytes:
    """A pickle; whoever loads it will find the folder ``trace``."""
    return pickle.dumps(Bomb(trace))
