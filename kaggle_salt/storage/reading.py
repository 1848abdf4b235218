"""Files read without waiting and in bounded memory, whoever wrote them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

#: Bytes of the largest document that is read whole. The ids of a million tiles take a tenth.
LARGEST_DOCUMENT = 1 << 28


def read_start(path: Path, limit: int) -> bytes:
    """The first ``limit`` bytes of a file, or all of them where there are fewer.

    Raises:
        OSError: It cannot be read, or is none: a pipe has no end to wait for, nor have all devices.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, and no file", str(path))
        return file.read(min(limit, status.st_size))


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for whoever would write into a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_bytes(path: Path, limit: int = LARGEST_DOCUMENT) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: It cannot be read, is no regular file, or is larger than ``limit``.
    """
    content = read_start(path, limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit} bytes", str(path))
    return content


def parse(loads: Callable[[str], T], text: str) -> T:
    """What ``json.loads`` or ``tomllib.loads`` makes of a text.

    Raises:
        ValueError: It is not of the kind, or is nested deeper than the parser can follow.
    """
    try:
        return loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
