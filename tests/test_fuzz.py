"""Readers of what comes from outside, on inputs that a machine thinks of.

The inputs are the same in every run; ``scripts/fuzz`` tries others, and many more.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz_targets import TARGETS, Target
from tests.hostile import memory_limit

#: Of each target. Of PNG and zips most inputs fail their checksum, which costs nothing.
EXAMPLES = 150


@st.composite
def damaged(draw: st.DrawFn, target: Target) -> bytes:
    """A sound input with a few places overwritten, cut out or filled in; or anything at all."""
    data = bytearray(draw(st.sampled_from((*target.seeds, b""))))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 8))
        words = st.sampled_from(target.words)
        data[start : start + length] = draw(words | st.binary(max_size=12))
    return bytes(data)


@pytest.mark.filterwarnings("ignore")  # a fault is another error than a SaltError, or a hang
@pytest.mark.parametrize("name", TARGETS)
def test_only_salt_errors_come_out(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]

    @given(damaged(target))
    @settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def read(data: bytes) -> None:
        target(data, tmp_path)

    for seed in target.seeds:
        target(seed, tmp_path)
    with memory_limit(1 << 30):
        read()
