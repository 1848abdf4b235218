"""Fold tables and groups as files: written whole, and refused when they are of other tiles."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kaggle_salt.competition.archive import read_table, shortlist
from kaggle_salt.competition.folds import COLUMNS, COVERAGE_DECIMALS, TYPE, coverages
from kaggle_salt.competition.mask_types import mask_types
from kaggle_salt.errors import DataError, salt_command, shortened
from kaggle_salt.storage.files import create_text, write_text

#: No fold or stratum has a larger one.
LARGEST_NUMBER = 2**31 - 1


def write_folds(path: Path, table: pd.DataFrame, *, overwrite: bool = True) -> bool:
    """Write a fold table as CSV, atomically.

    Returns:
        Whether it was written: without ``overwrite`` it is not if another file is there, even one
        that was written a moment before.
    """
    if not overwrite:
        return create_text(path, folds_text(table))
    write_text(path, folds_text(table))
    return True


def folds_text(table: pd.DataFrame) -> str:
    """A fold table as CSV; the same table gives the same text."""
    return table.to_csv(index=False, float_format=f"%.{COVERAGE_DECIMALS}f", lineterminator="\n")


def says_the_same(path: Path, table: pd.DataFrame) -> bool:
    """Whether the file has this very table; one from before there were types may lack those."""
    if not path.exists():
        return False
    there = path.read_bytes()
    tables = (table, table.drop(columns=TYPE))
    return any(there == folds_text(one).encode() for one in tables)


def read_folds(path: Path, ids: Sequence[str], masks: NDArray[np.bool_]) -> pd.DataFrame:
    """Read a fold table and make sure that it is about these tiles.

    Args:
        path: A file written by :func:`write_folds`.
        ids: Ids of the training tiles.
        masks: Their masks, bool ``[N, H, W]``.

    Returns:
        The table of :func:`make_folds`, sorted by id; where the file has no types, with those
        of the masks.

    Raises:
        DataError: The file is missing, is no fold table, names other tiles than ``ids``, or
            was made from other masks.
    """
    table = read_table(path, COLUMNS, next_step=another_table(path))
    table["coverage"] = _numbers(table, "coverage", path)
    for column in ("stratum", "fold"):
        numbers = _numbers(table, column, path)
        wrong = (numbers < 0) | (numbers > LARGEST_NUMBER) | (numbers % 1 != 0)
        if wrong.any():
            raise _bad_cell(table, column, wrong, path)
        table[column] = numbers.astype(np.int64)
    _refuse_other_tiles(table, ids, masks, path)
    if table["fold"].nunique() < 2:
        then = another_table(path)
        raise DataError(f"{path} has one fold only", expected="2 or more", next_step=then)
    _require_types(table, dict(zip(ids, mask_types(masks), strict=True)), path)
    return table.sort_values("id", ignore_index=True)


def _require_types(table: pd.DataFrame, type_of: Mapping[str, str], path: Path) -> None:
    """Give the table the types of its masks, or make sure that it has them."""
    types = table["id"].map(type_of)
    if TYPE not in table:
        table.insert(list(table.columns).index("fold"), TYPE, types)
        return
    wrong = table[TYPE] != types
    if wrong.any():
        tile = table["id"][wrong].iloc[0]
        raise _bad_cell(table, TYPE, wrong, path, expected=f"{type_of[tile]}, as its mask is")


def _numbers(table: pd.DataFrame, column: str, path: Path) -> pd.Series[float]:
    numbers = pd.to_numeric(table[column], errors="coerce").astype(np.float64)
    wrong = ~numbers.between(-np.inf, np.inf, inclusive="neither")
    if wrong.any():
        raise _bad_cell(table, column, wrong, path)
    return numbers


def _bad_cell(
    table: pd.DataFrame, column: str, wrong: pd.Series[bool], path: Path, expected: str = ""
) -> DataError:
    row = table[wrong].iloc[0]
    kind = "a share from 0 to 1" if column == "coverage" else "a whole number, 0 or more"
    return DataError(
        f"{path} gives tile {shortened(row['id'])} the {column} '{shortened(str(row[column]))}'",
        expected=expected or kind,
        next_step=another_table(path),
    )


def another_table(path: Path) -> str:
    """How to get a table that will do; one that is there, and may suit other data, stays."""
    if not path.exists():
        return salt_command("make-folds")
    return second_table(path, "make-folds", "--folds")


def second_table(path: Path, command: str, option: str) -> str:
    """What to do about a table that will not do but is to stay: which command makes another."""
    second = path.with_name(f"{path.stem}-2{path.suffix}")
    make = salt_command(command, "--out", second)
    return f"restore it, or make a second table: {make}, then {option} {shlex.quote(str(second))}"


def _refuse_other_tiles(
    table: pd.DataFrame, ids: Sequence[str], masks: NDArray[np.bool_], path: Path
) -> None:
    there, wanted = set(table["id"]), set(ids)
    faults = []
    if missing := sorted(wanted - there):
        faults.append(f"{path} lacks {len(missing)} of {len(wanted)} tiles: {shortlist(missing)}")
    if strangers := sorted(there - wanted):
        faults.append(f"{path} names {len(strangers)} unknown tiles: {shortlist(strangers)}")
    if not faults:
        told = dict(zip(table["id"], table["coverage"], strict=True))
        measured = zip(ids, coverages(masks), strict=True)
        tolerance = 10.0**-COVERAGE_DECIMALS
        other = [tile for tile, coverage in measured if abs(told[tile] - coverage) > tolerance]
        if other:
            faults.append(f"{path} was made from other masks: {shortlist(other)} differ")
    if faults:
        raise DataError(
            "\n".join(faults),
            expected="a fold table made from the competition's tiles as they are now",
            next_step=another_table(path),
        )


def read_groups(path: Path, ids: Sequence[str]) -> list[str]:
    """Read which group each tile belongs to, from a CSV file.

    With the columns id and group it must give every tile its group. With id and mosaic, as ``salt
    mosaic`` writes it, a mosaic is a group, and a tile outside of any is one of its own.

    Returns:
        The groups, in the order of ``ids``. The file may name other tiles too.

    Raises:
        DataError: The file is missing or is no such table, or a tile has no group.
    """
    next_step = "mend the file given to --group-by: columns id and group, or id and mosaic"
    table = read_table(path, ["id"], next_step=next_step)
    if "mosaic" in table and "group" not in table:
        mosaic_of = dict(zip(table["id"], table["mosaic"], strict=True))
        return [f"mosaic {mosaic_of[tile]}" if mosaic_of.get(tile) else tile for tile in ids]
    if "group" not in table:
        raise DataError(
            f"{path} has no column group",
            expected="the columns id and group, or id and mosaic",
            next_step=next_step,
        )
    group_of = dict(zip(table["id"], table["group"], strict=True))
    without = [tile for tile in ids if not group_of.get(tile)]
    if without:
        raise DataError(
            f"{path} gives no group to {len(without)} tiles: {shortlist(without)}",
            expected="a group for every training tile",
            next_step=next_step,
        )
    return [group_of[tile] for tile in ids]
