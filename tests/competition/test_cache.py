from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from kaggle_salt.competition import cache
from kaggle_salt.errors import DataError
from kaggle_salt.predictions import map_array
from kaggle_salt.storage.files import read_json
from kaggle_salt.storage.writing import NoRoomError


@pytest.fixture
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return tmp_path / "user-cache"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_root_is_inside_the_data_folder(data: Path) -> None:
    assert cache.create_root(data, 1) == data / ".salt-cache"
    assert (data / ".salt-cache").is_dir()


def test_root_without_xdg_variable_is_in_the_home(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache.roots(data)[1].is_relative_to(Path.home() / ".cache" / "kaggle_salt")


def test_user_cache_where_the_folder_cannot_be_created(data: Path, user_cache: Path) -> None:
    (data / ".salt-cache").write_text("in the way")
    root = cache.create_root(data, 1)
    assert root.is_relative_to(user_cache / "kaggle_salt")


def test_user_cache_where_nobody_may_write(data: Path, user_cache: Path) -> None:
    data.chmod(0o555)
    try:
        assert cache.create_root(data, 1).is_relative_to(user_cache / "kaggle_salt")
        assert list(data.iterdir()) == []
    finally:
        data.chmod(0o755)


def test_two_competitions_do_not_share_a_user_cache(tmp_path: Path) -> None:
    assert cache.roots(tmp_path / "a")[1] != cache.roots(tmp_path / "b")[1]
    assert cache.roots(tmp_path / "a")[1] == cache.roots(tmp_path / "b" / ".." / "a")[1]


def test_no_place_is_an_error_before_anything_is_written(data: Path, user_cache: Path) -> None:
    with pytest.raises(DataError, match=r"no place for 1048576 MiB[\s\S]*XDG_CACHE_HOME"):
        cache.create_root(data, 2**40)


def test_arrays_are_kept_only_if_the_block_ends_well(tmp_path: Path) -> None:
    layout = {"a": (np.uint8, (2, 3)), "none": (np.float64, (0,))}
    with pytest.raises(RuntimeError, match="half way"), cache.new_arrays(tmp_path, layout):
        raise RuntimeError("half way")
    assert list(tmp_path.iterdir()) == []
    with cache.new_arrays(tmp_path, layout) as (arrays, index):
        arrays["a"][:] = 7
        index["ids"] = ["x"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "index.json", "none.npy"]
    assert read_json(tmp_path / "index.json")["ids"] == ["x"]
    mapped = map_array(tmp_path / "a.npy")
    assert mapped.tolist() == [[7, 7, 7], [7, 7, 7]]
    assert not mapped.flags.writeable
    assert map_array(tmp_path / "none.npy").shape == (0,)


def test_old_caches_are_removed(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.npy").touch()
    cache.keep_only(tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", "new"]
    assert (tmp_path / "new/a.npy").exists()
    assert (tmp_path / ".gitignore").read_text() == "*\n"


def test_another_threshold_is_another_cache(data: Path) -> None:
    names = {cache.fingerprint(data, level) for level in (None, 1, 128)}
    assert len(names) == 3
    assert cache.fingerprint(data, 128) in names


def test_arrays_are_read_whole_once_and_again_after_they_were_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = {"a": (np.uint8, (2, 3))}
    with cache.new_arrays(tmp_path, layout) as (_, index):
        index["ids"] = ["x"]
    hashed: list[str] = []

    def files_hash(paths: list[Path]) -> str:
        hashed.append(paths[0].name)
        return usual(paths)

    usual = cache.files_hash
    monkeypatch.setattr(cache, "files_hash", files_hash)
    for _ in range(3):
        index = cache.read_index(tmp_path, layout) or {}
        assert index["ids"] == ["x"]
    assert hashed == ["a.npy"]
    (tmp_path / "a.npy").touch()
    assert cache.read_index(tmp_path, layout)
    path, times = tmp_path / "a.npy", (tmp_path / "a.npy").stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # its time says nothing of it
    assert cache.read_index(tmp_path, layout) is None
    content[-1] ^= 1
    path.write_bytes(content)
    (tmp_path / cache.VERIFIED).write_bytes(b"\xff[")
    assert cache.read_index(tmp_path, layout)
    assert len(hashed) == 4


def test_arrays_are_read_where_there_is_no_room_to_remember_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(path: Path, text: str) -> None:
        raise NoRoomError(
            f"there is no room for {path.name}", expected="room", next_step="make room"
        )

    layout = {"images": (np.uint8, (2,))}
    with cache.new_arrays(tmp_path, layout):
        pass
    monkeypatch.setattr(cache, "write_text", no_room)
    assert cache.read_index(tmp_path, layout)
    assert not (tmp_path / cache.VERIFIED).exists()
