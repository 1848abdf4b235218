"""Kaggle's files as they are delivered: tables, and pictures in folders or still in zips."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Literal

import pandas as pd

from kaggle_salt.errors import DataError, shortened
from kaggle_salt.storage.csv_files import read_csv
from kaggle_salt.storage.files import changed
from kaggle_salt.storage.reading import read_start

#: What a picture is for: a training tile, its mask, or a test tile.
Role = Literal["images", "masks", "test"]

ROLES: tuple[Role, ...] = ("images", "masks", "test")

#: Where the pictures of a role may lie, the likeliest first: a folder or a zip of this name,
#: and the folder inside it; "" is directly inside.
PLACES: Mapping[Role, tuple[tuple[str, str], ...]] = {
    "images": (("train", "images"), ("train", ""), ("train_images", "")),
    "masks": (("train", "masks"), ("train_masks", ""), ("masks", "")),
    "test": (("test", "images"), ("test", ""), ("test_images", "")),
}
TABLES = ("train.csv", "depths.csv", "sample_submission.csv")
SUFFIXES = (".png", ".jpg", ".jpeg")

#: Some competitions name the mask of ``a.png`` so.
MASK_ENDING = "_mask"

#: How a zip may pack its files. Of others no part can be unpacked alone, whatever it grows to.
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

#: What :mod:`zipfile` raises of a zip that is damaged, or made to do damage.
ZIP_FAULTS = (
    EOFError, RuntimeError, ValueError, OverflowError, struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip

#: Next step for a file that came damaged.
GET_ANEW = "fetch the file anew; TGS's own: salt download --data data-anew, then --data data-anew"


class ZipError(DataError):
    """A zip that cannot be opened."""

    def __init__(self, path: Path, reason: Exception) -> None:
        super().__init__(
            f"{path} is truncated or not a zip: {reason}",
            expected="the zip as Kaggle delivers it",
            next_step=GET_ANEW,
        )
        self.path = path


@dataclass(frozen=True)
class Files:
    """The pictures of one role, in a folder or in a zip.

    Args:
        path: The folder or zip.
        members: The path inside ``path`` of each id's file.
        doubles: Ids with a second file: id, first file, other file.
        read_member: Gives the first so many bytes of one member; safe to call from several
            threads.
    """

    path: Path
    members: Mapping[str, str]
    doubles: tuple[tuple[str, str, str], ...]
    read_member: Callable[[str, int], bytes]

    def name(self, tile: str) -> str:
        """Where a tile's file lies, for messages: ``train.zip/images/<id>.png``."""
        return f"{self.path.name}/{self.members[tile]}"

    def read(self, tile: str, limit: int) -> bytes:
        """The first ``limit`` bytes of a tile's file, or all of them where there are fewer.

        What a zip says of a file's size is not believed: no more than this is unpacked.

        Raises:
            DataError: The file cannot be read, or fails the zip's own checksum.
        """
        try:
            return self.read_member(self.members[tile], limit)
        except (OSError, *ZIP_FAULTS) as error:
            raise DataError(
                f"{self.name(tile)} cannot be read: {error}",
                expected="a readable PNG or JPEG file",
                next_step=GET_ANEW,
            ) from error


def is_there(data: Path, role: Role) -> bool:
    """Whether there is a folder with pictures, or a zip that may hold them."""
    return _folder(data, role) is not None or any(_zips(data, role))


def _folder(data: Path, role: Role) -> tuple[Path, str] | None:
    """The folder of a role, and the folder inside it that holds pictures; None without one."""
    for root, inside in PLACES[role]:
        if next(_pictures(data / root / inside), None):
            return data / root, inside
    return None


def _pictures(folder: Path) -> Iterator[os.DirEntry[str]]:
    if folder.is_dir():
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if _is_picture(entry.name))


def _is_picture(name: str) -> bool:
    # macOS adds a shadow "._<id>.png" to every file it packs.
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _zips(data: Path, role: Role) -> Iterator[tuple[Path, str]]:
    for root, inside in PLACES[role]:
        if (data / f"{root}.zip").is_file():
            yield data / f"{root}.zip", inside


@contextmanager
def open_files(data: Path, role: Role) -> Iterator[Files]:
    """Open the pictures of a role; where there are none, no files.

    Where both are there a folder counts: it may have been edited, the zip cannot have been.

    Raises:
        ZipError: The zip is damaged.
    """
    unpacked = _folder(data, role)
    if unpacked is not None:
        path, inside = unpacked
        names = [os.path.join(inside, entry.name) for entry in _pictures(path / inside)]
        yield Files(path, *_by_id(role, names), _reader_in(path))
        return
    for packed, inside in _zips(data, role):
        with _open_zip(packed) as archive:
            if names := _inside(archive.namelist(), inside):
                yield Files(packed, *_by_id(role, names), _reader(archive))
                return
    root = PLACES[role][0][0]
    yield Files(data / root, {}, (), _reader_in(data / root))


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, *ZIP_FAULTS) as error:
        raise ZipError(path, error) from error


def _reader_in(folder: Path) -> Callable[[str, int], bytes]:
    return lambda name, limit: read_start(folder / name, limit)


def _reader(packed: zipfile.ZipFile) -> Callable[[str, int], bytes]:
    # ZipFile counts its open members without a lock, so concurrent reads could close it.
    lock = Lock()

    def read_member(name: str, limit: int) -> bytes:
        info = packed.getinfo(name)
        if info.compress_type not in PACKINGS:
            raise zipfile.BadZipFile("it is neither stored nor deflated")
        # Asked for all, zipfile would unpack whatever is there and then cut it to size.
        with lock, packed.open(info) as member:
            return member.read(min(limit, info.file_size))

    return read_member


def _inside(names: Iterable[str], folder: str) -> list[str]:
    """Pictures of a zip that lie in such a folder, whatever folders come before it.

    Without a folder, those of any but ``masks``.
    """
    paths = [(name, PurePosixPath(name)) for name in names]
    return [
        name
        for name, path in paths
        if _is_picture(path.name)
        and (path.parent.name == folder if folder else path.parent.name != "masks")
    ]


def _by_id(
    role: Role, names: Sequence[str]
) -> tuple[dict[str, str], tuple[tuple[str, str, str], ...]]:
    """Files by the id that they are called after, and the ids that have two."""
    ids = [os.path.splitext(os.path.basename(name))[0] for name in names]
    if role == "masks" and all(tile.endswith(MASK_ENDING) for tile in ids):
        ids = [tile.removesuffix(MASK_ENDING) for tile in ids]
    members: dict[str, str] = {}
    doubles = []
    for tile, name in zip(ids, names, strict=True):
        if tile in members:
            doubles.append((tile, members[tile], name))
        else:
            members[tile] = name
    return members, tuple(doubles)


def file_stamps(data: Path) -> list[tuple[str, int, int]]:
    """Name, size in bytes and modification time in ns of every source file in ``data``, sorted.

    Two equal lists mean that nothing was changed, without reading a single file.
    """
    roots = dict.fromkeys(root for places in PLACES.values() for root, _ in places)
    single = [*TABLES, *(f"{root}.zip" for root in roots)]
    stamps = [_stamp(name, (data / name).stat()) for name in single if (data / name).is_file()]
    for role in ROLES:
        if unpacked := _folder(data, role):
            folder = unpacked[0] / unpacked[1]
            place = folder.relative_to(data).as_posix()
            stamps += [_stamp(f"{place}/{e.name}", e.stat()) for e in _pictures(folder)]
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
    table = read_columns(path, columns, next_step=next_step)
    if twice := repeated(table[columns[0]]):
        raise DataError(
            f"{path} names {shortlist(twice)} more than once",
            expected="each id once",
            next_step=next_step,
        )
    return table


def read_columns(path: Path, columns: Sequence[str], *, next_step: str = GET_ANEW) -> pd.DataFrame:
    """The same as :func:`read_table`, but ids may repeat."""
    expected = f"a CSV file with the columns {', '.join(columns)}"
    try:
        table = read_csv(path)
        if changed(path):
            raise ValueError(f"it is not what {path.with_suffix('.json').name} was written about")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", expected=expected, next_step=next_step
        ) from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(
            f"{path} has no column {', '.join(missing)}", expected=expected, next_step=next_step
        )
    return table


def repeated(ids: pd.Series) -> tuple[str, ...]:
    """Ids that occur more than once, each once."""
    return tuple(dict.fromkeys(ids[ids.duplicated()]))


def shortlist(names: Sequence[str], limit: int = 3) -> str:
    """The first few names and how many more there are: ``a, b, c and 4 more``."""
    more = len(names) - limit
    return ", ".join(map(shortened, names[:limit])) + (f" and {more} more" if more > 0 else "")
