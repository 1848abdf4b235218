import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kaggle_salt import predictions
from kaggle_salt.errors import DataError
from kaggle_salt.predictions import (
    Predictions,
    blocks,
    create,
    exists,
    load,
    load_same,
    map_array,
    refuse_duplicates,
    release,
    save,
)
from kaggle_salt.storage.files import HASH_KEY, file_hash, read_json, write_json


def maps(*values: int) -> NDArray[np.uint8]:
    """One map of 2 x 3 pixels for each value."""
    return np.broadcast_to(np.array(values, dtype=np.uint8)[:, None, None], (len(values), 2, 3))


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def stem(tmp_path: Path) -> Path:
    """Predictions of two tiles on disk."""
    stem = tmp_path / "oof"
    save(stem, Predictions(("a", "b"), maps(10, 20), {"fold": 0}))
    return stem


# --- in memory


def test_rows_are_found_by_id() -> None:
    predictions = Predictions(("c", "a", "b"), maps(1, 2, 3))
    assert len(predictions) == 3
    assert predictions.rows(["b", "c", "b"]).tolist() == [2, 0, 2]
    assert predictions.rows([]).dtype == np.int64


def test_missing_rows_are_counted_and_the_first_named() -> None:
    with pytest.raises(DataError, match="2 tiles have no prediction, the first is z"):
        Predictions(("a",), maps(1)).rows(["a", "z", "y"])


@pytest.mark.parametrize(
    ("probabilities", "found"),
    [
        (np.zeros((1, 2, 3)), r"float64 \[1, 2, 3\]"),
        (np.zeros((2, 3), dtype=np.uint8), r"uint8 \[2, 3\]"),
        (np.zeros((1, 2, 3), dtype=bool), r"bool \[1, 2, 3\]"),
    ],
)
def test_other_arrays_are_refused(probabilities: NDArray[np.uint8], found: str) -> None:
    with pytest.raises(DataError, match=rf"probabilities are {found}\nexpected: uint8 \[N, H, W\]"):
        Predictions(("a",), probabilities)


def test_ids_and_maps_must_be_as_many() -> None:
    with pytest.raises(DataError, match="2 ids for 1 probability maps"):
        Predictions(("a", "b"), maps(1))


def test_duplicates_are_refused() -> None:
    with pytest.raises(DataError, match="tile b is predicted twice"):
        Predictions(("a", "b", "b"), maps(1, 2, 3))
    refuse_duplicates(["a", "b"])


# --- on disk


@settings(max_examples=20)
@given(ids=st.lists(st.text(st.characters(codec="utf-8"), max_size=8), unique=True, max_size=5))
def test_what_is_saved_comes_back(ids: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    stem = tmp_path_factory.mktemp("saved") / "new" / "oof"
    saved = Predictions(tuple(ids), maps(*range(len(ids))), {"run": "x", "tta": ["flip"]})
    save(stem, saved)
    for loaded in (load(stem), load(stem, memory_map=False)):
        assert loaded.ids == saved.ids
        assert loaded.manifest == saved.manifest
        assert np.array_equal(loaded.probabilities, saved.probabilities)


def test_loading_leaves_the_maps_on_disk(stem: Path) -> None:
    assert contents(stem.parent) == ["oof.json", "oof.npy"]
    mapped = load(stem).probabilities
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    assert not isinstance(load(stem, memory_map=False).probabilities, np.memmap)


def test_a_stem_may_hold_a_dot(tmp_path: Path) -> None:
    save(tmp_path / "v1.5", Predictions(("a",), maps(1)))
    assert contents(tmp_path) == ["v1.5.json", "v1.5.npy"]
    assert load(tmp_path / "v1.5").ids == ("a",)


def test_predictions_can_be_written_over_those_they_are_read_from(stem: Path) -> None:
    old = load(stem)
    with create(stem, old.ids, (2, 3), {"fold": 1}) as out:
        out[:] = 255 - old.probabilities
    assert load(stem).probabilities[:, 0, 0].tolist() == [245, 235]
    assert load(stem).manifest == {"fold": 1}


def test_created_predictions_do_not_exist_before_the_block_ends(tmp_path: Path) -> None:
    stem = tmp_path / "test"
    with create(stem, ["a", "b"], (2, 3), {}) as out:
        assert out.shape == (2, 2, 3)
        assert out.dtype == np.uint8
        out[:] = maps(5, 6)
        assert not exists(stem)
    assert exists(stem)
    assert contents(tmp_path) == ["test.json", "test.npy"]


def test_a_crash_while_creating_leaves_the_old_whole(stem: Path) -> None:
    def crash() -> None:
        with create(stem, ["a", "b"], (2, 3), {}) as out:
            out[0] = 1
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        crash()
    assert contents(stem.parent) == ["oof.json", "oof.npy"]
    assert load(stem).probabilities[:, 0, 0].tolist() == [10, 20]
    assert load(stem).manifest == {"fold": 0}


def test_the_same_predictions_are_those_of_the_same_tiles_and_origin(stem: Path) -> None:
    told: list[str] = []
    same = load_same(stem, ["a", "b"], {"fold": 0}, told.append)
    assert same is not None
    assert same.probabilities[:, 0, 0].tolist() == [10, 20]
    assert load_same(stem, ["b", "a"], {"fold": 0}, told.append) is None
    assert load_same(stem, ["a", "b"], {"fold": 1}, told.append) is None
    assert load_same(stem.with_name("other"), ["a", "b"], {"fold": 0}, told.append) is None
    stem.with_suffix(".npy").unlink()
    assert load_same(stem, ["a", "b"], {"fold": 0}, told.append) is None


def test_the_document_holds_the_hash_of_the_array(stem: Path) -> None:
    assert read_json(stem.with_suffix(".json"))[HASH_KEY] == file_hash(stem.with_suffix(".npy"))


def test_missing_files_are_named(stem: Path) -> None:
    stem.with_suffix(".npy").unlink()
    with pytest.raises(DataError, match=r"oof\.npy cannot be read: FileNotFoundError") as caught:
        load(stem)
    assert caught.value.next_step.startswith("delete both files")
    stem.with_suffix(".json").unlink()
    assert not exists(stem)
    with pytest.raises(DataError, match=r"oof\.json cannot be read"):
        load(stem)


@pytest.mark.parametrize("memory_map", [True, False])
@pytest.mark.parametrize("kept_bytes", [0, 5, 130])
def test_a_truncated_array_is_named(stem: Path, memory_map: bool, kept_bytes: int) -> None:
    path = stem.with_suffix(".npy")
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(DataError, match=r"oof\.npy cannot be read: "):
        load(stem, memory_map=memory_map)


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({"manifest": {}}, "KeyError: 'ids'"),
        ({"ids": ["a", "b"]}, "KeyError: 'manifest'"),
        ({"ids": 2, "manifest": {}}, "TypeError"),
        ({"ids": ["a"], "manifest": {}}, "1 ids for 2 probability maps"),
        ({"ids": ["a", "a"], "manifest": {}}, "tile a is predicted twice"),
    ],
)
def test_ids_that_do_not_fit_the_array_are_named(
    stem: Path, meta: dict[str, object], reason: str
) -> None:
    write_json(stem.with_suffix(".json"), meta)
    with pytest.raises(DataError, match=rf"oof\.npy cannot be read: {reason}"):
        load(stem)


def says_no_hash(stem: Path) -> None:
    """The document of an earlier version: it takes what lies beside it."""
    document = read_json(stem.with_suffix(".json"))
    del document[HASH_KEY]
    write_json(stem.with_suffix(".json"), document)


def test_a_changed_array_is_refused_whatever_its_size_and_time(stem: Path) -> None:
    path = stem.with_suffix(".npy")
    content, times = bytearray(path.read_bytes()), path.stat()
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    for memory_map in (True, False):
        with pytest.raises(DataError, match=r"oof\.npy cannot be read: .* has changed"):
            load(stem, memory_map=memory_map)
    says_no_hash(stem)
    assert load(stem).probabilities[-1, -1, -1] == content[-1]  # an earlier version's are trusted


@pytest.mark.parametrize("file", [".npy", ".json"])
def test_of_the_same_predictions_damage_is_told_and_others_come_in_their_place(
    stem: Path, file: str
) -> None:
    path = stem.with_suffix(file)
    path.write_bytes(path.read_bytes()[:-9] + b'x"}      ')
    told: list[str] = []
    assert load_same(stem, ["a", "b"], {"fold": 0}, told.append) is None
    assert re.search(rf"oof\{file} cannot be read: .*is made again", *told)


HEADERS = {
    "TokenError": b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3",
    "SyntaxError": b"{'descr': '|u1', 'fortran_order': False,, 'shape': (2, 2, 3), }",
    "UnicodeError": b"{'descr': '|u1', 'fortran_order': False, 'sh\xffpe': (2, 2, 3), }",
    "OverflowError": b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, "
    + b"9" * 30
    + b"), }",
    "several arrays": b"",
}


@pytest.mark.parametrize("fault", HEADERS)
def test_whatever_a_header_makes_python_trip_over_is_one_error(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "a.npy"
    if header := HEADERS[fault]:
        header = header.ljust(117) + b"\n"
        start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        path.write_bytes(start + header + bytes(12))
    else:
        np.savez(tmp_path / "a.npz", a=np.zeros(3))
        (tmp_path / "a.npz").rename(path)
    with pytest.raises(ValueError, match=r"\w"):
        map_array(path)


def test_an_array_of_another_kind_is_refused(stem: Path) -> None:
    np.save(stem.with_suffix(".npy"), np.zeros((2, 2, 3)))
    says_no_hash(stem)
    with pytest.raises(DataError, match="probabilities are float64"):
        load(stem)


def test_no_pickle_is_loaded(stem: Path) -> None:
    np.save(stem.with_suffix(".npy"), np.array([{"a": 1}], dtype=object), allow_pickle=True)
    says_no_hash(stem)
    with pytest.raises(DataError, match=r"oof\.npy cannot be read: ValueError"):
        load(stem)


# --- a block at a time


@pytest.mark.parametrize(
    ("pixels", "tiles_at_once"), [(1, 1), (6, 1), (17, 2), (18, 3), (60, 10), (1000, 10)]
)
def test_blocks_are_all_tiles_in_order(pixels: int, tiles_at_once: int) -> None:
    tiles = maps(*range(10))
    parts = [tiles[block] for block in blocks(tiles, pixels=pixels)]
    assert np.array_equal(np.concatenate(parts), tiles)
    assert max(map(len, parts)) == len(parts[0]) == tiles_at_once


def test_no_tiles_make_no_block() -> None:
    assert list(blocks(maps(), pixels=8)) == []


@pytest.mark.parametrize("pixels_between", [1, 12, 13, 1000])
def test_blocks_are_released_soon(pixels_between: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "BLOCK_PIXELS", pixels_between)
    held: dict[int, int] = {}
    most = 0
    monkeypatch.setattr(predictions, "release", lambda array: held.pop(id(array)))
    one, other = maps(*range(5)).copy(), maps(*range(5)).copy()
    for block in blocks(one, other, pixels=12):
        for array in (one, other):
            held[id(array)] = held.get(id(array), 0) + array[block].size
        most = max(most, *held.values())
    assert not held
    assert most <= pixels_between + 12


def test_released_pages_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "maps.npy"
    written = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(3, 64, 64))  # type: ignore[no-untyped-call]
    written[:] = 7
    release(written)
    written[1] = 9
    release(written)
    read = np.load(path, mmap_mode="r")
    release(read)
    release(read[:2])
    assert [int(tile.mean()) for tile in read] == [7, 9, 7]
    private = np.load(path, mmap_mode="c")
    private[:] = 1
    release(private)
    assert private.all()
    release(np.ones(3))
