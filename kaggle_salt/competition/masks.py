"""What counts as a mask: booleans, or the numbers 0 and 1 that NumPy and OpenCV code often has."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.errors import DataError

#: Masks as callers have them: bool, or uint8 of 0 and 1; one is salt.
Masks: TypeAlias = NDArray[np.bool_] | NDArray[np.uint8]


def as_bool(masks: Masks, name: str, *, error: type[DataError] = DataError) -> NDArray[np.bool_]:
    """The masks as booleans; without a copy, whatever they are.

    Args:
        masks: bool ``[N, H, W]``, or uint8 of 0 and 1.
        name: What they are called in a message.
        error: What to raise.

    Returns:
        bool ``[N, H, W]``.

    Raises:
        DataError: They are neither, or have another number of dimensions.
    """
    array: NDArray[Any] = np.asarray(masks)
    if array.dtype not in (np.bool_, np.uint8) or array.ndim != 3:
        raise error(
            f"{name} are {array.dtype} {list(array.shape)}",
            expected="bool [N, H, W], or uint8 of 0 and 1",
        )
    if array.dtype == np.uint8 and array.size and array.max() > 1:
        raise error(
            f"{name} are uint8 with the value {array.max()}",
            expected="bool, or uint8 of 0 and 1",
            next_step="masks > 0 makes booleans of them; of grey levels, masks > 127",
        )
    return array.view(np.bool_)
