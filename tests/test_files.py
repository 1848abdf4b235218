from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaggle_salt.errors import DataError
from kaggle_salt.storage.files import (
    HASH_KEY,
    atomic_path,
    bytes_hash,
    file_hash,
    files_hash,
    read_json,
    vouched,
    vouched_for,
    write_json,
    write_text,
)


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "weights.bin"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"whole")
        assert temporary.parent == target.parent  # or the rename could cross file systems
        assert temporary.suffix == target.suffix
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert contents(target.parent) == ["weights.bin"]


@pytest.mark.parametrize("crash", [RuntimeError, KeyboardInterrupt])
def test_a_crash_leaves_the_old_file_and_nothing_else(
    crash: type[BaseException], tmp_path: Path
) -> None:
    target = tmp_path / "history.csv"
    target.write_text("old")

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("hal")
            raise crash("power cut")

    with pytest.raises(crash, match="power cut"):
        write_half()
    assert target.read_text() == "old"
    assert contents(tmp_path) == ["history.csv"]


def test_files_can_be_read_by_others_as_any_new_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "a")
    assert (tmp_path / "a.txt").stat().st_mode & 0o444 == 0o444


def test_text_is_written_byte_for_byte(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", "é\nb\n")
    assert (tmp_path / "a.csv").read_bytes() == "é\nb\n".encode()


def test_json_comes_back(tmp_path: Path) -> None:
    value = {"score": 0.75, "ids": ["ü"], "nested": {"none": None}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert "ü" in text


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "a.json", {"path": tmp_path})
    assert read_json(tmp_path / "a.json") == {"old": 1}
    assert contents(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"half": ', r"a\.json cannot be read: .*\nexpected: a JSON object"),
        (b"\xff\xfe", r"a\.json cannot be read: "),
        (b"[1, 2]", r"a\.json cannot be read: it holds a list\nexpected: a JSON object"),
    ],
)
def test_damaged_json_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_json(tmp_path / "a.json")


def test_missing_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"fold\.json cannot be read"):
        read_json(tmp_path / "fold.json")


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"salt")
    assert file_hash(tmp_path / "a") == hashlib.sha256(b"salt").hexdigest()


def test_hash_of_several_files_is_over_theirs(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text(path.name)
    both = "".join(file_hash(path) for path in paths)
    assert files_hash(paths) == bytes_hash(both.encode())
    assert files_hash(paths[:1]) == file_hash(paths[0]) == bytes_hash(b"a")


# --- data, and the document that vouches for them


DATA = ("one.bin", "two.bin")


def write_artefact(folder: Path, content: str) -> None:
    """Two files that hold ``content``, and a document that says so."""
    with vouched(folder / "made.json", *(folder / name for name in DATA)) as draft:
        for path in draft.paths:
            path.write_text(content)
        draft.document["made_of"] = content


def artefact(folder: Path, *, check_hash: bool = True, **wanted: object) -> dict[str, Any] | None:
    paths = (folder / name for name in DATA)
    return vouched_for(folder / "made.json", *paths, wanted=wanted, check_hash=check_hash)


def test_the_document_holds_the_hash_and_what_was_said(tmp_path: Path) -> None:
    write_artefact(tmp_path, "old")
    assert contents(tmp_path) == ["made.json", *DATA]
    digest = files_hash([tmp_path / name for name in DATA])
    assert read_json(tmp_path / "made.json") == {"made_of": "old", HASH_KEY: digest}
    assert artefact(tmp_path, made_of="old") == {"made_of": "old", HASH_KEY: digest}


@pytest.mark.parametrize("crash", [RuntimeError, KeyboardInterrupt])
def test_what_fails_while_it_is_made_leaves_the_old(
    crash: type[BaseException], tmp_path: Path
) -> None:
    def write_half() -> None:
        with vouched(tmp_path / "made.json", *(tmp_path / name for name in DATA)) as draft:
            draft.paths[0].write_text("half")
            raise crash("power cut")

    write_artefact(tmp_path, "old")
    with pytest.raises(crash, match="power cut"):
        write_half()
    assert contents(tmp_path) == ["made.json", *DATA]
    assert artefact(tmp_path, made_of="old") is not None


def test_a_document_that_json_cannot_hold_leaves_the_old(tmp_path: Path) -> None:
    def write_path() -> None:
        with vouched(tmp_path / "made.json", *(tmp_path / name for name in DATA)) as draft:
            draft.document["made_of"] = tmp_path

    write_artefact(tmp_path, "old")
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_path()
    assert artefact(tmp_path, made_of="old") is not None


class Death(BaseException):
    """The process is gone: nothing that touches a file is done any more."""


STEPS = (
    (os, "open"), (os, "fsync"), (Path, "chmod"), (Path, "unlink"), (Path, "replace"),
    (Path, "write_text"),
)  # fmt: skip


def die_at(patch: pytest.MonkeyPatch, step: int, *, after: bool) -> list[str]:
    """From the ``step``-th touch of a file on do nothing, counted from 0; give the touches.

    Args:
        patch: Undone by the caller.
        step: Which touch fails.
        after: It is done, and the process dies right then.
    """
    done: list[str] = []

    def mortal(name: str, usual: Callable[..., object]) -> Callable[..., object]:
        def touch(*args: Any, **kwargs: Any) -> object:
            number = len(done)
            done.append(name)
            if number > step or (number == step and not after):
                raise Death
            result = usual(*args, **kwargs)
            if number == step:
                raise Death
            return result

        return touch

    for owner, name in STEPS:
        patch.setattr(owner, name, mortal(name, getattr(owner, name)))
    return done


def touches_of_an_artefact(folder: Path) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        done = die_at(patch, 10**6, after=False)
        write_artefact(folder, "new")
    return done


@pytest.mark.parametrize("after", [False, True])
def test_whenever_it_dies_no_document_vouches_for_other_data(after: bool, tmp_path: Path) -> None:
    touches = touches_of_an_artefact(tmp_path / "whole")
    renamed = [name for name in touches if name in ("unlink", "replace")]
    assert renamed[:4] == ["unlink", "replace", "replace", "replace"], (
        "the document goes, and comes"
    )
    assert "write_text" not in touches[touches.index("unlink") :], "all is written before"
    left = set()
    for step in range(len(touches)):
        folder = tmp_path / str(step)
        write_artefact(folder, "old")
        with pytest.MonkeyPatch.context() as patch:
            die_at(patch, step, after=after)
            with pytest.raises(Death):
                write_artefact(folder, "new")
        document = folder / "made.json"
        found = read_json(document)["made_of"] if document.exists() else None
        left.add(found)
        if found:
            assert [(folder / name).read_text() for name in DATA] == [found] * 2, step
            assert artefact(folder, made_of=found) is not None, step
        write_artefact(folder, "next")  # nothing that is left is in the way
        assert artefact(folder, made_of="next") is not None
    assert left == {"old", None, "new"}


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "two.bin").unlink(),
        lambda folder: (folder / "made.json").unlink(),
        lambda folder: (folder / "made.json").write_text("{"),
        lambda folder: (folder / "made.json").write_text("[]"),
        lambda folder: write_json(folder / "made.json", {"made_of": "new"}),
        lambda folder: write_json(folder / "made.json", {"made_of": "old"}),  # and no hash
        lambda folder: (folder / "two.bin").write_text("changed"),
    ],
)
def test_what_is_not_whole_or_not_the_same_does_not_count(
    change: Callable[[Path], object], tmp_path: Path
) -> None:
    write_artefact(tmp_path, "old")
    assert artefact(tmp_path, made_of="old") is not None
    change(tmp_path)
    assert artefact(tmp_path, made_of="old") is None


def test_the_hash_is_looked_at_only_when_asked(tmp_path: Path) -> None:
    write_artefact(tmp_path, "old")
    (tmp_path / "two.bin").write_text("changed")
    assert artefact(tmp_path, check_hash=False, made_of="old") is not None


def test_what_is_wanted_is_compared_as_json_has_it(tmp_path: Path) -> None:
    with vouched(tmp_path / "made.json") as draft:
        draft.document.update(ids=("a", "b"), nothing=None, rate=0.1)
    assert vouched_for(tmp_path / "made.json", wanted={"ids": ("a", "b")}, check_hash=False)
    assert vouched_for(tmp_path / "made.json", wanted={"rate": 0.1}, check_hash=False)
    assert vouched_for(tmp_path / "made.json", wanted={"missing": None}, check_hash=False) is None
