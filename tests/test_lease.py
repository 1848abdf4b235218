"""One owner for a folder, whatever happens to the process that has it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from kaggle_salt.errors import BusyError
from kaggle_salt.storage import lease
from kaggle_salt.storage.files import create_text, write_text
from kaggle_salt.storage.lease import DEAD_AFTER, Holder, hold, owner, refuse_owned

#: A process that began when no process did.
DEAD = replace(Holder.this_process(), began="0", token="dead")
ELSEWHERE = replace(Holder.this_process(), host="elsewhere", token="elsewhere")


def leave(folder: Path, holder: Holder, number: int = 1, *, silent: float = 0.0) -> Path:
    """A lease as another process wrote it, and touched it last ``silent`` seconds ago."""
    path = folder / f"lease-{number}.json"
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps(asdict(holder)), encoding="utf-8")
    touched = path.stat().st_mtime - silent
    os.utime(path, (touched, touched))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_lease_is_given_back_with_a_folder_that_stayed_empty(tmp_path: Path) -> None:
    empty, full = tmp_path / "runs/empty", tmp_path / "runs/full"
    with hold(empty), hold(full):
        assert names(empty) == ["lease-1.json"]
        write_text(full / "kept", "")
        found = owner(full)
        assert found is not None
        assert found.pid == os.getpid()
    assert not empty.exists()
    assert names(full) == ["kept"]
    assert owner(full) is None


def test_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    with hold(tmp_path):
        told = rf"in use: process {os.getpid()} on \S+ since \d{{4}}-"
        with pytest.raises(BusyError, match=told), hold(tmp_path):
            pass
        with pytest.raises(BusyError, match=told):
            refuse_owned(tmp_path)
    refuse_owned(tmp_path)
    refuse_owned(tmp_path / "nothing")


HOLDER = """
import sys, time
from pathlib import Path
from kaggle_salt.storage.lease import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_killed_process_owns_nothing(tmp_path: Path) -> None:
    call = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=f"process {process.pid} on"), hold(tmp_path):
            pass
        process.kill()
    with hold(tmp_path):
        assert names(tmp_path) == ["lease-2.json"]


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        holder = replace(DEAD, pid=process.pid, began=lease._began(process.pid))
        leave(tmp_path, holder)
        assert owner(tmp_path) == holder
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # over, and not asked for
        assert owner(tmp_path) is None


@pytest.mark.parametrize("pid", [os.getpid(), 2**30], ids=["taken", "free"])
def test_a_number_that_another_process_has_now_is_not_the_owner(tmp_path: Path, pid: int) -> None:
    leave(tmp_path, replace(DEAD, pid=pid))
    assert owner(tmp_path) is None
    with hold(tmp_path):
        assert names(tmp_path) == ["lease-2.json"]


@pytest.mark.parametrize(
    "holder",
    [
        ELSEWHERE,
        replace(DEAD, machine="the same name, or another container"),
        replace(DEAD, began=""),  # no /proc
    ],
)
def test_where_the_process_cannot_be_looked_up_the_heartbeat_decides(
    tmp_path: Path, holder: Holder
) -> None:
    leave(tmp_path, holder, silent=DEAD_AFTER - 60)
    with pytest.raises(BusyError, match=r"(?s)in use: .*wait until 120 seconds .* \d+ seconds ago"):
        refuse_owned(tmp_path)
    leave(tmp_path, holder, silent=DEAD_AFTER + 1)
    with hold(tmp_path):
        assert names(tmp_path) == ["lease-2.json"]


def test_a_damaged_lease_is_judged_by_its_age(tmp_path: Path) -> None:
    path = tmp_path / "lease-7.json"
    path.write_bytes(b"{")
    with pytest.raises(BusyError, match="a process that left a damaged lease"):
        refuse_owned(tmp_path)
    os.utime(path, (0, 0))
    with hold(tmp_path):
        assert names(tmp_path) == ["lease-8.json"]


def test_the_heart_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_EVERY", 0.01)
    with hold(tmp_path):
        path = tmp_path / "lease-1.json"
        os.utime(path, (0, 0))
        while not path.stat().st_mtime:
            threading.Event().wait(0.01)


def test_who_lost_its_lease_writes_nothing_more(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with hold(tmp_path):
        write_text(kept, "mine")
        leave(tmp_path, ELSEWHERE, 2)
        write_text(kept, "mine")  # a claim alone changes nothing: it may fail
        (tmp_path / "lease-1.json").unlink()
        with pytest.raises(BusyError, match=r"is held by process \d+ on elsewhere"):
            write_text(kept, "not mine any more")
        with pytest.raises(BusyError, match="writes nothing more there"):
            create_text(tmp_path / "new", "")
        write_text(tmp_path / "inside/file", "another folder")
    assert kept.read_text(encoding="utf-8") == "mine"
    assert names(tmp_path) == ["inside", "kept", "lease-2.json"]


def test_a_folder_that_was_removed_is_not_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with hold(folder):
        shutil.rmtree(folder)
        with pytest.raises(BusyError, match="is not held by this process any more"):
            write_text(folder / "checkpoint", "")
    assert not folder.exists()


def test_one_who_came_first_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at a dead lease and the next one, another gave it back or took it."""
    leave(tmp_path, DEAD)

    def late(path: Path, text: str) -> bool:
        leave(tmp_path, Holder.this_process())
        return create_text(path, text)

    monkeypatch.setattr(lease, "create_text", late)
    with pytest.raises(BusyError, match="in use"), hold(tmp_path):
        pass
    assert names(tmp_path) == ["lease-1.json"]


def test_of_many_at_once_one_owns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "TRY_EVERY", 0.001)
    leave(tmp_path, DEAD)
    write_text(tmp_path / "count", "0")
    start = threading.Barrier(6)

    def add() -> None:
        start.wait()
        with hold(tmp_path, patience=60):
            count = int((tmp_path / "count").read_text(encoding="utf-8"))
            write_text(tmp_path / "count", str(count + 1))

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "count").read_text(encoding="utf-8") == "6"
    assert names(tmp_path) == ["count"]


def test_a_name_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    assert create_text(path, "first")
    assert not create_text(path, "second")

    def no_links(*_: object) -> None:
        raise PermissionError("this disk has no hard links")

    monkeypatch.setattr(os, "link", no_links)
    assert not create_text(path, "third")
    assert create_text(tmp_path / "other", "fourth")
    assert path.read_text(encoding="utf-8") == "first"
    assert names(tmp_path) == ["file", "other"]
