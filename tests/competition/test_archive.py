from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from kaggle_salt.competition.archive import (
    file_stamps,
    locate,
    open_archive,
    read_table,
    shortlist,
)
from kaggle_salt.errors import DataError
from tests.makers import pack, put, write_competition


def test_unpacked_folder_goes_before_the_zip(tmp_path: Path) -> None:
    put(tmp_path / "train.zip", b"")
    assert locate(tmp_path, "train") == tmp_path / "train.zip"
    (tmp_path / "train").mkdir()
    assert locate(tmp_path, "train") == tmp_path / "train.zip"
    (tmp_path / "train/images").mkdir()
    assert locate(tmp_path, "train") == tmp_path / "train"
    assert locate(tmp_path, "test") is None


@pytest.mark.parametrize("zipped", [False, True])
def test_members_are_found_by_kind_and_id(tmp_path: Path, zipped: bool) -> None:
    put(tmp_path / "train/images/a.png", b"1")
    put(tmp_path / "train/images/b.PNG", b"2")
    put(tmp_path / "train/masks/a.png", b"3")
    put(tmp_path / "train/images/._a.png", b"macOS")
    put(tmp_path / "train/images/Thumbs.db", b"Windows")
    if zipped:
        with zipfile.ZipFile(tmp_path / "train.zip", "w") as packed:
            for file in (tmp_path / "train").rglob("*.*"):
                packed.write(file, file.relative_to(tmp_path / "train"))
                file.unlink()
        (tmp_path / "train/images").rmdir()
    with open_archive(tmp_path, "train") as archive:
        assert archive.ids("images") == {"a", "b"}
        assert archive.ids("masks") == {"a"}
        assert archive.read("images", "b") == b"2"
        assert archive.read("masks", "a") == b"3"
        place = "train.zip" if zipped else "train"
        assert archive.name("masks", "a") == f"{place}/masks/a.png"


def test_leading_folder_in_a_zip_is_skipped(tmp_path: Path) -> None:
    put(tmp_path / "train/images/a.png", b"1")
    pack(tmp_path, "train", inside="somewhere/train/")
    with open_archive(tmp_path, "train") as archive:
        assert archive.read("images", "a") == b"1"
        assert archive.name("images", "a") == "train.zip/somewhere/train/images/a.png"


def test_nothing_there_is_an_empty_archive(tmp_path: Path) -> None:
    with open_archive(tmp_path, "test") as archive:
        assert archive.ids("images") == set()


def test_tile_with_two_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as packed:
        packed.writestr("images/a.png", b"1")
        packed.writestr("copy/images/a.png", b"1")
    twice = r"tile a twice: images/a\.png and copy/images/a\.png"
    with pytest.raises(DataError, match=twice), open_archive(tmp_path, "train"):
        pass


def test_truncated_zip_is_named(tmp_path: Path) -> None:
    put(tmp_path / "train/images/a.png", b"1" * 100)
    path = pack(tmp_path, "train")
    put(path, path.read_bytes()[:-30])
    refused = pytest.raises(DataError, match=r"train\.zip is truncated or not a zip")
    with refused, open_archive(tmp_path, "train"):
        pass


def test_damaged_member_is_named(tmp_path: Path) -> None:
    put(tmp_path / "train/images/a.png", b"1" * 100)
    path = pack(tmp_path, "train")
    put(path, path.read_bytes().replace(b"1" * 100, b"1" * 99 + b"2"))
    with open_archive(tmp_path, "train") as archive:
        with pytest.raises(DataError, match=r"train\.zip/images/a\.png cannot be read: Bad CRC"):
            archive.read("images", "a")


@pytest.mark.parametrize("zipped", [False, True])
def test_stamps_change_with_any_file(tmp_path: Path, zipped: bool) -> None:
    write_competition(tmp_path, n_train=2, n_test=1, zipped=zipped)
    before = file_stamps(tmp_path)
    assert len(before) == (5 if zipped else 3 + 2 + 2 + 1)
    assert file_stamps(tmp_path) == before
    (tmp_path / "notes.txt").write_text("no concern of ours")
    assert file_stamps(tmp_path) == before
    for path in [path for path in tmp_path.rglob("*.*") if path.name != "notes.txt"]:
        stat = path.stat()
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))
        assert file_stamps(tmp_path) != before
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert file_stamps(tmp_path) == before


def test_table_is_read_as_text(tmp_path: Path) -> None:
    put(tmp_path / "t.csv", b"id,x\n001,\nNA,1.50\n")
    table = read_table(tmp_path / "t.csv", ["id", "x"])
    assert table.to_numpy().tolist() == [["001", ""], ["NA", "1.50"]]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "cannot be read"),
        (b"id,x\n1,2\n1,2,3,4\n", "cannot be read"),
        (b"id,x\n\xff\xfe,2\n", "cannot be read"),
        (b"name,x\na,2\n", "has no column id"),
        (b"name,z\na,2\n", "has no column id, x"),
        (b"id,x\na,1\nb,2\na,3\n", "names a more than once"),
    ],
)
def test_bad_table_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    put(tmp_path / "t.csv", content)
    with pytest.raises(DataError, match=rf"t\.csv {complaint}[\s\S]*next: salt something"):
        read_table(tmp_path / "t.csv", ["id", "x"], next_step="salt something")


def test_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.csv cannot be read: .*No such file"):
        read_table(tmp_path / "t.csv", ["id"])


def test_shortlist_counts_the_rest() -> None:
    assert shortlist(["a"]) == "a"
    assert shortlist(["a", "b", "c"]) == "a, b, c"
    assert shortlist(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
