"""Parts of some work: together everything, and about the same for each."""

from __future__ import annotations

import pytest

from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.parts import parse_part, part_of


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 20])
def test_parts_are_in_a_row_and_together_everything(parts: int) -> None:
    sizes = [5, 1, 9, 2, 2, 4, 8]
    found = [range(7)[part_of(sizes, k + 1, parts)] for k in range(parts)]
    assert [piece for part in found for piece in part] == list(range(7))


def test_parts_have_the_same_to_do() -> None:
    assert [part_of([3] * 8, k, 4) for k in (1, 2, 3, 4)] == [
        slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8),
    ]  # fmt: skip


def test_as_many_parts_as_equal_rows_are_these_rows() -> None:
    sizes = [4, 4, 1] * 3  # three folds, the last block of each is short
    assert [part_of(sizes, k, 3) for k in (1, 2, 3)] == [slice(0, 3), slice(3, 6), slice(6, 9)]
    starts = [part_of(sizes, k, 6).start for k in range(1, 7)]
    assert starts[::2] == [0, 3, 6]


def test_a_part_is_read() -> None:
    assert parse_part(None) == (1, 1)
    assert parse_part("2/4") == (2, 4)
    for wrong in ("0/3", "4/3", "half", "1/", "-1/2", ""):
        with pytest.raises(ConfigError, match=f"--part {wrong}\n(.|\n)*from 1/4 to 4/4"):
            parse_part(wrong)
