"""A full disk, and what the dead have left: of every writer, on a real disk that is full."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from kaggle_salt import predictions
from kaggle_salt.competition.cache import new_arrays
from kaggle_salt.learning.checkpoint import Progress, save_checkpoint
from kaggle_salt.learning.keeping import save_weights
from kaggle_salt.storage import writing
from kaggle_salt.storage.files import atomic_path, read_json, vouched, vouched_for, write_text
from kaggle_salt.storage.lease import clear_dead, hold
from kaggle_salt.storage.writing import NoRoomError, clear_leftovers, leftovers
from tests.test_lease import DEAD, ELSEWHERE, leave

#: Bytes that fit on the small disk, or into a file.
ROOM = 1 << 20


@pytest.fixture(params=["disk", "limit"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder in which a file of two MiB has no room: on a small disk, or by a limit of sizes."""
    if request.param == "limit":
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
        yield tmp_path
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        return
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def network(megabytes: float) -> torch.nn.Module:
    return torch.nn.Linear(1024, int(megabytes * 256))


def write_checkpoint(folder: Path, megabytes: float) -> Path:
    save_checkpoint(folder / "checkpoint.pt", Progress(), network(megabytes), None)
    return folder / "checkpoint.pt"


def write_weights(folder: Path, megabytes: float) -> Path:
    save_weights(network(megabytes), folder / "weights.safetensors", {})
    return folder / "weights.safetensors"


def write_predictions(folder: Path, megabytes: float) -> Path:
    ids = tuple(map(str, range(int(megabytes * 64))))
    probabilities = np.ones((len(ids), 128, 128), np.uint8)
    predictions.save(folder / "oof", predictions.Predictions(ids, probabilities))
    return folder / "oof.npy"


def write_cache(folder: Path, megabytes: float) -> Path:
    layout = {"images": (np.uint8, (int(megabytes * 64), 128, 128)), "depths": (np.float64, (1,))}
    with new_arrays(folder, layout) as (arrays, _):
        arrays["images"][:] = 1
    return folder / "images.npy"


def write_table(folder: Path, megabytes: float) -> Path:
    write_text(folder / "history.csv", "0123456789abcde\n" * int(megabytes * 65536))
    return folder / "history.csv"


WRITERS = [write_checkpoint, write_weights, write_predictions, write_cache, write_table]


@pytest.mark.parametrize("write", WRITERS)
def test_a_full_disk_is_told_and_keeps_what_was_there(
    write: Callable[[Path, float], Path], small: Path
) -> None:
    path = write(small, 0.25)
    before = {file.name: file.read_bytes() for file in small.iterdir() if file.is_file()}
    with pytest.raises(NoRoomError, match=r"no room in (.|\n)*\nnext: make room"):
        write(small, 2)
    assert {file.name: file.read_bytes() for file in small.iterdir() if file.is_file()} == before
    assert path.name in before
    write(small, 0.25)


def test_a_document_without_room_leaves_what_it_would_have_vouched_for(small: Path) -> None:
    def write(text: str) -> None:
        with vouched(small / "a.json", small / "a.csv") as draft:
            draft.paths[0].write_text(text[:1], encoding="utf-8")
            draft.document["text"] = text

    write("old")
    with pytest.raises(NoRoomError, match=r"a\.(csv|json)"):
        write("new" * ROOM)
    assert vouched_for(small / "a.json", small / "a.csv", wanted={"text": "old"}, check_hash=True)


def test_another_fault_than_a_full_disk_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ours"), atomic_path(tmp_path / "a"):
        raise RuntimeError("ours")


def killed_while_it_writes(path: Path) -> Path:
    """What another process left that was killed while it wrote a file."""
    there = set(path.parent.iterdir())
    if not (child := os.fork()):
        with atomic_path(path):
            os._exit(9)
    os.waitpid(child, 0)
    [left] = set(path.parent.iterdir()) - there
    return left


def test_the_next_writer_clears_what_the_dead_left(tmp_path: Path) -> None:
    left = killed_while_it_writes(tmp_path / "weights.safetensors")
    assert leftovers(tmp_path) == [left]
    write_text(tmp_path / "history.csv", "next")
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]
    killed_while_it_writes(tmp_path / "lease-1.json")
    with hold(tmp_path):
        assert leftovers(tmp_path) == []


def test_one_of_many_files_is_written_without_a_look_at_the_others(tmp_path: Path) -> None:
    left = killed_while_it_writes(tmp_path / "a-mask.png")
    with atomic_path(tmp_path / "b-mask.png", tidy=False) as temporary:
        temporary.touch()
    assert leftovers(tmp_path) == [left]
    clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b-mask.png"]


def test_a_living_writers_file_stays(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "slow.npy") as temporary:
        write_text(tmp_path / "quick.csv", "")
        clear_leftovers(tmp_path)
        assert leftovers(tmp_path) == []
        assert temporary.exists()


def test_other_files_and_those_of_other_machines_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / ".vscode.settings"
    own.touch()
    left = killed_while_it_writes(tmp_path / "a.csv")
    monkeypatch.setattr(writing, "_host", lambda: "xyz")
    write_text(tmp_path / "b.csv", "")
    assert {own, left} < set(tmp_path.iterdir())


def test_a_file_that_is_taken_for_a_dead_ones_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its creation and its lock another writer may look at it."""
    usual, created = os.open, []

    def open_(path: str, flags: int, *mode: int, **given: int) -> int:
        file = usual(path, flags, *mode, **given)
        if flags & os.O_EXCL and not created:
            created.append(path)
            Path(path).unlink()
        return file

    monkeypatch.setattr(os, "open", open_)
    write_text(tmp_path / "a.csv", "whole")
    assert created
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("end", ["_end", "_create"])
def test_an_interrupt_at_the_worst_instant_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    usual, interrupts = getattr(writing, end), [KeyboardInterrupt("now")]

    def interrupted(path: Path, *rest: int) -> int:
        if interrupts and end == "_end":
            raise interrupts.pop()
        result: int = usual(path, *rest)
        if interrupts:
            raise interrupts.pop()
        return result

    monkeypatch.setattr(writing, end, interrupted)
    with pytest.raises(KeyboardInterrupt, match="now"):
        writing_fails(tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


def writing_fails(path: Path) -> None:
    with atomic_path(path):
        raise KeyError("something else")


def test_leases_of_the_dead_are_cleared_with_an_empty_folder(tmp_path: Path) -> None:
    dead, elsewhere = tmp_path / "dead", tmp_path / "elsewhere"
    leave(dead, DEAD)
    leave(elsewhere, ELSEWHERE)
    for folder in (dead, elsewhere, tmp_path / "nothing"):
        clear_dead(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]
    assert read_json(elsewhere / "lease-1.json")["token"] == "elsewhere"
