"""Arrays in files that are mapped and filled, so that only what is being written is in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from kaggle_salt.storage.writing import reserve


def create_mapped(
    path: Path, dtype: DTypeLike, shape: tuple[int, ...]
) -> np.memmap[Any, np.dtype[Any]]:
    """A new ``.npy`` file of zeros, mapped to be filled; there is room for all of it.

    Args:
        path: The file; what it holds is lost.
        dtype: Type of the array.
        shape: Its shape.

    Raises:
        OSError: There is no room.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    reserve(path, path.stat().st_size)
    return array
