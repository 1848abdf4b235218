from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pandas.testing import assert_frame_equal

from kaggle_salt.competition.fold_files import read_folds, read_groups, write_folds
from kaggle_salt.competition.folds import fold_rows, make_folds, summarise
from kaggle_salt.errors import ConfigError, DataError
from tests.makers import put, write_table


def masks_of(areas: list[int]) -> NDArray[np.bool_]:
    """Masks of 4x4 pixels with so many set."""
    return (np.arange(16) < np.array(areas).reshape(-1, 1)).reshape(-1, 4, 4)


def names(number: int) -> list[str]:
    return [f"t{row:03d}" for row in range(number)]


AREAS = [0] * 10 + [*range(1, 11)]
IDS = names(20)

some_areas = st.lists(st.integers(0, 16), min_size=5, max_size=60)


@given(areas=some_areas, n_folds=st.integers(2, 5), seed=st.integers(0, 99))
def test_every_tile_once_and_folds_of_like_size(areas: list[int], n_folds: int, seed: int) -> None:
    ids = names(len(areas))
    table = make_folds(ids, masks_of(areas), n_folds=n_folds, seed=seed)
    assert list(table.columns) == ["id", "coverage", "stratum", "type", "fold"]
    assert table["id"].tolist() == ids
    assert table["coverage"].tolist() == [area / 16 for area in areas]
    sizes = np.bincount(table["fold"], minlength=n_folds)
    assert len(sizes) == n_folds
    assert sizes.max() - sizes.min() <= 1


@given(areas=some_areas, n_folds=st.integers(2, 5))
def test_strata_reach_every_fold(areas: list[int], n_folds: int) -> None:
    table = make_folds(names(len(areas)), masks_of(areas), n_folds=n_folds)
    assert ((table["stratum"] == 0) == (table["coverage"] == 0)).all()
    if table["stratum"].value_counts().min() < n_folds:
        return  # too few of a kind: they share their places with the next stratum
    for stratum, tiles in table.groupby("stratum"):
        per_fold = np.bincount(tiles["fold"], minlength=n_folds)
        assert per_fold.max() - per_fold.min() <= 1, stratum


@given(areas=some_areas, data=st.data())
def test_order_does_not_matter(areas: list[int], data: st.DataObject) -> None:
    ids, masks = names(len(areas)), masks_of(areas)
    order = data.draw(st.permutations(range(len(areas))))
    shuffled = make_folds([ids[row] for row in order], masks[order], n_folds=3)
    assert_frame_equal(shuffled, make_folds(ids, masks, n_folds=3))


@given(
    tiles=st.lists(
        st.tuples(st.integers(0, 16), st.sampled_from("abcdefgh")), min_size=8, max_size=60
    ),
    n_folds=st.integers(2, 3),
    data=st.data(),
)
def test_groups_are_never_split(
    tiles: list[tuple[int, str]], n_folds: int, data: st.DataObject
) -> None:
    tiles = [*tiles, (0, "a"), (3, "b"), (9, "c")]  # as many groups as folds
    areas, groups = [area for area, _ in tiles], [group for _, group in tiles]
    ids = names(len(tiles))
    table = make_folds(ids, masks_of(areas), n_folds=n_folds, groups=groups)
    assert table["group"].tolist() == groups
    assert (table.groupby("group")["fold"].nunique() == 1).all()
    assert set(table["fold"]) == set(range(n_folds))
    order = data.draw(st.permutations(range(len(tiles))))
    shuffled = make_folds(
        [ids[row] for row in order],
        masks_of(areas)[order],
        n_folds=n_folds,
        groups=[groups[row] for row in order],
    )
    assert_frame_equal(shuffled, table)


def test_strata_by_hand() -> None:
    # 10 empty tiles; 10 others make 5 strata of 2, the smallest that reach both folds
    table = make_folds(IDS, masks_of(AREAS), n_folds=2)
    assert table["stratum"].tolist() == [0] * 10 + [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    for _, tiles in table.groupby("stratum"):
        assert (tiles["fold"] == 0).sum() == len(tiles) / 2


def test_strata_are_ten_at_most() -> None:
    table = make_folds(names(100), masks_of([1 + row % 16 for row in range(100)]), n_folds=5)
    assert np.bincount(table["stratum"]).tolist() == [0] + [10] * 10


def test_known_table() -> None:
    """The same data and seed must give these folds on every machine and in every release."""
    table = make_folds(names(12), masks_of([0] * 6 + [1, 2, 3, 4, 5, 6]), n_folds=3, seed=1)
    assert table["fold"].tolist() == [1, 0, 2, 0, 1, 2, 0, 2, 1, 0, 2, 1]


def test_seed_changes_the_folds() -> None:
    tables = [make_folds(IDS, masks_of(AREAS), seed=seed)["fold"].tolist() for seed in (0, 1)]
    assert tables[0] != tables[1]


@pytest.mark.parametrize("areas", [[0, 1, 1, 1, 1], [0, 0, 0, 0, 5], [0] * 5, [7] * 5])
def test_few_tiles_of_a_kind_are_still_dealt_out(areas: list[int]) -> None:
    table = make_folds(names(5), masks_of(areas), n_folds=5)
    assert sorted(table["fold"]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("n_folds", [-1, 0, 1])
def test_fewer_than_two_folds_are_refused(n_folds: int) -> None:
    with pytest.raises(ConfigError, match=f"{n_folds} folds leave nothing to validate on"):
        make_folds(IDS, masks_of(AREAS), n_folds=n_folds)


def test_more_folds_than_tiles_or_groups_are_refused() -> None:
    with pytest.raises(ConfigError, match="20 tiles cannot fill 21 folds"):
        make_folds(IDS, masks_of(AREAS), n_folds=21)
    with pytest.raises(ConfigError, match="2 groups cannot fill 3 folds"):
        make_folds(IDS, masks_of(AREAS), n_folds=3, groups=["a", "b"] * 10)


def pictures(copied_from: dict[int, int], number: int = 20) -> NDArray[np.uint8]:
    """Tiles of 4x4 pixels, all different but for the copies."""
    images = np.random.default_rng(0).integers(0, 256, (number, 4, 4), dtype=np.uint8)
    for row, original in copied_from.items():
        images[row] = images[original]
    return images


@pytest.mark.parametrize("groups", [None, [f"g{row % 7}" for row in range(20)]])
def test_tiles_without_a_copy_change_nothing(groups: list[str] | None) -> None:
    images = pictures({})
    images[:5] = 7  # blank ones are alike, and free
    images[5:8] = 8
    for seed in range(3):
        with_images = make_folds(IDS, masks_of(AREAS), seed=seed, groups=groups, images=images)
        without = make_folds(IDS, masks_of(AREAS), seed=seed, groups=groups)
        assert_frame_equal(with_images, without)


@pytest.mark.parametrize("seed", range(5))
def test_copies_stay_in_one_fold(seed: int) -> None:
    images = pictures({19: 0, 12: 0, 11: 10})
    table = make_folds(IDS, masks_of(AREAS), seed=seed, images=images)
    assert list(table.columns) == ["id", "coverage", "stratum", "type", "fold"]
    assert table["fold"][[0, 12, 19]].nunique() == table["fold"][[10, 11]].nunique() == 1
    assert set(table["fold"]) == set(range(5))
    assert table["fold"].value_counts().min() >= 2
    order = np.random.default_rng(seed).permutation(20)
    shuffled = make_folds(
        [IDS[row] for row in order], masks_of(AREAS)[order], seed=seed, images=images[order]
    )
    assert_frame_equal(shuffled, table)


def test_groups_that_share_a_copy_stay_together() -> None:
    groups = [f"g{row // 2}" for row in range(20)]
    images = pictures({19: 0, 3: 18})  # g9 with g0 and with g1
    for seed in range(5):
        table = make_folds(IDS, masks_of(AREAS), n_folds=3, seed=seed, groups=groups, images=images)
        assert table["group"].tolist() == groups, "as they were given"
        assert (table.groupby("group")["fold"].nunique() == 1).all()
        assert table["fold"][[0, 2, 18]].nunique() == 1


def test_copies_alone_cannot_fill_the_folds() -> None:
    images = pictures(dict.fromkeys(range(1, 20), 0))
    with pytest.raises(ConfigError, match="1 sets of tiles that differ cannot fill 5 folds"):
        make_folds(IDS, masks_of(AREAS), images=images)


def test_inputs_that_do_not_match_are_refused() -> None:
    with pytest.raises(DataError, match="ids come twice: t003"):
        make_folds([*IDS, "t003"], masks_of([*AREAS, 0]))
    with pytest.raises(DataError, match="20 ids do not match"):
        make_folds(IDS, masks_of(AREAS[1:]))
    with pytest.raises(DataError, match="20 ids do not match"):
        make_folds(IDS, masks_of(AREAS), groups=["a"])


@given(areas=some_areas)
def test_table_survives_the_file(
    areas: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("folds") / "folds.csv"
    ids = names(len(areas))
    masks = masks_of(areas)[:, :3, :3]  # ninths, which no decimal number is
    table = make_folds(ids, masks, n_folds=3)
    write_folds(path, table)
    assert_frame_equal(read_folds(path, ids[::-1], masks[::-1]), table)


def test_file_byte_for_byte(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"id": ["a", "b"], "coverage": [0.0, 1 / 3], "stratum": [0, 1], "fold": [1, 0]}
    )
    write_folds(tmp_path / "new/folds.csv", table)
    assert (tmp_path / "new/folds.csv").read_bytes() == (
        b"id,coverage,stratum,fold\na,0.00000000,0,1\nb,0.33333333,1,0\n"
    )


def test_group_column_survives_the_file(tmp_path: Path) -> None:
    groups = ["7", "8"] * 10
    table = make_folds(IDS, masks_of(AREAS), n_folds=2, groups=groups)
    write_folds(tmp_path / "folds.csv", table)
    assert_frame_equal(read_folds(tmp_path / "folds.csv", IDS, masks_of(AREAS)), table)


GOOD = "id,coverage,stratum,fold\na,0.00000000,0,0\nb,0.50000000,1,1\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("stratum", "layer", r"has no column stratum"),
        ("b,0.5", "a,0.5", "names a more than once"),
        ("b,0.50000000,1,1\n", "", r"lacks 1 of 2 tiles: b"),
        ("b,0.5", "c,0.5", r"lacks 1 of 2 tiles: b\n.*names 1 unknown tiles: c"),
        ("1,1\n", "1,1\nc,0,0,0\n", "names 1 unknown tiles: c"),
        ("0.50000000", "0.56250000", "was made from other masks: b differ"),
        ("0.50000000", "half", "gives tile b the coverage 'half'"),
        ("0.50000000", "inf", "gives tile b the coverage 'inf'"),
        ("1,1\n", "1,\n", r"gives tile b the fold ''\nexpected: a whole number"),
        ("1,1\n", "1,1.5\n", "gives tile b the fold '1.5'"),
        ("1,1\n", "1,-1\n", "gives tile b the fold '-1'"),
        ("1,1\n", "one,1\n", "gives tile b the stratum 'one'"),
        ("1,1\n", "1,0\n", "has one fold only"),
    ],
)
def test_bad_table_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "folds.csv"
    put(path, GOOD.encode())
    read_folds(path, ["a", "b"], masks_of([0, 8]))
    put(path, GOOD.replace(old, new, 1).encode())
    with pytest.raises(
        DataError, match=rf"{message}[\s\S]*next: restore it, or .*: salt make-folds --out "
    ):
        read_folds(path, ["a", "b"], masks_of([0, 8]))


def test_a_table_from_before_there_were_types_gets_those_of_its_masks(tmp_path: Path) -> None:
    put(tmp_path / "folds.csv", GOOD.encode())
    table = read_folds(tmp_path / "folds.csv", ["b", "a"], masks_of([8, 0]))
    assert table["type"].tolist() == ["empty", "object-75"]  # half of four rows: 50 %
    made = make_folds(["a", "b"], masks_of([0, 8]), n_folds=2)
    assert list(table.columns) == list(made.columns)


@pytest.mark.parametrize("there", ["border", "", "cloud"])
def test_a_type_that_is_not_the_masks_is_refused(tmp_path: Path, there: str) -> None:
    lines = GOOD.splitlines()
    text = "\n".join([lines[0] + ",type", lines[1] + ",empty", f"{lines[2]},{there}", ""])
    path = put(tmp_path / "folds.csv", text.encode())
    match = rf"tile b the type '{there}'\nexpected: object-75, as its mask is\nnext: restore it"
    with pytest.raises(DataError, match=match):
        read_folds(path, ["a", "b"], masks_of([0, 8]))


def slivers_and_objects(slivers: int, objects: int) -> NDArray[np.bool_]:
    """Masks of 20x20 pixels and of one coverage: those along the top edge, and the others."""
    masks = np.zeros((slivers + objects, 20, 20), dtype=bool)
    masks[:slivers, 0, :10] = True
    masks[slivers:, 10, :10] = True
    return masks


def test_by_type_each_type_is_dealt_out_evenly() -> None:
    masks = slivers_and_objects(10, 30)[np.random.default_rng(0).permutation(40)]
    table = make_folds(names(40), masks, n_folds=5, by="type")
    counts = table.groupby(["type", "fold"]).size()
    assert counts["border"].tolist() == [2] * 5
    assert counts["object-15"].tolist() == [6] * 5
    by_coverage = make_folds(names(40), masks, n_folds=5)
    assert by_coverage.groupby(["type", "fold"]).size()["border"].tolist() != [2] * 5
    assert_frame_equal(by_coverage.drop(columns="fold"), table.drop(columns="fold"))


@given(areas=some_areas, n_folds=st.integers(2, 5))
def test_by_type_too_folds_are_of_like_size(areas: list[int], n_folds: int) -> None:
    table = make_folds(names(len(areas)), masks_of(areas), n_folds=n_folds, by="type")
    sizes = np.bincount(table["fold"], minlength=n_folds)
    assert len(sizes) == n_folds
    assert sizes.max() - sizes.min() <= 1


def test_folds_alike_in_something_else_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"alike in 'depth'\nexpected: coverage or type\nnext"):
        make_folds(IDS, masks_of(AREAS), by="depth")  # type: ignore[arg-type]


def test_missing_table_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"folds\.csv cannot be read[\s\S]*next: salt make-folds",
    ):
        read_folds(tmp_path / "folds.csv", IDS, masks_of(AREAS))


def test_groups_come_in_the_order_of_the_ids(tmp_path: Path) -> None:
    rows = [("b", "2"), ("other", "9"), ("a", "01")]
    write_table(tmp_path / "groups.csv", "id,group", rows)
    assert read_groups(tmp_path / "groups.csv", ["a", "b"]) == ["01", "2"]


def test_a_mosaic_is_a_group_and_a_tile_outside_is_one_of_its_own(tmp_path: Path) -> None:
    rows = [("b", "0", "0", "0"), ("c", "3", "1", "0"), ("a", "0", "0", "1")]
    write_table(tmp_path / "mosaics.csv", "id,mosaic,row,column", rows)
    groups = read_groups(tmp_path / "mosaics.csv", ["a", "b", "c", "d", "e"])
    assert groups == ["mosaic 0", "mosaic 0", "mosaic 3", "d", "e"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,group\na,1\n", "gives no group to 1 tiles: b"),
        ("id,group\na,1\nb,\n", "gives no group to 1 tiles: b"),
        ("id,well\na,1\nb,1\n", "has no column group"),
        ("id,group\na,1\nb,1\nb,2\n", "names b more than once"),
    ],
)
def test_bad_groups_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = put(tmp_path / "groups.csv", content.encode())
    with pytest.raises(DataError, match=rf"{message}[\s\S]*next: .*--group-by"):
        read_groups(path, ["a", "b"])


def test_summary_by_hand() -> None:
    table = pd.DataFrame(
        {
            "id": ["a", "b", "c", "d"],
            "coverage": [0.0, 0.5, 0.25, 0.75],
            "stratum": [0, 1, 1, 1],
            "fold": [1, 1, 0, 2],
        }
    )
    summary = summarise(table, {"a": 100.0, "b": 300.0, "c": 50.0, "d": np.nan})
    expected = pd.DataFrame(
        {
            "fold": [0, 1, 2],
            "tiles": [1, 2, 1],
            "empty_share": [0.0, 0.5, 0.0],
            "mean_coverage": [0.25, 0.25, 0.75],
            "mean_depth": [50.0, 200.0, np.nan],
        }
    )
    assert_frame_equal(summary, expected)


def test_rows_follow_the_order_of_the_ids() -> None:
    table = pd.DataFrame({"id": ["a", "b", "c"], "fold": [0, 1, 0]})
    train, validation = fold_rows(table, ["c", "b", "a"], 1)
    assert train.tolist() == [0, 2]
    assert validation.tolist() == [1]
    assert train.dtype == validation.dtype == np.int64


def test_unknown_fold_names_the_known_ones() -> None:
    table = make_folds(IDS, masks_of(AREAS), n_folds=3)
    with pytest.raises(ConfigError, match="no fold 3\nexpected: one of 0, 1, 2"):
        fold_rows(table, IDS, 3)


def test_tile_without_a_fold_is_named() -> None:
    table = make_folds(IDS, masks_of(AREAS), n_folds=3)
    with pytest.raises(DataError, match="1 tiles are in no fold: new"):
        fold_rows(table, [*IDS, "new"], 0)


@pytest.mark.parametrize("seed", [-1, 2**32, 10**30])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    masks = np.zeros((4, 2, 2), dtype=np.bool_)
    with pytest.raises(ConfigError, match=rf"the seed {seed}\n.*4294967295\n.*make-folds --seed 0"):
        make_folds(list("abcd"), masks, n_folds=2, seed=seed)
    make_folds(list("abcd"), masks, n_folds=2, seed=2**32 - 1)
