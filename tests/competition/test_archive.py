from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from kaggle_salt.competition.archive import (
    Role,
    file_stamps,
    is_there,
    open_files,
    read_table,
    shortlist,
)
from kaggle_salt.errors import DataError
from tests.makers import pack, put, write_competition


def members(data: Path, role: Role) -> tuple[str, dict[str, str]]:
    """Name of the folder or zip that a role's files are in, and the files by id."""
    with open_files(data, role) as files:
        return files.path.name, dict(files.members)


def test_unpacked_folder_goes_before_the_zip(tmp_path: Path) -> None:
    assert not is_there(tmp_path, "images")
    put(tmp_path / "train/images/a.png", b"1")
    pack(tmp_path, "train")
    assert members(tmp_path, "images") == ("train.zip", {"a": "images/a.png"})
    (tmp_path / "train/images").mkdir(parents=True)
    assert members(tmp_path, "images")[0] == "train.zip", "a folder without pictures"
    put(tmp_path / "train/images/b.png", b"2")
    assert members(tmp_path, "images") == ("train", {"b": "images/b.png"})
    assert is_there(tmp_path, "images")
    assert not is_there(tmp_path, "test")


@pytest.mark.parametrize("zipped", [False, True])
def test_files_are_found_by_role_and_id(tmp_path: Path, zipped: bool) -> None:
    put(tmp_path / "train/images/a.png", b"1")
    put(tmp_path / "train/images/b.PNG", b"2")
    put(tmp_path / "train/images/c.d.JPG", b"4")
    put(tmp_path / "train/masks/a.png", b"3")
    put(tmp_path / "train/images/._a.png", b"macOS")
    put(tmp_path / "train/images/Thumbs.db", b"Windows")
    if zipped:
        pack(tmp_path, "train")
    place = "train.zip" if zipped else "train"
    with open_files(tmp_path, "images") as images:
        assert set(images.members) == {"a", "b", "c.d"}
        assert images.read("b", 9) == b"2"
        assert images.name("c.d") == f"{place}/images/c.d.JPG"
    with open_files(tmp_path, "masks") as masks:
        assert set(masks.members) == {"a"}
        assert masks.read("a", 9) == b"3"
        assert masks.name("a") == f"{place}/masks/a.png"


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("role", "place"),
    [
        ("images", "train"), ("images", "train_images"), ("test", "test"), ("test", "test_images"),
        ("masks", "train_masks"), ("masks", "masks"),
    ],
)  # fmt: skip
def test_files_may_lie_flat(tmp_path: Path, role: Role, place: str, zipped: bool) -> None:
    put(tmp_path / place / "a.jpeg", b"1")
    if zipped:
        pack(tmp_path, place)
    assert is_there(tmp_path, role)
    assert members(tmp_path, role) == (f"{place}.zip" if zipped else place, {"a": "a.jpeg"})


def test_masks_beside_flat_images_in_a_zip_are_no_images(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as packed:
        packed.writestr("train/a.png", b"1")
        packed.writestr("train/masks/a.png", b"2")
    assert members(tmp_path, "images") == ("train.zip", {"a": "train/a.png"})
    assert members(tmp_path, "masks") == ("train.zip", {"a": "train/masks/a.png"})


def test_masks_may_be_called_masks(tmp_path: Path) -> None:
    for name in ("a_mask", "b_mask"):
        put(tmp_path / f"train_masks/{name}.png", b"1")
    assert members(tmp_path, "masks")[1] == {"a": "a_mask.png", "b": "b_mask.png"}
    put(tmp_path / "train_masks/c.png", b"1")
    assert set(members(tmp_path, "masks")[1]) == {"a_mask", "b_mask", "c"}, "not all are"


def test_leading_folder_in_a_zip_is_skipped(tmp_path: Path) -> None:
    put(tmp_path / "train/images/a.png", b"1")
    pack(tmp_path, "train", inside="somewhere/train/")
    with open_files(tmp_path, "images") as files:
        assert files.read("a", 9) == b"1"
        assert files.name("a") == "train.zip/somewhere/train/images/a.png"


def test_nothing_there_is_no_files(tmp_path: Path) -> None:
    assert members(tmp_path, "test") == ("test", {})


def test_second_file_of_a_tile_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as packed:
        packed.writestr("images/a.png", b"1")
        packed.writestr("copy/images/a.jpg", b"1")
    with open_files(tmp_path, "images") as files:
        assert files.members == {"a": "images/a.png"}
        assert files.doubles == (("a", "images/a.png", "copy/images/a.jpg"),)


def test_truncated_zip_is_named(tmp_path: Path) -> None:
    put(tmp_path / "train/images/a.png", b"1" * 100)
    path = pack(tmp_path, "train")
    put(path, path.read_bytes()[:-30])
    refused = pytest.raises(DataError, match=r"train\.zip is truncated or not a zip")
    with refused, open_files(tmp_path, "images"):
        pass


def test_damaged_member_is_named(tmp_path: Path) -> None:
    put(tmp_path / "train/images/a.png", b"1" * 100)
    path = pack(tmp_path, "train")
    put(path, path.read_bytes().replace(b"1" * 100, b"1" * 99 + b"2"))
    with open_files(tmp_path, "images") as files:
        with pytest.raises(DataError, match=r"train\.zip/images/a\.png cannot be read: Bad CRC"):
            files.read("a", 9)


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
