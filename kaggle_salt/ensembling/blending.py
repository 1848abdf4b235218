"""Predictions of many networks made one: joined over folds, averaged over members.

Tiles are always matched by id, never by their place in an array. There are three averages of
stored probabilities, all in whole numbers. Each states what a stored value is worth, and which
level an average worth comes back to:

- ``mean``: of the probabilities.
- ``logits``: of the logits, which gives the last word to members that are sure. The values 0
  and 255 count as half a level from the end.
- ``vote``: the share of the members that say salt at threshold .5, whatever their certainty.

Sums of integers do not depend on the order of the members. For every average a blend of equal
members is their own answer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.decision import DEFAULT_LEVEL, LEVELS
from kaggle_salt.errors import ConfigError, DataError, nearest
from kaggle_salt.predictions import Predictions, blocks, create, load

AVERAGES = ("mean", "logits", "vote")

#: Weights that are not whole numbers are taken as whole parts of this.
_WEIGHT_UNITS = 2**20

#: Pixels averaged at once: their sums (4 or 8 bytes each) stay in the processor's cache.
_CHUNK_PIXELS = 2**16


#: A logit is stored in whole parts of this: the level it comes back to is good to a sixtieth.
_LOGIT_STEPS = 2**12


def join(parts: Sequence[Predictions]) -> Predictions:
    """Put the out-of-fold predictions of different folds together, in memory.

    Args:
        parts: Predictions of different tiles of one size.

    Returns:
        All tiles, in the order of the parts; the manifest lists the parts' manifests.

    Raises:
        DataError: There is no part, a tile comes twice, or tile sizes differ.
    """
    _check_sizes(parts)
    ids = tuple(tile for part in parts for tile in part.ids)
    probabilities = np.concatenate([part.probabilities for part in parts])
    return Predictions(ids, probabilities, {"parts": [dict(part.manifest) for part in parts]})


def common_ids(members: Sequence[Predictions]) -> tuple[str, ...]:
    """Tiles that every member predicted, in the order of the first member.

    Runs may have trained different folds; their blend can only be scored on these tiles.

    Raises:
        DataError: There is no member, or no such tile.
    """
    _check_sizes(members)
    shared = set(members[0].ids).intersection(*(member.ids for member in members[1:]))
    if not shared:
        raise DataError(
            f"no tile was predicted by all of the {len(members)} members",
            expected="runs with at least one trained fold in common",
            next_step="train the rest of each run: salt train --run RUN --fold all --resume",
        )
    return tuple(tile for tile in members[0].ids if tile in shared)


def blend(
    members: Sequence[Predictions],
    *,
    weights: Sequence[float] | None = None,
    how: str = "mean",
    ids: Sequence[str] | None = None,
    stem: Path | None = None,
) -> Predictions:
    """Weighted average of the members, tile by tile.

    The tiles go through in chunks: with ``stem`` not even the result has to fit into memory.
    Sums are of integers: the order of the members does not matter, and a mean is half a level
    (1/510) off at most. Whole weights are exact, others are good to a millionth of their sum.

    Args:
        members: Predictions of tiles of one size; may be memory-mapped.
        weights: One positive number for each member, of any sum; equal by default.
        how: What is averaged, one of :data:`AVERAGES`.
        ids: Tiles to blend, in this order, such as :func:`common_ids`. By default those of the
            first member, and then every member must hold exactly these.
        stem: Where to write the result; by default it stays in memory.

    Returns:
        The blend, memory-mapped where ``stem`` is given; its manifest holds the members', the
        average and the weights, which sum to 1.

    Raises:
        ConfigError: Not one positive weight for each member, or no such average.
        DataError: There is no member, tile sizes differ, or a member lacks a tile.
    """
    require_average(how)
    size = _check_sizes(members)
    units = _weight_units(weights, len(members))
    tiles = members[0].ids if ids is None else tuple(ids)
    rows = _rows_of(members, tiles, exact=ids is None)
    manifest = {
        "members": [dict(member.manifest) for member in members],
        "how": how,
        "weights": [unit / sum(units) for unit in units],
    }
    if stem is None:
        out = np.empty((len(tiles), *size), dtype=np.uint8)
        _fill(out, members, rows, units, how)
        return Predictions(tiles, out, manifest)
    with create(stem, tiles, size, manifest) as out:
        _fill(out, members, rows, units, how)
    return load(stem)


def _fill(
    out: NDArray[np.uint8],
    members: Sequence[Predictions],
    rows: Sequence[NDArray[np.int64]],
    units: Sequence[int],
    how: str,
) -> None:
    """Write the weighted average of ``members[m].probabilities[rows[m]]`` into ``out``."""
    number = sum_type(how)
    sources = [member.probabilities for member in members]
    for chunk in blocks(out, *sources, pixels=_CHUNK_PIXELS):
        total = np.zeros(out[chunk].shape, dtype=number)
        for source, source_rows, unit in zip(sources, rows, units, strict=True):
            total += worth(source[source_rows[chunk]], how) * number(unit)
        out[chunk] = to_levels(total, sum(units), how)


def _weight_units(weights: Sequence[float] | None, members: int) -> list[int]:
    """A whole number for each member; fractions become parts of ``_WEIGHT_UNITS``."""
    if weights is None:
        return [1] * members
    wrong = [weight for weight in weights if not (math.isfinite(weight) and weight > 0)]
    if wrong or len(weights) != members:
        raise ConfigError(
            f"weights {', '.join(map(str, weights))} for {members} members",
            expected="one positive number for each member",
        )
    if all(float(weight).is_integer() for weight in weights) and sum(weights) <= _WEIGHT_UNITS:
        return [int(weight) for weight in weights]
    relative = [weight / max(weights) for weight in weights]  # a sum of large ones may overflow
    total = math.fsum(relative)
    return [round(weight / total * _WEIGHT_UNITS) for weight in relative]


def _rows_of(
    members: Sequence[Predictions], tiles: Sequence[str], *, exact: bool
) -> list[NDArray[np.int64]]:
    return [
        _rows(member, tiles, f"member {number} of {len(members)}", exact=exact)
        for number, member in enumerate(members, start=1)
    ]


def _rows(
    member: Predictions, tiles: Sequence[str], name: str, *, exact: bool
) -> NDArray[np.int64]:
    """Rows of ``member`` that hold ``tiles``; with ``exact`` it must hold nothing more."""
    source = ", ".join(f"{key} {member.manifest[key]}" for key in ("run", "fold")
                       if key in member.manifest)  # fmt: skip
    label = f"{name} ({source})" if source else name
    held = set(member.ids)
    missing = [tile for tile in tiles if tile not in held]
    if missing:
        raise DataError(
            f"{label} lacks {len(missing)} of {len(tiles)} tiles, the first is {missing[0]}",
            expected="a prediction of every tile by every member",
        )
    if exact and len(member) > len(tiles):
        wanted = set(tiles)
        extra = next(tile for tile in member.ids if tile not in wanted)
        raise DataError(
            f"{label} has {len(member) - len(tiles)} tiles that the first member lacks, "
            f"the first is {extra}",
            expected="the same tiles in every member",
        )
    return member.rows(tiles)


def _check_sizes(members: Sequence[Predictions]) -> tuple[int, int]:
    """Height and width of all the tiles."""
    if not members:
        raise DataError(
            "there are no predictions to combine",
            expected="the predictions of at least one trained fold",
            next_step="train a fold first",
        )
    sizes = [member.probabilities.shape[1:] for member in members]
    for size in sizes:
        if size != sizes[0]:
            raise DataError(
                f"tiles of {size[0]}x{size[1]} and of {sizes[0][0]}x{sizes[0][1]} pixels",
                expected="predictions of one tile size",
            )
    height, width = sizes[0]
    return height, width


def require_average(how: str) -> None:
    """Refuse the name of an average that does not exist.

    Raises:
        ConfigError: With the nearest name.
    """
    if how not in AVERAGES:
        raise ConfigError(
            f"unknown average '{how}'", expected=nearest(how, AVERAGES), next_step="--how mean"
        )


def worth(values: NDArray[np.uint8], how: str) -> NDArray[Any]:
    """What stored values are worth in the average.

    Args:
        values: uint8 of any shape, probability = value / 255.
        how: One of :data:`AVERAGES`.

    Returns:
        Numbers from 0 on, of the same shape: uint8, bool for ``vote``, uint32 for ``logits``.
    """
    if how == "mean":
        return values
    if how == "vote":
        return values > DEFAULT_LEVEL
    return _worth_of_values()[values]


def sum_type(how: str) -> type[np.unsignedinteger]:
    """Type of a sum of worth times weight that :func:`to_levels` can take.

    32 bits, which are faster, do for weights of 2**20 in sum; logits need 64 for that.
    """
    return np.uint64 if how == "logits" else np.uint32


def to_levels(
    total: NDArray[np.unsignedinteger], units: int, how: str
) -> NDArray[np.unsignedinteger]:
    """The stored value that an average worth comes back to, halves upwards.

    Only for ``vote`` halves go downwards: a tie, half of the votes, is level 127, which is not
    salt at threshold .5.

    Args:
        total: uint32 or uint64 of any shape, sum of worth times weight; it is taken 510 times.
        units: Sum of the weights, whole numbers.
        how: One of :data:`AVERAGES`.

    Returns:
        Integers from 0 to 255, of the same shape.
    """
    if how == "vote":
        return (2 * (LEVELS - 1) * total + (units - 1)) // (2 * units)
    average = (2 * total + units) // (2 * units)
    return average if how == "mean" else _levels_of_worth()[average]


@functools.cache
def _worth_of_values() -> NDArray[np.uint32]:
    """Logit of each stored value, in steps above the lowest one; uint32 ``[256]``."""
    levels = np.clip(np.arange(LEVELS), 0.5, LEVELS - 1.5)
    logits = np.log(levels / (LEVELS - 1 - levels))
    steps = np.rint(logits * _LOGIT_STEPS).astype(np.int64)
    above_lowest: NDArray[np.uint32] = (steps - steps[0]).astype(np.uint32)
    return above_lowest


@functools.cache
def _levels_of_worth() -> NDArray[np.uint8]:
    """Level nearest to each logit, by steps above the lowest one; uint8 ``[2 * highest + 1]``."""
    highest = int(_worth_of_values()[-1]) // 2
    logits = np.arange(-highest, highest + 1) / _LOGIT_STEPS
    levels = np.floor((LEVELS - 1) / (1 + np.exp(-logits)) + 0.5).astype(np.uint8)
    levels[[0, -1]] = 0, LEVELS - 1  # where all are certain; half a level is for sums only
    return levels
