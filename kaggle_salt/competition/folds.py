"""Which tile is held out when: folds stratified by salt coverage, with groups kept whole."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from kaggle_salt.competition.archive import read_table, shortlist
from kaggle_salt.errors import ConfigError, DataError, salt_command
from kaggle_salt.predictions import blocks
from kaggle_salt.runs import atomic_path

COLUMNS = ["id", "coverage", "stratum", "fold"]

#: Strata of tiles with salt, at most; stratum 0 is the tiles without.
MAX_STRATA = 10

#: Decimals of a coverage, in memory and on disk alike: one pixel shows in tiles up to 7,000².
COVERAGE_DECIMALS = 8


def make_folds(
    ids: Sequence[str],
    masks: NDArray[np.bool_],
    *,
    n_folds: int = 5,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Deal tiles out to folds of like size and like salt coverage.

    Tiles without salt are stratum 0. The others are sorted by coverage and cut into up to
    :data:`MAX_STRATA` strata of equal numbers, not of equal width, so that none is too small
    to reach every fold. The result depends on which tiles there are, not on their order.

    Args:
        ids: Tile ids, unique.
        masks: bool ``[N, H, W]``, True is salt.
        n_folds: Number of folds, 2 or more.
        seed: Seed of the shuffle within strata.
        groups: Group of each tile, in the order of ``ids``; a group is never split.

    Returns:
        One row a tile, sorted by id: ``id``, ``coverage`` (share of pixels, 0 to 1),
        ``stratum``, ``fold`` (from 0) and, where given, ``group``.

    Raises:
        ConfigError: There are fewer than 2 folds, or fewer tiles or groups than folds.
        DataError: An id comes twice, or the lengths differ.
    """
    _refuse_impossible_split(ids, masks, n_folds, groups)
    columns = {"id": list(ids), "coverage": _coverages(masks)}
    if groups is not None:
        columns["group"] = list(groups)
    table = pd.DataFrame(columns).sort_values("id", ignore_index=True)
    table["stratum"] = _strata(table["coverage"].to_numpy(), n_folds)
    labels = _split_labels(table["stratum"].to_numpy(), n_folds)
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(n_splits=n_folds, shuffle=True, random_state=seed)
    table["fold"] = 0
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, table.get("group"))):
        table.loc[held_out, "fold"] = fold
    return table[COLUMNS if groups is None else [*COLUMNS, "group"]]


def _refuse_impossible_split(
    ids: Sequence[str], masks: NDArray[np.bool_], n_folds: int, groups: Sequence[str] | None
) -> None:
    repeated = [tile for tile, count in Counter(ids).items() if count > 1]
    if repeated:
        raise DataError(f"ids come twice: {shortlist(repeated)}", expected="each id once")
    if len(ids) != len(masks) or (groups is not None and len(ids) != len(groups)):
        raise DataError(f"{len(ids)} ids do not match the masks or groups in number")
    if n_folds < 2:
        raise ConfigError(f"{n_folds} folds leave nothing to validate on", expected="2 or more")
    for units, name in ((ids, "tiles"), (groups, "groups")):
        if units is not None and len(set(units)) < n_folds:
            raise ConfigError(
                f"{len(set(units))} {name} cannot fill {n_folds} folds",
                expected=f"as many {name} as folds, or more",
                next_step=_fewer_folds(len(set(units))),
            )


def _coverages(masks: NDArray[np.bool_]) -> list[float]:
    """Share of salt of each mask, rounded as it will be on disk."""
    areas: list[int] = []
    for block in blocks(masks):
        areas += np.count_nonzero(masks[block], axis=(1, 2)).tolist()
    pixels = masks.shape[1] * masks.shape[2]
    return [round(area / pixels, COVERAGE_DECIMALS) for area in areas]


def _strata(coverage: NDArray[np.float64], n_folds: int) -> NDArray[np.int64]:
    """0 for a tile without salt; the others 1, 2, ... by rank, at least ``n_folds`` in each."""
    strata = np.zeros(len(coverage), dtype=np.int64)
    salt = np.flatnonzero(coverage > 0)
    by_coverage = salt[np.argsort(coverage[salt], kind="stable")]
    n_strata = min(MAX_STRATA, max(1, len(salt) // n_folds))
    strata[by_coverage] = 1 + np.arange(len(salt)) * n_strata // max(1, len(salt))
    return strata


def _split_labels(strata: NDArray[np.int64], n_folds: int) -> NDArray[np.int64]:
    """The strata to split by: the lowest two as one where either cannot reach every fold."""
    empty, lowest = np.bincount(strata, minlength=2)[:2]
    if 0 < empty < n_folds or 0 < lowest < n_folds:
        return np.maximum(strata, 1)
    return strata


def write_folds(path: Path, table: pd.DataFrame) -> None:
    """Write a fold table as CSV, atomically; the same table gives the same bytes."""
    with atomic_path(path) as temporary:
        table.to_csv(
            temporary,
            index=False,
            float_format=f"%.{COVERAGE_DECIMALS}f",
            lineterminator="\n",
            encoding="utf-8",
        )


def read_folds(path: Path, ids: Sequence[str], masks: NDArray[np.bool_]) -> pd.DataFrame:
    """Read a fold table and make sure that it is about these tiles.

    Args:
        path: A file written by :func:`write_folds`.
        ids: Ids of the training tiles.
        masks: Their masks, bool ``[N, H, W]``.

    Returns:
        The table of :func:`make_folds`, sorted by id.

    Raises:
        DataError: The file is missing, is no fold table, names other tiles than ``ids``, or
            was made from other masks.
    """
    table = read_table(path, COLUMNS, next_step=_another_table(path))
    table["coverage"] = _numbers(table, "coverage", path)
    for column in ("stratum", "fold"):
        numbers = _numbers(table, column, path)
        wrong = (numbers < 0) | (numbers % 1 != 0)
        if wrong.any():
            raise _bad_cell(table, column, wrong, path)
        table[column] = numbers.astype(np.int64)
    _refuse_other_tiles(table, ids, masks, path)
    if table["fold"].nunique() < 2:
        then = _another_table(path)
        raise DataError(f"{path} has one fold only", expected="2 or more", next_step=then)
    return table.sort_values("id", ignore_index=True)


def _numbers(table: pd.DataFrame, column: str, path: Path) -> pd.Series[float]:
    numbers = pd.to_numeric(table[column], errors="coerce").astype(np.float64)
    wrong = ~numbers.between(-np.inf, np.inf, inclusive="neither")
    if wrong.any():
        raise _bad_cell(table, column, wrong, path)
    return numbers


def _bad_cell(table: pd.DataFrame, column: str, wrong: pd.Series[bool], path: Path) -> DataError:
    row = table[wrong].iloc[0]
    kind = "a share from 0 to 1" if column == "coverage" else "a whole number, 0 or more"
    return DataError(
        f"{path} gives tile {row['id']} the {column} '{row[column]}'",
        expected=kind,
        next_step=_another_table(path),
    )


def _fewer_folds(most: int) -> str:
    if most < 2:
        return "more tiles, or other groups"
    return f"a smaller --n-folds: {salt_command('make-folds', '--n-folds', min(most, 5))}"


def _another_table(path: Path) -> str:
    """How to get a table that will do; one that is there, and may suit other data, stays."""
    if not path.exists():
        return salt_command("make-folds")
    second = path.with_name(f"{path.stem}-2{path.suffix}")
    make = salt_command("make-folds", "--out", second)
    return f"restore it, or make a second table: {make}, then --folds {shlex.quote(str(second))}"


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
        measured = zip(ids, _coverages(masks), strict=True)
        tolerance = 10.0**-COVERAGE_DECIMALS
        other = [tile for tile, coverage in measured if abs(told[tile] - coverage) > tolerance]
        if other:
            faults.append(f"{path} was made from other masks: {shortlist(other)} differ")
    if faults:
        raise DataError(
            "\n".join(faults),
            expected="a fold table made from the competition's tiles as they are now",
            next_step=_another_table(path),
        )


def read_groups(path: Path, ids: Sequence[str]) -> list[str]:
    """Read which group each tile belongs to, from a CSV file with the columns id and group.

    Returns:
        The groups, in the order of ``ids``. The file may name other tiles too.

    Raises:
        DataError: The file is missing or is no such table, or a tile has no group.
    """
    next_step = "mend the file given to --group-by"
    table = read_table(path, ["id", "group"], next_step=next_step)
    group_of = dict(zip(table["id"], table["group"], strict=True))
    without = [tile for tile in ids if not group_of.get(tile)]
    if without:
        raise DataError(
            f"{path} gives no group to {len(without)} tiles: {shortlist(without)}",
            expected="a group for every training tile",
            next_step=next_step,
        )
    return [group_of[tile] for tile in ids]


def summarise(table: pd.DataFrame, depths: Mapping[str, float]) -> pd.DataFrame:
    """Show how alike the folds are.

    Args:
        table: A fold table.
        depths: Depth in feet by id; nan or absent where unknown.

    Returns:
        One row a fold, ascending: ``fold``, ``tiles``, ``empty_share``, ``mean_coverage``
        (shares, 0 to 1), ``mean_depth`` (feet, over the known ones; nan without any).
    """
    tiles = pd.DataFrame(
        {
            "fold": table["fold"],
            "empty": table["coverage"] == 0,
            "coverage": table["coverage"],
            "depth": [depths.get(tile, np.nan) for tile in table["id"]],
        }
    )
    return tiles.groupby("fold", as_index=False).agg(
        tiles=("empty", "size"),
        empty_share=("empty", "mean"),
        mean_coverage=("coverage", "mean"),
        mean_depth=("depth", "mean"),
    )


def fold_rows(
    table: pd.DataFrame, ids: Sequence[str], fold: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows to validate on.

    Args:
        table: A fold table.
        ids: Tile ids, in the order of the arrays that the rows will index.
        fold: The fold to hold out.

    Returns:
        Training rows and validation rows, int64, ascending.

    Raises:
        ConfigError: There is no such fold.
        DataError: A tile is in no fold.
    """
    known = sorted(set(table["fold"]))
    if fold not in known:
        raise ConfigError(
            f"there is no fold {fold}",
            expected="one of " + ", ".join(map(str, known)),
            next_step=f"--fold {known[0]}",
        )
    fold_of = dict(zip(table["id"], table["fold"], strict=True))
    if homeless := [tile for tile in ids if tile not in fold_of]:
        raise DataError(
            f"{len(homeless)} tiles are in no fold: {shortlist(homeless)}",
            expected="every tile in the fold table",
            next_step="make the table anew, of these tiles",
        )
    folds = np.array([fold_of[tile] for tile in ids])
    return np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
