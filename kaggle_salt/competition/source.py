"""A competition's tables and files, joined by id, with everything that does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kaggle_salt.competition.archive import (
    ROLES,
    Files,
    Role,
    ZipError,
    is_there,
    open_files,
    read_columns,
    repeated,
    shortlist,
)
from kaggle_salt.competition.faults import Fault, Sort
from kaggle_salt.competition.mask_threshold import read_threshold
from kaggle_salt.errors import DataError, shortened

_SAME_IDS = "the same ids in the tables and among the files"


@dataclass(frozen=True)
class Source:
    """What lies in a competition folder, open.

    Args:
        files: The pictures of each role.
        ids: For each role the ids that have a file: in the order of the table that names them,
            then those that none names. Without a table, sorted.
        told: The run-length strings of ``train.csv`` by id; None where it has none.
        depths: Depth in feet by id; None without ``depths.csv``.
        threshold: The grey level from which on masks are salt; None for masks of two levels.
        faults: Everything that does not fit, before a single picture is read.
        notes: What a person should know of how the files were understood.
    """

    files: Mapping[Role, Files]
    ids: Mapping[Role, tuple[str, ...]]
    told: Mapping[str, str] | None
    depths: Mapping[str, float] | None
    threshold: int | None
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]


@contextmanager
def open_source(data: Path) -> Iterator[Source]:
    """Open all files of a competition folder and join them by id.

    Raises:
        DataError: There is no folder, or no file of training tiles in it. All other faults are
            collected.
        ConfigError: The remembered mask threshold cannot be used.
    """
    require_tiles(data)
    faults: list[Fault] = []
    with ExitStack() as stack:
        opened = {role: _open(stack, data, role, faults) for role in ROLES}
        # What a broken zip lacks is no fault of its own.
        whole = {role: files for role, files in opened.items() if files is not None}
        files = {role: whole.get(role, Files(data / role, {}, (), _no_bytes)) for role in ROLES}
        train = _read(data / "train.csv", ["id"], faults)
        sample = _read(data / "sample_submission.csv", ["id"], faults)
        faults += _second_files(whole)
        named = None if train is None else tuple(train["id"])
        wanted = None if sample is None else tuple(sample["id"])
        faults += [*_training_gaps(named, whole), *_test_gaps(wanted, files["test"])]
        order = {"images": named, "masks": named, "test": wanted}
        told = None
        if train is not None and "rle_mask" in train.columns:
            told = dict(zip(train["id"], train["rle_mask"], strict=True))
        yield Source(
            files=files,
            ids={role: _in_order(order[role] or (), files[role]) for role in ROLES},
            told=told,
            depths=_read_depths(data / "depths.csv", faults),
            threshold=read_threshold(data),
            faults=tuple(dict.fromkeys(faults)),
            notes=tuple(_notes(data, files)),
        )


def require_tiles(data: Path) -> None:
    """Refuse a folder without training tiles.

    Raises:
        DataError: There is no folder, or neither pictures nor a zip that could hold them.
    """
    expected = "train.csv and train.zip (or train/), test.zip (or test/), sample_submission.csv"
    next_step = "salt download, or --data FOLDER where the files are elsewhere"
    if not data.is_dir():
        raise DataError(f"there is no folder {data}", expected=expected, next_step=next_step)
    if not is_there(data, "images"):
        found = f"{data} has no train.zip and no PNG or JPEG files in train/images or train"
        raise DataError(found, expected=expected, next_step=next_step)


def _open(stack: ExitStack, data: Path, role: Role, faults: list[Fault]) -> Files | None:
    """The files of a role; None if they are in a zip that cannot be opened."""
    try:
        return stack.enter_context(open_files(data, role))
    except ZipError as error:
        faults.append(Fault.of(Sort.ZIP, error.path.name, error))
        return None


def _no_bytes(name: str, limit: int) -> bytes:
    return b""


def _read(path: Path, columns: Sequence[str], faults: list[Fault]) -> pd.DataFrame | None:
    """A table with each id once; None if it is not there or cannot be used."""
    if not path.is_file():
        return None
    try:
        table = read_columns(path, columns)
    except DataError as error:
        faults.append(Fault.of(Sort.TABLE, path.name, error))
        return None
    if twice := repeated(table["id"]):
        found = f"{path.name} names {shortlist(twice)} more than once"
        faults.append(Fault(Sort.ID_TWICE, twice, found, "each id once"))
    return table.drop_duplicates("id")


def _second_files(files: Mapping[Role, Files]) -> Iterator[Fault]:
    for role, pictures in files.items():
        for tile, first, other in pictures.doubles:
            found = f"{pictures.path.name} holds tile {tile} twice: {first} and {other}"
            yield Fault(
                Sort.FILE_TWICE, (tile,), found, f"one file for each tile of {role}",
                "remove one of the two",
            )  # fmt: skip


def _training_gaps(named: Sequence[str] | None, files: Mapping[Role, Files]) -> Iterator[Fault]:
    images, masks = files.get("images"), files.get("masks")
    if named is None:  # the images are the tiles
        if images and not images.members:
            found = f"{images.path} holds no PNG or JPEG file of a training tile"
            yield Fault(Sort.NO_IMAGE, (images.path.name,), found, "train/images or train.zip")
        elif images and masks:
            tiles, of_masks = sorted(images.members), sorted(masks.members)
            yield from _gap(Sort.NO_MASK, masks, "lacks masks of the images", tiles, of_masks)
            yield from _gap(Sort.NO_IMAGE, images, "lacks images of the masks", of_masks, tiles)
        return
    if not named:
        yield Fault(Sort.TABLE, ("train.csv",), "train.csv names no tile", "an id on each line")
    for role, sort in (("images", Sort.NO_IMAGE), ("masks", Sort.NO_MASK)):
        pictures = images if role == "images" else masks
        if pictures is None:
            continue
        yield from _gap(sort, pictures, f"lacks {role} of train.csv", named, pictures.members)
        yield from _gap(
            Sort.NO_ROW, pictures, f"has {role} that train.csv does not name",
            sorted(pictures.members), named,
        )  # fmt: skip


def _test_gaps(wanted: Sequence[str] | None, files: Files) -> Iterator[Fault]:
    if wanted is None or not files.members:  # without test tiles one can still train
        return
    yield from _gap(
        Sort.NO_IMAGE, files, "lacks images of sample_submission.csv", wanted, files.members
    )
    yield from _gap(
        Sort.NO_ROW, files, "has images that sample_submission.csv does not name",
        sorted(files.members), wanted,
    )  # fmt: skip


def _gap(
    sort: Sort, files: Files, what: str, ids: Iterable[str], there: Iterable[str]
) -> Iterator[Fault]:
    """The ids that are not there, as one fault; none if all are."""
    known = set(there)
    if missing := tuple(tile for tile in ids if tile not in known):
        yield Fault(sort, missing, f"{files.path.name} {what}: {shortlist(missing)}", _SAME_IDS)


def _in_order(named: Sequence[str], files: Files) -> tuple[str, ...]:
    known = set(named)
    rest = sorted(tile for tile in files.members if tile not in known)
    return (*(tile for tile in named if tile in files.members), *rest)


def _read_depths(path: Path, faults: list[Fault]) -> dict[str, float] | None:
    """Depth in feet of each tile that the file knows; None if there is no file to use."""
    table = _read(path, ["id", "z"], faults)
    if table is None:
        return None
    feet = pd.to_numeric(table["z"], errors="coerce").astype(np.float64)
    wrong = ~np.isfinite(feet)
    if wrong.any():
        row, tiles = table[wrong].iloc[0], tuple(table["id"][wrong])
        found = f"{path.name} gives the depth of {shortened(row['id'])} as '{shortened(row['z'])}'"
        if len(tiles) > 1:
            found += f", and no number to {len(tiles) - 1} more"
        faults.append(Fault(Sort.DEPTH, tiles, found, "a number of feet"))
    return dict(zip(table["id"][~wrong], feet[~wrong], strict=True))


def _notes(data: Path, files: Mapping[Role, Files]) -> Iterator[str]:
    if not (data / "train.csv").is_file():
        yield "no train.csv: the training tiles are the images, in the order of their names"
    if files["test"].members and not (data / "sample_submission.csv").is_file():
        yield (
            "no sample_submission.csv: a submission names the test images, in the order of "
            "their names"
        )
