"""What the C library does with freed memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from kaggle_salt.learning import device
from kaggle_salt.learning.device import keep_freed_memory

#: Page faults of writing into a fresh block of 64 MB four times over, once it was freed.
COUNT_FAULTS = """
import resource, sys
import numpy as np
if "keep" in sys.argv:
    from kaggle_salt.learning.device import keep_freed_memory
    assert keep_freed_memory()
np.ones(1 << 26, dtype=np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    np.ones(1 << 26, dtype=np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

glibc_only = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc is asked to keep memory"
)


def count_faults(*arguments: str) -> int:
    undecided = {name: value for name, value in os.environ.items() if "MALLOC" not in name}
    done = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS, *arguments],
        check=True, stdout=subprocess.PIPE, text=True, env=undecided,
    )  # fmt: skip
    return int(done.stdout)


@glibc_only
def test_a_block_that_is_freed_is_there_for_the_next() -> None:
    pages = (1 << 26) // os.sysconf("SC_PAGE_SIZE")
    given_back, kept = count_faults(), count_faults("keep")
    assert kept < pages / 10
    assert kept < given_back / 4


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_the_environment_has_the_last_word(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")
    assert not keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device.platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
