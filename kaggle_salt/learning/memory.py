"""How the C library deals with memory that a step has freed."""

from __future__ import annotations

import ctypes
import os
import platform

#: Parameters of glibc's ``mallopt``: how much free memory at the end of the heap goes back to
#: the system, and from which size on a block is mapped, and unmapped when it is freed.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3

#: Activations of a batch are below; what is larger, an array of all tiles say, goes back.
LARGEST_KEPT = 1 << 30


def keep_freed_memory() -> bool:
    """Ask glibc to keep what is freed, so that the next step finds it at hand.

    It hands blocks of megabytes back to the system as soon as they are freed. A training step
    on the CPU asks for gigabytes of such blocks, the system clears every page of them, and a
    fifth of the step goes by so. The peak of the memory in use grows by about a tenth.

    Nothing happens with another C library, or where ``MALLOC_…`` or ``GLIBC_TUNABLES`` in the
    environment say how memory shall be dealt with.

    Returns:
        Whether it was asked.
    """
    told = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if told or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    kept = mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
    return bool(kept and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
