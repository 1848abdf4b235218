"""Where decoded tiles are kept, and how one knows that they still are the right ones.

A cache is a folder named after the fingerprint of the source files, so that a changed file
leads to another folder; its :data:`INDEX` is written last and says that it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike, NDArray

from kaggle_salt.competition.archive import file_stamps
from kaggle_salt.errors import DataError
from kaggle_salt.storage.files import HASH_KEY, files_hash, read_json, vouched, write_text
from kaggle_salt.storage.mapped import create_mapped
from kaggle_salt.storage.reading import parse
from kaggle_salt.storage.writing import NoRoomError, is_written_to

#: Raised whenever other pixels or other files would be written from the same sources.
FORMAT = 2
_ANY_WRITE_BIT = 0o222

#: The document that vouches for a cache's arrays (see :mod:`kaggle_salt.storage.files`).
INDEX = "index.json"

#: What the files were like when their hash was last found right; see :func:`read_index`.
VERIFIED = "verified.json"


def fingerprint(data: Path, threshold: int | None) -> str:
    """Name of a competition's cache, from its files' names, sizes and times and what masks are.

    Args:
        data: The competition folder.
        threshold: The grey level from which on masks are salt, if it was told.
    """
    stamps = json.dumps([FORMAT, threshold, file_stamps(data)])
    return hashlib.sha256(stamps.encode()).hexdigest()[:32]


def roots(data: Path) -> tuple[Path, Path]:
    """Where caches of a competition folder may lie: inside it, or in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME")
    user_cache = Path(home) if home else Path.home() / ".cache"
    location = hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:16]
    return data / ".salt-cache", user_cache / "kaggle_salt" / location


def new_roots(data: Path) -> tuple[Path, ...]:
    """Those of :func:`roots` that a new cache may go to, the first choice first."""
    beside, elsewhere = roots(data)
    # An administrator may write anywhere; a folder that nobody may write to stays as it is.
    protected = not data.stat().st_mode & _ANY_WRITE_BIT
    return (elsewhere,) if protected else (beside, elsewhere)


def create_root(data: Path, size: int) -> Path:
    """The first of :func:`roots` that can be written to, created.

    Args:
        data: The competition folder.
        size: Bytes that will be written.

    Raises:
        DataError: Neither can be.
    """
    for root in new_roots(data):
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=root):
                pass
            # the arrays take their room before they are filled; here a place is chosen
            if shutil.disk_usage(root).free > size:
                return root
        except OSError:
            continue
    raise DataError(
        f"there is no place for {size / 2**20:.0f} MiB of decoded tiles",
        expected=f"room and permission to write in {' or '.join(map(str, roots(data)))}",
        next_step="free some space, or name another folder in XDG_CACHE_HOME",
    )


def keep_only(folder: Path) -> None:
    """Remove the caches beside ``folder``: their source files are gone or changed.

    It is done by whoever uses a cache: the one that filled it may have been killed before. One
    that may not write here leaves all as it is.
    """
    ignored = folder.parent / ".gitignore"
    with suppress(OSError, NoRoomError):
        if not ignored.exists():
            write_text(ignored, "*\n")  # nobody wants to commit decoded tiles
        for other in folder.parent.iterdir():
            if other.is_dir() and other.name != folder.name and not is_written_to(other):
                shutil.rmtree(other, ignore_errors=True)


@contextmanager
def new_arrays(
    folder: Path, layout: Mapping[str, tuple[DTypeLike, tuple[int, ...]]]
) -> Iterator[tuple[Mapping[str, NDArray[Any]], dict[str, Any]]]:
    """Give memory-mapped arrays to fill; keep them as ``<name>.npy`` if the block ends well.

    With them comes the index, to be filled too.

    Args:
        folder: Where they go.
        layout: Type and shape of each array, by name.
    """
    with vouched(folder / INDEX, *array_paths(folder, layout)) as draft:
        arrays = {
            name: create_mapped(path, dtype, shape)
            for path, (name, (dtype, shape)) in zip(draft.paths, layout.items(), strict=True)
        }
        yield arrays, draft.document
        for array in arrays.values():
            array.flush()


def array_paths(folder: Path, names: Iterable[str]) -> list[Path]:
    """Where the arrays of a cache lie."""
    return [folder / f"{name}.npy" for name in names]


def read_index(folder: Path, names: Iterable[str]) -> dict[str, Any] | None:
    """The index of a cache whose arrays are as they were written; else None.

    To read them all takes longer than to open them, so it is done once: what is known of the files
    then is remembered beside them, and files of which the same is known are not read again.

    Raises:
        DataError: The index is missing or damaged.
        OSError: An array is missing.
    """
    arrays = array_paths(folder, names)
    remembered, stamps = folder / VERIFIED, [_stamp(path) for path in (folder / INDEX, *arrays)]
    with suppress(OSError, ValueError):
        if parse(json.loads, remembered.read_text(encoding="ascii")) == stamps:
            return read_json(folder / INDEX, known=True)
    index = read_json(folder / INDEX)
    if index.get(HASH_KEY) != files_hash(arrays):
        return None
    # Another's cache, or a full disk: the next call reads too.
    with suppress(OSError, NoRoomError):
        write_text(remembered, json.dumps(stamps))
    return index


def _stamp(path: Path) -> list[int]:
    """What is another whenever a file is written, replaced or copied, whatever its time says."""
    status = path.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
