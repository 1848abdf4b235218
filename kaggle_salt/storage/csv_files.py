"""CSV files that others made: read as text, in bounded memory, and never guessed at."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

import pandas as pd

from kaggle_salt.storage.reading import read_bytes

#: Bytes of the largest table: run lengths of a hundred thousand tiles take a tenth.
LARGEST_TABLE = 1 << 30


def read_csv(path: Path) -> pd.DataFrame:
    """The cells of a CSV file, or of one in gzip's packing, as text; an empty one is ``""``.

    Raises:
        OSError: It cannot be read, is no regular file, or is larger than :data:`LARGEST_TABLE`.
        ValueError: It is no CSV file: see :func:`parse_csv`.
    """
    content = read_bytes(path, LARGEST_TABLE)
    return parse_csv(_unpacked(content) if path.suffix == ".gz" else content)


def _unpacked(content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            unpacked = packed.read(LARGEST_TABLE + 1)
    except (EOFError, zlib.error) as error:
        raise ValueError(f"it is truncated or damaged: {error}") from error
    if len(unpacked) > LARGEST_TABLE:
        raise ValueError(f"it unpacks to more than {LARGEST_TABLE} bytes")
    return unpacked


def parse_csv(content: bytes) -> pd.DataFrame:
    """The cells of a CSV file that was read; see :func:`read_csv`.

    Raises:
        ValueError: It is not UTF-8, or no CSV file, or other programs may find other cells in it.
    """
    if b"\0" in content:  # where some readers end a cell, and others do not
        raise ValueError("it holds NUL characters")
    table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    if not isinstance(table.index, pd.RangeIndex):  # the first column was taken for an index
        raise ValueError("a line has more cells than the header")
    return table
