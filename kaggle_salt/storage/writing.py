"""How a file is begun: under a name of its own, with leave to write, and room for what comes.

A file is written under a temporary name in its folder. As long as it is written its writer holds
a lock on it, which the system takes away when the process ends, however it ends. So who writes in
a folder later knows what the dead have left there, and clears it.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import platform
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kaggle_salt.errors import SaltError, reason

try:
    import fcntl
except ImportError:  # Windows: what the dead have left stays there
    fcntl = None  # type: ignore[assignment]

#: What a system says where no more can be written: a full disk, a quota, a limit of file sizes.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

#: How libraries written in Rust tell what the system said.
_OS_ERROR = re.compile(r"\(os error (\d+)\)")

#: Bytes that are asked for to know whether room is what a writer lacked.
_PROBE = 1 << 20

#: Temporary names, of this machine or another: the last eight characters tell them apart.
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}(\.\w+)?")

#: What is asked before a file of a folder is written; see :func:`guarded`.
_guards: dict[Path, Callable[[], None]] = {}


class NoRoomError(SaltError):
    """The disk is full, or a limit is reached."""


@contextmanager
def guarded(folder: Path, ask: Callable[[], None]) -> Iterator[None]:
    """Let this process write no file in a folder unless ``ask`` lets it, while the block runs.

    It is asked before a file is begun and again before it takes its name; what it raises keeps
    the old file. Files in folders inside the folder are not asked for.
    """
    key = folder.resolve()
    _guards[key] = ask
    try:
        yield
    finally:
        del _guards[key]


def ask_for(path: Path) -> None:
    """Ask whoever guards the folder of a file for leave to write it."""
    if _guards and (ask := _guards.get(path.parent.resolve())):
        ask()


@contextmanager
def temporary_beside(path: Path, *, tidy: bool = True) -> Iterator[Path]:
    """An empty file in the folder of ``path``, removed in the end unless it was renamed.

    Args:
        path: The file to be.
        tidy: Clear what others left in that folder who were killed while they wrote. Whoever
            writes many files there does it once, with :func:`clear_leftovers`: it looks at each.

    Raises:
        NoRoomError: The block failed because no more can be written.
    """
    ask_for(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if tidy:
        clear_leftovers(path.parent)
    chance = secrets.token_hex(3)[:5]
    temporary = path.with_name(f".{path.name}.{_host()}{chance}{path.suffix}")
    lock = -1
    try:
        with _told_of_room(path, temporary):
            lock = _create(temporary)
            yield temporary
    finally:
        try:
            _end(temporary, lock)
        except KeyboardInterrupt:  # no instant is a wrong one for it
            _end(temporary, lock)
            raise


def _end(temporary: Path, lock: int) -> None:
    temporary.unlink(missing_ok=True)
    if lock >= 0:
        with suppress(OSError):
            os.close(lock)


def _create(temporary: Path) -> int:
    """Create a file, and lock it; the lock goes with the descriptor that is given back."""
    while True:
        file = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        if fcntl:
            with suppress(OSError):  # a disk without locks
                fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return file
        os.close(file)  # another took it for a dead one's, before it was locked


def leftovers(folder: Path) -> list[Path]:
    """Temporary files in a folder and those below whose writers were killed."""
    found = (path for path in folder.rglob(".*") if _TEMPORARY.fullmatch(path.name))
    return sorted(path for path in found if _abandoned(path, lambda _: None))


def is_written_to(folder: Path) -> bool:
    """Whether a living process writes a file in a folder."""
    names = (path for path in folder.glob(".*") if _TEMPORARY.fullmatch(path.name))
    return any(not _abandoned(path, lambda _: None) for path in names)


def clear_leftovers(folder: Path) -> None:
    """Remove from a folder what writers on this machine left who were killed.

    On a shared disk another machine's locks need not be known here: its files stay.
    """
    own = re.compile(rf"\..+\.{_host()}[a-z0-9]{{5}}(\.\w+)?")
    with suppress(OSError), os.scandir(folder) as entries:
        hidden = [entry.name for entry in entries if entry.name.startswith(".")]  # of many files
        for name in filter(own.fullmatch, hidden):
            _abandoned(folder / name, lambda path: path.unlink(missing_ok=True))


def _abandoned(path: Path, then: Callable[[Path], None]) -> bool:
    """Whether nobody holds a temporary file's lock; ``then`` is done while nobody can take it."""
    if not fcntl:
        return True
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        then(path)
    except OSError:
        return False
    finally:
        os.close(file)
    return True


@functools.cache
def _host() -> str:
    """Three characters for this machine."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:3]


def reserve(path: Path, size: int) -> None:
    """Take room for a file that is there, before it is mapped and filled.

    A mapped page for which there is no room when it is written kills the process.

    Raises:
        OSError: There is no room for so many bytes.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("rb+") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def _told_of_room(path: Path, temporary: Path) -> Iterator[None]:
    try:
        yield
    except SaltError:
        raise
    except Exception as error:  # libraries that write have errors of their own for a full disk
        told = _lack_of_room(temporary, error)
        if told is None:
            raise
        library = "" if getattr(error, "strerror", None) == told else reason(error)
        raise NoRoomError(
            f"there is no room in {path.parent} for {path.name}: {told}"
            + f" ({library})" * bool(library),
            expected="room on that disk and in your quota there, and no limit on the size of files",
            next_step="make room; what is there stays as it was",
        ) from error


def _lack_of_room(temporary: Path, error: Exception) -> str | None:
    """What the system says of the room there is, where that is what went wrong.

    In words: an exception that is kept keeps its frames, and with them the file that is to go.
    """
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return error.strerror
    if (told := _OS_ERROR.search(str(error))) and int(told[1]) in _NO_ROOM:
        return os.strerror(int(told[1]))
    try:
        reserve(temporary, temporary.stat().st_size + _PROBE)
    except OSError as lacking:
        return lacking.strerror if lacking.errno in _NO_ROOM else None
    return None
