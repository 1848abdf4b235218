"""Files that outlive a crash: written whole or not at all, and vouched for by a document.

An *artefact* is one file of data or more, and beside them a JSON document that says what they
were made of and holds their hash under :data:`HASH_KEY`. The document is gone before new data
take their names, and is written after them: if it is there, the data are whole and its own.
:func:`vouched` writes an artefact, :func:`vouched_for` asks whether one is there and the same.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from kaggle_salt.errors import DataError
from kaggle_salt.writing import ask_for, temporary_beside

T = TypeVar("T")

#: Where an artefact's document holds the hash of its data, as :func:`files_hash` gives it.
HASH_KEY = "content_hash"

#: Bytes of the largest document that is read whole. The ids of a million tiles take a tenth.
LARGEST_DOCUMENT = 1 << 28


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; flush and rename it when the block ends well.

    A reader sees the old file or the new one, never half of either.
    """
    with temporary_beside(path) as temporary:
        yield temporary
        _flush(temporary)
        ask_for(path)
        temporary.replace(path)


def create_text(path: Path, text: str) -> bool:
    """Write UTF-8 text under a name that nobody has taken; of several that try, one succeeds.

    Returns:
        Whether it was written: whole, and by this call.
    """
    with temporary_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        _flush(temporary)
        ask_for(path)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return temporary.stat().st_nlink > 1  # a network disk that was asked twice
        except OSError:  # a disk without hard links: for an instant the file is empty
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                return False
            temporary.replace(path)
        return True


def _flush(temporary: Path) -> None:
    """Have a file on the disk, and readable by others as any new file."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.chmod(0o644)


@dataclass(frozen=True)
class Draft:
    """An artefact that is being written.

    Args:
        paths: Where to write each file of the data, in the order they were named.
        document: What its document will say; to be filled before the block ends. The hash of
            the data is added then.
    """

    paths: tuple[Path, ...]
    document: dict[str, Any] = field(default_factory=dict)


@contextmanager
def vouched(document: Path, *data: Path) -> Iterator[Draft]:
    """Write data, and then the document that vouches for them.

    Nothing is touched before the block ends well. Then the old document goes, the new data
    take their names, and last the new document, which lies ready: whenever that is cut short,
    what is left is the old artefact, the new one, or data that nothing vouches for.

    Args:
        document: The JSON document.
        data: The files that it is about.
    """
    with ExitStack() as stack:
        vouching = stack.enter_context(temporary_beside(document))
        draft = Draft(tuple(stack.enter_context(temporary_beside(path)) for path in data))
        yield draft
        for temporary in draft.paths:
            _flush(temporary)
        draft.document[HASH_KEY] = files_hash(draft.paths)
        # what JSON or the disk cannot hold is refused before a file goes
        vouching.write_text(_json_text(draft.document), encoding="utf-8", newline="\n")
        _flush(vouching)
        ask_for(document)
        document.unlink(missing_ok=True)
        for temporary, path in zip(draft.paths, data, strict=True):
            temporary.replace(path)
        vouching.replace(document)


def vouched_for(
    document: Path, *data: Path, wanted: Mapping[str, Any], check_hash: bool
) -> dict[str, Any] | None:
    """The document of an artefact that is there and was made of the same.

    Args:
        document: The JSON document; a damaged one vouches for nothing.
        data: The files that it is about, as :func:`vouched` was given them.
        wanted: What the document must say, as far as it matters; JSON values.
        check_hash: Read the data and compare their hash with the document's. Leave it to small
            files: those that are mapped and read in part would be read for this alone.

    Returns:
        The document; None if a file is missing, the document says otherwise, or the data have
        changed.
    """
    if not document.exists() or not all(path.exists() for path in data):
        return None
    try:
        found = read_json(document)
    except DataError:
        return None
    as_written = json.loads(json.dumps(wanted))  # a tuple is written as a list
    if any(key not in found or found[key] != value for key, value in as_written.items()):
        return None
    if check_hash and found.get(HASH_KEY) != files_hash(data):
        return None
    return found


def differs(path: Path, new: Path) -> bool:
    """Whether a file is there that is another than a new one.

    Asked of data that nothing vouches for: a killed call's are the same as its next one's, what
    differs is somebody's own.
    """
    return path.exists() and file_hash(path) != file_hash(new)


def vouched_data(document: Path) -> list[Path]:
    """The data that a document vouches for: those that lie beside it under its name."""
    beside = (document.with_suffix(suffix) for suffix in (".csv", ".npy"))
    return [path for path in beside if path.exists()]


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON document atomically, indented, with a final newline."""
    write_text(path, _json_text(value))


def _json_text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def read_start(path: Path, limit: int) -> bytes:
    """The first ``limit`` bytes of a file, or all of them where there are fewer.

    Raises:
        OSError: It cannot be read, or is none: a pipe has no end to wait for, nor have all devices.
    """
    with open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, and no file", str(path))
        return file.read(min(limit, status.st_size))


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for whoever would write into a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_bytes(path: Path, limit: int = LARGEST_DOCUMENT) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: It cannot be read, is no regular file, or is larger than ``limit``.
    """
    content = read_start(path, limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit} bytes", str(path))
    return content


def parse(loads: Callable[[str], T], text: str) -> T:
    """What ``json.loads`` or ``tomllib.loads`` makes of a text.

    Raises:
        ValueError: It is not of the kind, or is nested deeper than the parser can follow.
    """
    try:
        return loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DataError: The file is missing or is not a JSON object.
    """
    try:
        value = parse(json.loads, read_bytes(path).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}",
            expected="a JSON file",
            next_step="run the command that writes it again",
        ) from error
    if not isinstance(value, dict):
        raise DataError(
            f"{path} holds a {type(value).__name__}",
            expected="a JSON object",
            next_step="run the command that writes it again",
        )
    return value


def bytes_hash(content: bytes) -> str:
    """SHA-256 of bytes, as hexadecimal: what :func:`file_hash` gives of a file that holds them."""
    return _new_hash(content).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _new_hash).hexdigest()


def files_hash(paths: Sequence[Path]) -> str:
    """SHA-256 over the hashes of several files; that of one file is its own."""
    hashes = [file_hash(path) for path in paths]
    if len(hashes) == 1:
        return hashes[0]
    return bytes_hash("".join(hashes).encode())


def _new_hash(content: bytes = b"") -> hashlib._Hash:
    """The one choice of a hash for files."""
    return hashlib.sha256(content)
