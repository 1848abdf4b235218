"""Who may write in a folder: one process, for as long as it lives and nobody takes it over.

A process that writes in a folder for long, as a training does, holds its *lease*: a file
``lease-<n>.json`` that names the machine, the process, when the process began, and a token. The
owner is whoever holds the highest number.

- *Taking.* Number ``n + 1`` is created, exclusively and whole, where ``n`` is the highest there
  is and its process is dead. Of several that try, one succeeds; the others find it alive. It then
  looks again: if ``n`` is not any more the lease that it found dead, it gives its own back.
- *Dead.* On the same machine the kernel knows: there is no process of that number that began at
  that time. Of another machine on a shared disk, of another container, and where there is no
  ``/proc``, only the heartbeat tells: a thread touches the file every :data:`BEAT_EVERY` seconds,
  and one that was not touched for :data:`DEAD_AFTER` seconds is dead. The time is that of the
  disk, so that the clocks of two machines need not agree.
- *Looking.* Before each file that it writes in the folder (see
  :func:`kaggle_salt.storage.writing.guarded`) the owner looks whether its own lease is still
  there: whoever takes over removes it, a claim that fails does not. If it is gone, the owner
  stops with a :class:`BusyError` and writes nothing. So one that was thought dead, its machine
  asleep or its disk away, does no harm.
- *Giving back.* The file goes in the end, and with it the folder if nothing else is in it.
"""

from __future__ import annotations

import functools
import json
import math
import os
import platform
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from kaggle_salt.errors import BusyError
from kaggle_salt.storage.files import create_text
from kaggle_salt.storage.writing import guarded

#: Seconds between two heartbeats.
BEAT_EVERY = 10.0

#: Seconds without a heartbeat after which an owner that cannot be looked up is dead. Longer than
#: a network disk keeps what it knows of a file, and than the pauses of a busy one.
DEAD_AFTER = 120.0

#: Seconds between two tries of one who waits for an owner.
TRY_EVERY = 0.1

_NAME = re.compile(r"lease-(\d+)\.json")


@dataclass(frozen=True)
class Holder:
    """Who holds a lease; nothing is known of one whose file cannot be read.

    Args:
        host: Name of its machine.
        machine: Since when that runs, and which of its containers it is: numbers of processes
            mean the same where this is the same.
        pid: Number of the process.
        began: When the process began, as its kernel counts.
        since: When it took the lease, as its own clock has it.
        token: Tells this lease from any other.
    """

    host: str = ""
    machine: str = ""
    pid: int = 0
    began: str = ""
    since: str = ""
    token: str = ""

    @classmethod
    def this_process(cls) -> Holder:
        """A new lease's."""
        pid, since = os.getpid(), datetime.now().astimezone().isoformat(timespec="seconds")
        token = secrets.token_hex(8)
        return cls(platform.node(), _machine(), pid, _began(pid), since, token)

    def __str__(self) -> str:
        if not self.pid:
            return "a process that left a damaged lease"
        return f"process {self.pid} on {self.host} since {self.since}"

    @property
    def known_here(self) -> bool:
        """Whether this machine can tell if the process lives."""
        here = (platform.node(), _machine())
        return bool(self.began and self.machine) and (self.host, self.machine) == here


def is_lease(path: Path) -> bool:
    """Whether a file says who owns its folder."""
    return _NAME.fullmatch(path.name) is not None


def owner(folder: Path) -> Holder | None:
    """The living process that holds the lease of a folder, if there is one."""
    number, holder = _highest(folder)
    return holder if holder and _lives(_path(folder, number), holder) else None


def refuse_owned(folder: Path) -> None:
    """Refuse a folder that a living process holds.

    Raises:
        BusyError: Who holds it.
    """
    number, holder = _highest(folder)
    if holder and _lives(_path(folder, number), holder):
        raise _busy(_path(folder, number), holder)


@contextmanager
def hold(folder: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Own a folder while the block runs; it is created if it is not there.

    Args:
        folder: The folder.
        patience: Seconds to wait for another that holds it for a moment.

    Raises:
        BusyError: Another process, or another thread of this one, holds it and lives; or, when
            the block writes, it was taken over meanwhile.
    """
    mine, ended = Holder.this_process(), threading.Event()
    try:
        path = _take(folder, mine, time.monotonic() + patience)
        threading.Thread(target=_beat, args=(path, mine, ended), daemon=True).start()
        with guarded(folder, lambda: _refuse_lost(path, mine)):
            yield
    finally:
        try:
            _give_back(folder, mine, ended)
        except KeyboardInterrupt:  # no instant is a wrong one for it
            _give_back(folder, mine, ended)
            raise


def _give_back(folder: Path, mine: Holder, ended: threading.Event) -> None:
    ended.set()
    for path in _leases(folder):
        if _read(path) == mine:
            path.unlink(missing_ok=True)
    with suppress(OSError):  # succeeds if nothing was written
        folder.rmdir()


def clear_dead(folder: Path) -> None:
    """Remove what dead owners left of a folder that this process may take: leases, maybe all."""
    if owner(folder) is None:
        for path in _leases(folder):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # succeeds if they left nothing else
            folder.rmdir()


def _take(folder: Path, mine: Holder, until: float) -> Path:
    """Create the next lease as soon as the last one is dead."""
    text = json.dumps(asdict(mine)) + "\n"
    while True:
        last, holder = _highest(folder)
        if holder and _lives(_path(folder, last), holder):
            if time.monotonic() >= until:
                raise _busy(_path(folder, last), holder)
            time.sleep(TRY_EVERY)
            continue
        path = _path(folder, last + 1)
        try:
            if not create_text(path, text):
                continue
        except FileNotFoundError:
            continue  # another gave it back, and the folder with it
        if _highest(folder)[0] == last + 1 and _read(_path(folder, last)) == holder:
            for number in range(1, last + 1):
                _path(folder, number).unlink(missing_ok=True)
            return path
        path.unlink(missing_ok=True)


def _refuse_lost(path: Path, mine: Holder) -> None:
    # by its own file: one that takes over removes it, and a higher one may be a claim that fails
    if _read(path) == mine:
        return
    _, holder = _highest(path.parent)
    now = f"is held by {holder}" if holder else "is not held by this process any more"
    raise BusyError(
        f"{path.parent} {now}: this process stops, and writes nothing more there",
        expected=f"the lease {path.name} of this process",
        next_step="let the other go on" if holder else "leave the folder alone while it is written",
    )


def _busy(path: Path, holder: Holder) -> BusyError:
    silent = "" if holder.known_here else (
        f"; if it is dead, wait until {DEAD_AFTER:.0f} seconds have gone by since its last sign of "
        f"life, which was {_silence(path):.0f} seconds ago"
    )  # fmt: skip
    return BusyError(
        f"{path.parent} is in use: {holder}",
        expected="one process at a time",
        next_step=f"wait until it ends, or end it{silent}",
    )


def _beat(path: Path, mine: Holder, ended: threading.Event) -> None:
    """Show that the process lives, until the lease is given back or lost."""
    while not ended.wait(BEAT_EVERY):
        with suppress(OSError):  # the disk may be back for the next one
            if _read(path) == mine:
                os.utime(path)


def _path(folder: Path, number: int) -> Path:
    return folder / f"lease-{number}.json"


def _leases(folder: Path) -> list[Path]:
    return [path for path in folder.glob("lease-*") if is_lease(path)]


def _highest(folder: Path) -> tuple[int, Holder | None]:
    """The last lease and who holds it; 0 and nobody where there is none."""
    while numbers := [int(_NAME.sub(r"\1", path.name)) for path in _leases(folder)]:
        if holder := _read(_path(folder, max(numbers))):
            return max(numbers), holder
    return 0, None


def _read(path: Path) -> Holder | None:
    """Who holds a lease; None if there is no such file."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        return Holder()


def _lives(path: Path, holder: Holder) -> bool:
    """Whether the process that holds a lease lives, as far as can be known here."""
    if holder.known_here:
        return _began(holder.pid) == holder.began
    return _silence(path) < DEAD_AFTER


def _silence(path: Path) -> float:
    """Seconds since the last heartbeat, by the clock of the disk; infinite without a file."""
    try:
        with path.open("rb") as file:  # opened, because a network disk then looks anew
            touched = os.fstat(file.fileno()).st_mtime
    except OSError:
        return math.inf
    try:
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            now = os.fstat(probe.fileno()).st_mtime
    except OSError:  # a disk that this process may only read
        now = time.time()
    return max(0.0, now - touched)


def _began(pid: int) -> str:
    """When a process began, in ticks of its kernel; empty if it is over, or nothing tells."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *rest = told.rpartition(")")[2].split()  # its name may hold anything
    return "" if state in "ZX" else rest[18]


@functools.cache
def _machine() -> str:
    """This start of this machine, and which of its containers; empty where nothing tells."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
