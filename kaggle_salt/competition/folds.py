"""Which tile is held out when: folds alike in their masks, with groups kept whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from kaggle_salt.competition.archive import shortlist
from kaggle_salt.competition.duplicates import identical_tiles, merged_groups
from kaggle_salt.competition.mask_types import TYPES, mask_types
from kaggle_salt.config.table import refuse_seed
from kaggle_salt.errors import ConfigError, DataError, salt_command
from kaggle_salt.predictions import blocks

#: What a table has at least; those made today have the column ``type`` as well.
COLUMNS = ["id", "coverage", "stratum", "fold"]

TYPE = "type"

#: In what the folds are made alike: the strata of coverage, or the types of masks.
By: TypeAlias = Literal["coverage", "type"]

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
    by: By = "coverage",
    groups: Sequence[str] | None = None,
    images: NDArray[np.uint8] | None = None,
) -> pd.DataFrame:
    """Deal tiles out to folds of like size and like salt coverage, or like types of masks.

    Tiles without salt are stratum 0. The others are sorted by coverage and cut into up to
    :data:`MAX_STRATA` strata of equal numbers, not of equal width, so that none is too small
    to reach every fold. The result depends on which tiles there are, not on their order.

    By type, tiles of each of the :data:`kaggle_salt.competition.mask_types.TYPES` are dealt out
    evenly; types with fewer tiles than folds are dealt out as one. The strata stay those of
    coverage.

    Args:
        ids: Tile ids, unique.
        masks: bool ``[N, H, W]``, True is salt.
        n_folds: Number of folds, 2 or more.
        seed: Seed of the shuffle within strata, 0 to :data:`kaggle_salt.config.table.LARGEST_SEED`.
        by: ``coverage`` or ``type``.
        groups: Group of each tile, in the order of ``ids``; a group is never split.
        images: uint8 ``[N, H, W]``, the tiles. If given, those with the same pixels stay in one
            fold, and so do the groups that share such a tile; without any, they change nothing.

    Returns:
        One row a tile, sorted by id: ``id``, ``coverage`` (share of pixels, 0 to 1),
        ``stratum``, ``type`` (see :func:`kaggle_salt.competition.mask_types.mask_types`),
        ``fold`` (from 0) and, where given, ``group``.

    Raises:
        ConfigError: There are fewer than 2 folds, or fewer tiles or groups than folds; the seed
            is out of range; or ``by`` is neither.
        DataError: An id comes twice, or the lengths differ.
    """
    refuse_seed(seed, salt_command("make-folds", "--seed", 0))
    twins = [] if images is None else identical_tiles(images)
    units = merged_groups(ids if groups is None else groups, twins) if twins else groups
    _refuse_impossible_split(ids, masks, n_folds, groups, units)
    _refuse_other_likeness(by)
    table = _described(ids, masks, groups, units, n_folds)
    labels = _type_labels(table, n_folds) if by == "type" else _stratum_labels(table, n_folds)
    table["fold"] = _dealt(labels, table.get("unit"), n_folds, seed)
    columns = ["id", "coverage", "stratum", TYPE, "fold"]
    return table[columns if groups is None else [*columns, "group"]]


def _described(
    ids: Sequence[str],
    masks: NDArray[np.bool_],
    groups: Sequence[str] | None,
    units: Sequence[str] | None,
    n_folds: int,
) -> pd.DataFrame:
    """What is known of each tile before it has a fold, sorted by id."""
    tiles = {"id": list(ids), "coverage": coverages(masks), TYPE: mask_types(masks)}
    if groups is not None:
        tiles["group"] = list(groups)
    if units is not None:
        tiles["unit"] = list(units)
    table = pd.DataFrame(tiles).sort_values("id", ignore_index=True)
    table["stratum"] = _strata(table["coverage"].to_numpy(), n_folds)
    return table


def _dealt(
    labels: NDArray[np.int64], units: pd.Series[str] | None, n_folds: int, seed: int
) -> NDArray[np.int64]:
    """Fold of each tile, alike in their labels; tiles of one unit are in one fold."""
    kind = StratifiedKFold if units is None else StratifiedGroupKFold
    splitter = kind(n_splits=n_folds, shuffle=True, random_state=seed)
    folds = np.zeros(len(labels), dtype=np.int64)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels, units)):
        folds[held_out] = fold
    return folds


def _refuse_impossible_split(
    ids: Sequence[str],
    masks: NDArray[np.bool_],
    n_folds: int,
    groups: Sequence[str] | None,
    units: Sequence[str] | None,
) -> None:
    repeated = [tile for tile, count in Counter(ids).items() if count > 1]
    if repeated:
        raise DataError(f"ids come twice: {shortlist(repeated)}", expected="each id once")
    if len(ids) != len(masks) or (groups is not None and len(ids) != len(groups)):
        raise DataError(f"{len(ids)} ids do not match the masks or groups in number")
    if n_folds < 2:
        raise ConfigError(f"{n_folds} folds leave nothing to validate on", expected="2 or more")
    kinds = ((ids, "tiles"), (groups, "groups"), (units, "sets of tiles that differ"))
    for names, name in kinds:
        if names is not None and len(set(names)) < n_folds:
            raise ConfigError(
                f"{len(set(names))} {name} cannot fill {n_folds} folds",
                expected=f"as many {name} as folds, or more",
                next_step=_fewer_folds(len(set(names))),
            )


def coverages(masks: NDArray[np.bool_]) -> list[float]:
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


def _stratum_labels(table: pd.DataFrame, n_folds: int) -> NDArray[np.int64]:
    """The strata to split by: the lowest two as one where either cannot reach every fold."""
    strata: NDArray[np.int64] = table["stratum"].to_numpy()
    empty, lowest = np.bincount(strata, minlength=2)[:2]
    if 0 < empty < n_folds or 0 < lowest < n_folds:
        return np.maximum(strata, 1)
    return strata


def _type_labels(table: pd.DataFrame, n_folds: int) -> NDArray[np.int64]:
    """The types to split by: those that cannot reach every fold as one.

    Where even that one cannot, it goes with the most frequent type.
    """
    labels = table[TYPE].map(TYPES.index).to_numpy(dtype=np.int64)
    counts = np.bincount(labels, minlength=len(TYPES))
    rare = counts[labels] < n_folds
    together = len(TYPES) if np.count_nonzero(rare) >= n_folds else int(counts.argmax())
    return np.where(rare, together, labels)


def _refuse_other_likeness(by: str) -> None:
    if by not in get_args(By):
        raise ConfigError(
            f"folds cannot be made alike in '{by}'",
            expected=" or ".join(get_args(By)),
            next_step="--by coverage or --by type",
        )


def _fewer_folds(most: int) -> str:
    if most < 2:
        return "more tiles, or other groups"
    return f"a smaller --n-folds: {salt_command('make-folds', '--n-folds', min(most, 5))}"


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
