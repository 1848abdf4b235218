"""Files that outlive a crash: written whole or not at all, and vouched for by a document.

An *artefact* is one file of data or more, and beside them a JSON document that says what they
were made of and holds their hash under :data:`HASH_KEY`. The document is gone before new data
take their names, and is written after them: if it is there, the data are whole and its own.
:func:`vouched` writes an artefact, :func:`vouched_for` asks whether one is there and the same.
A document vouches for itself under :data:`SEAL_KEY`: :func:`read_json` refuses a damaged one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaggle_salt.errors import DataError
from kaggle_salt.storage.reading import parse, read_bytes
from kaggle_salt.storage.writing import ask_for, temporary_beside

#: Where an artefact's document holds the hash of its data, as :func:`files_hash` gives it.
HASH_KEY = "content_hash"

#: Where a document holds the hash of all else that it says. Without it, it is of an earlier version
#: and is taken as it is. Whoever reads a document with :func:`read_json` does not see the key.
SEAL_KEY = "document_hash"

#: What to do about a damaged document where nothing better is known.
WRITE_AGAIN = "run the command that writes it again, or restore it from a copy"


@contextmanager
def atomic_path(path: Path, *, tidy: bool = True) -> Iterator[Path]:
    """Give a temporary path beside ``path``; flush and rename it when the block ends well.

    A reader sees the old file or the new one, never half of either. For ``tidy`` see
    :func:`kaggle_salt.storage.writing.temporary_beside`.
    """
    with temporary_beside(path, tidy=tidy) as temporary:
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


def changed(data: Path) -> bool:
    """Whether a file is other than what a document vouches for that lies beside it, of its name.

    Of a file without such a document nothing is known: it may be anybody's.
    """
    document = data.with_suffix(".json")
    try:
        told = read_json(document).get(HASH_KEY) if document.exists() else None
    except DataError:
        return False
    return told is not None and told != file_hash(data)


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
    says = json.dumps(value)  # as it will be read: a tuple as a list, keys as text
    sealed = {**value, SEAL_KEY: _seal_of(json.loads(says))}
    return json.dumps(sealed, indent=2, ensure_ascii=False) + "\n"


def _seal_of(says: Mapping[str, Any]) -> str:
    """The hash of what a document says, however it is laid out."""
    return bytes_hash(json.dumps(says, sort_keys=True).encode())


def read_json(path: Path, *, next_step: str = WRITE_AGAIN, known: bool = False) -> dict[str, Any]:
    """Read a JSON object; one that :func:`write_json` or :func:`vouched` wrote, as it was written.

    Args:
        path: The file.
        next_step: How it is made again, for the message.
        known: It is known to be as it was written: its own hash is not looked at.

    Raises:
        DataError: The file is missing, is not a JSON object, or has changed since it was written.
    """
    try:
        value = parse(json.loads, read_bytes(path).decode("utf-8"))
        if not isinstance(value, dict):
            raise ValueError(f"it holds a {type(value).__name__}")
        seal = value.pop(SEAL_KEY, None)
        if not known and seal is not None and seal != _seal_of(value):
            raise ValueError("it has changed since it was written")
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", expected="a JSON object", next_step=next_step
        ) from error
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
