"""Kaggle's files as they are delivered: tables, and PNGs in a folder or still in a zip."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Literal

import pandas as pd

from kaggle_salt.errors import DataError

Split = Literal["train", "test"]
Kind = Literal["images", "masks"]

SPLITS: tuple[Split, ...] = ("train", "test")
KINDS: tuple[Kind, ...] = ("images", "masks")

#: Next step for a file that came damaged.
GET_ANEW = "fetch the files anew: salt download --data data-anew, then --data data-anew"


@dataclass(frozen=True)
class Archive:
    """The PNG files of ``train`` or ``test``, in a folder or in a zip.

    Args:
        path: The folder or zip.
        members: For each kind, the path inside the archive of each id's file.
        read_member: Gives the bytes of one member; safe to call from several threads.
    """

    path: Path
    members: dict[Kind, dict[str, str]]
    read_member: Callable[[str], bytes]

    def ids(self, kind: Kind) -> Set[str]:
        """Ids that have a file of this kind."""
        return self.members[kind].keys()

    def name(self, kind: Kind, tile: str) -> str:
        """Where a tile's file lies, for messages: ``train.zip/images/<id>.png``."""
        return f"{self.path.name}/{self.members[kind][tile]}"

    def read(self, kind: Kind, tile: str) -> bytes:
        """Bytes of a tile's file.

        Raises:
            DataError: The file cannot be read, or fails the zip's own checksum.
        """
        try:
            return self.read_member(self.members[kind][tile])
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(
                f"{self.name(kind, tile)} cannot be read: {error}",
                expected="a readable PNG file",
                next_step=GET_ANEW,
            ) from error


def locate(data: Path, split: Split) -> Path | None:
    """The folder or zip of a split; None if there is neither.

    Where both are there the folder counts: it may have been edited, the zip cannot have been.
    """
    folder, packed = data / split, data / f"{split}.zip"
    if (folder / "images").is_dir():
        return folder
    return packed if packed.is_file() else None


@contextmanager
def open_archive(data: Path, split: Split) -> Iterator[Archive]:
    """Open what :func:`locate` finds; where it finds nothing, an archive without files.

    Raises:
        DataError: The zip is damaged, or a tile has two files of one kind.
    """
    path = locate(data, split) or data / split
    if not path.is_file():
        members = _group(path, _folder_files(path))
        yield Archive(path, members, lambda name: (path / name).read_bytes())
        return
    try:
        packed = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is truncated or not a zip: {error}",
            expected="the zip as Kaggle delivers it",
            next_step=GET_ANEW,
        ) from error
    # ZipFile counts its open members without a lock, so concurrent reads could close it.
    lock = Lock()

    def read_member(name: str) -> bytes:
        with lock:
            return packed.read(name)

    with packed:
        yield Archive(path, _group(path, packed.namelist()), read_member)


def _folder_files(folder: Path) -> Iterator[str]:
    for kind in KINDS:
        if (folder / kind).is_dir():
            yield from (f"{kind}/{name}" for name in os.listdir(folder / kind))


def _group(archive: Path, names: Iterable[str]) -> dict[Kind, dict[str, str]]:
    """Sort member names by kind and id, whatever folders come before ``images/``."""
    members: dict[Kind, dict[str, str]] = {kind: {} for kind in KINDS}
    for name in names:
        member = PurePosixPath(name)
        # macOS adds a shadow "._<id>.png" to every file it packs.
        if member.suffix.lower() != ".png" or member.name.startswith("."):
            continue
        for kind in KINDS:
            if member.parent.name == kind:
                if member.stem in members[kind]:
                    raise DataError(
                        f"{archive.name} holds tile {member.stem} twice: "
                        f"{members[kind][member.stem]} and {name}",
                        expected=f"one file for each tile in {kind}/",
                        next_step="remove one of the two",
                    )
                members[kind][member.stem] = name
    return members


def file_stamps(data: Path) -> list[tuple[str, int, int]]:
    """Name, size in bytes and modification time in ns of every source file in ``data``, sorted.

    Two equal lists mean that nothing was changed, without reading a single file.
    """
    stamps = []
    for table in ("train.csv", "depths.csv", "sample_submission.csv"):
        if (data / table).is_file():
            stamps.append(_stamp(table, (data / table).stat()))
    for split in SPLITS:
        archive = locate(data, split)
        if archive is None:
            continue
        if archive.is_file():
            stamps.append(_stamp(archive.name, archive.stat()))
            continue
        for kind in KINDS:
            if (archive / kind).is_dir():
                with os.scandir(archive / kind) as entries:
                    stamps.extend(_stamp(f"{split}/{kind}/{e.name}", e.stat()) for e in entries)
    return sorted(stamps)


def _stamp(name: str, stat: os.stat_result) -> tuple[str, int, int]:
    return name, stat.st_size, stat.st_mtime_ns


def read_table(path: Path, columns: Sequence[str], *, next_step: str = GET_ANEW) -> pd.DataFrame:
    """Read a CSV file as text; an empty cell is ``""``.

    Args:
        path: The file.
        columns: Columns that must be there; the first holds ids, which may not repeat.
        next_step: What the error says to do when the file will not do.

    Raises:
        DataError: The file is missing or is not CSV, lacks a column, or names an id twice.
    """
    expected = f"a CSV file with the columns {', '.join(columns)}"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", expected=expected, next_step=next_step
        ) from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(missing)}", expected=expected, next_step=next_step
        )
    ids = table[columns[0]]
    if ids.duplicated().any():
        repeated = ids[ids.duplicated()].iloc[0]
        raise DataError(
            f"{path} names {repeated} more than once", expected="each id once", next_step=next_step
        )
    return table


def shortlist(names: Sequence[str], limit: int = 3) -> str:
    """The first few names and how many more there are: ``a, b, c and 4 more``."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")
