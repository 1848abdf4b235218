from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kaggle_salt.ensembling import blending
from kaggle_salt.ensembling.averages import AVERAGES
from kaggle_salt.ensembling.blending import blend, common_ids, join
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.predictions import Predictions, load, save

law = settings(max_examples=50)
seeds = st.integers(0, 2**32 - 1)
positive = st.floats(1e-3, 1e3)


def tile(*values: int) -> NDArray[np.uint8]:
    """Tiles of one pixel, one for each value."""
    return np.array(values, dtype=np.uint8)[:, np.newaxis, np.newaxis]


def random_members(count: int, seed: int = 0, tiles: int = 5) -> list[Predictions]:
    """Members that hold the same tiles, each in an order of its own."""
    rng = np.random.default_rng(seed)
    ids = [f"tile{number}" for number in range(tiles)]
    return [
        Predictions(
            tuple(rng.permutation(ids).tolist()),
            rng.integers(0, 256, (tiles, 3, 2), dtype=np.uint8),
            {"run": f"run{number}", "fold": number},
        )
        for number in range(count)
    ]


def float_mean(
    members: Sequence[Predictions], weights: Sequence[float], ids: Sequence[str]
) -> NDArray[np.float64]:
    maps = [
        [member.probabilities[member.ids.index(name)].astype(float) for name in ids]
        for member in members
    ]
    return np.average(np.array(maps), axis=0, weights=weights)


# --- join


def test_join_keeps_every_tile_with_its_id() -> None:
    one = Predictions(("a", "b"), tile(1, 2), {"fold": 0})
    two = Predictions(("c",), tile(3), {"fold": 1})
    joined = join([one, two])
    assert joined.ids == ("a", "b", "c")
    assert joined.probabilities.ravel().tolist() == [1, 2, 3]
    assert joined.manifest == {"parts": [{"fold": 0}, {"fold": 1}]}


def test_join_refuses_a_tile_of_two_folds() -> None:
    with pytest.raises(DataError, match="tile b is predicted twice"):
        join([Predictions(("a", "b"), tile(1, 2)), Predictions(("b",), tile(3))])


def test_join_refuses_tiles_of_different_sizes() -> None:
    large = Predictions(("c",), np.zeros((1, 4, 5), dtype=np.uint8))
    with pytest.raises(DataError, match="tiles of 4x5 and of 1x1 pixels"):
        join([Predictions(("a",), tile(1)), large])


@pytest.mark.parametrize("combine", [join, blend, common_ids])
def test_nothing_cannot_be_combined(combine: object) -> None:
    assert callable(combine)
    with pytest.raises(DataError, match="no predictions to combine"):
        combine([])


# --- which tiles


def test_common_ids_in_the_order_of_the_first() -> None:
    one = Predictions(("d", "a", "c"), tile(1, 2, 3))
    two = Predictions(("a", "b", "c", "d"), tile(1, 2, 3, 4))
    three = Predictions(("c", "d"), tile(1, 2))
    assert common_ids([one, two, three]) == ("d", "c")
    assert common_ids([one]) == ("d", "a", "c")


def test_no_common_id_is_refused() -> None:
    with pytest.raises(DataError, match="no tile was predicted by all of the 2 members"):
        common_ids([Predictions(("a",), tile(1)), Predictions(("b",), tile(1))])


def test_blend_of_common_ids_ignores_the_other_tiles() -> None:
    one = Predictions(("a", "b", "c"), tile(10, 20, 30))
    two = Predictions(("c", "d", "b"), tile(50, 60, 70))
    blended = blend([one, two], ids=common_ids([one, two]))
    assert blended.ids == ("b", "c")
    assert blended.probabilities.ravel().tolist() == [45, 40]


def test_blend_names_the_member_and_the_first_tile_it_lacks() -> None:
    one = Predictions(("a", "b", "c"), tile(1, 2, 3))
    two = Predictions(("a",), tile(1), {"run": "deep", "fold": 2})
    with pytest.raises(
        DataError, match=r"member 2 of 2 \(run deep, fold 2\) lacks 2 of 3 tiles, the first is b"
    ):
        blend([one, two])
    with pytest.raises(DataError, match="member 1 of 1 lacks 1 of 2 tiles, the first is z"):
        blend([one], ids=("a", "z"))


def test_blend_refuses_tiles_that_the_first_member_lacks() -> None:
    one, two = Predictions(("a",), tile(1)), Predictions(("b", "a"), tile(1, 2))
    with pytest.raises(
        DataError, match="member 2 of 2 has 1 tiles that the first member lacks, the first is b"
    ):
        blend([one, two])


def test_blend_refuses_tiles_of_different_sizes() -> None:
    with pytest.raises(DataError, match="tiles of 2x2 and of 1x1 pixels"):
        blend([Predictions(("a",), tile(1)), Predictions(("a",), np.zeros((1, 2, 2), np.uint8))])


# --- the mean


def test_mean_by_hand() -> None:
    one = Predictions(("a", "b", "c"), tile(0, 10, 255))
    two = Predictions(("c", "a", "b"), tile(255, 4, 11))
    blended = blend([one, two])
    assert blended.ids == ("a", "b", "c")
    assert blended.probabilities.ravel().tolist() == [2, 11, 255]  # 10.5 is rounded upwards
    assert blended.probabilities.dtype == np.uint8
    weighted = blend([one, two], weights=[3, 1])
    assert weighted.probabilities.ravel().tolist() == [1, 10, 255]
    assert weighted.manifest["weights"] == [0.75, 0.25]


def test_manifest_says_what_was_blended() -> None:
    blended = blend(random_members(2))
    assert blended.manifest == {
        "members": [{"run": "run0", "fold": 0}, {"run": "run1", "fold": 1}],
        "how": "mean",
        "weights": [0.5, 0.5],
    }


@law
@given(seed=seeds, weights=st.lists(positive, min_size=1, max_size=6))
def test_blend_is_the_float_mean_within_half_a_level(seed: int, weights: list[float]) -> None:
    members = random_members(len(weights), seed)
    blended = blend(members, weights=weights)
    expected = float_mean(members, weights, blended.ids)
    assert np.abs(blended.probabilities - expected).max() <= 0.5 + 1e-3  # weights to a millionth


@law
@given(seed=seeds, count=st.integers(1, 7))
def test_equal_weights_are_exact(seed: int, count: int) -> None:
    members = random_members(count, seed)
    blended = blend(members)
    expected = float_mean(members, [1] * count, blended.ids)
    assert np.abs(blended.probabilities - expected).max() <= 0.5 + 1e-9
    assert np.array_equal(blend(members, weights=[7] * count).probabilities, blended.probabilities)


@law
@given(seed=seeds, weights=st.lists(positive, min_size=1, max_size=6))
def test_blend_of_equal_members_is_the_member(seed: int, weights: list[float]) -> None:
    member = random_members(1, seed)[0]
    blended = blend([member] * len(weights), weights=weights)
    assert blended.ids == member.ids
    assert np.array_equal(blended.probabilities, member.probabilities)


@law
@given(seed=seeds, weights=st.permutations([0.3, 1.0, 2.5, 7.0]), how=st.sampled_from(AVERAGES))
def test_the_order_of_members_and_tiles_does_not_matter(
    seed: int, weights: list[float], how: str
) -> None:
    members = random_members(4, seed)
    one = blend(members, weights=weights, how=how)
    other = blend(members[::-1], weights=weights[::-1], how=how)
    assert set(one.ids) == set(other.ids)
    assert np.array_equal(other.probabilities[other.rows(one.ids)], one.probabilities)


@law
@given(seed=seeds, power=st.integers(-1030, 1021))
def test_only_the_ratio_of_the_weights_matters(seed: int, power: int) -> None:
    members = random_members(3, seed)
    scaled = [weight * 2.0**power for weight in (1, 2, 5)]
    one = blend(members, weights=[1, 2, 5]).probabilities
    assert np.array_equal(blend(members, weights=scaled).probabilities, one)


def test_whole_weights_are_exact() -> None:
    members = [Predictions(("a",), tile(3)), Predictions(("a",), tile(0))]
    assert blend(members, weights=[5, 1]).probabilities.item() == 3  # 2.5; in millionths 2.499999
    repeated = [members[0]] * 5 + [members[1]]
    assert blend(repeated).probabilities.item() == 3


@pytest.mark.parametrize("how", AVERAGES)
def test_many_bright_members_do_not_overflow(how: str) -> None:
    bright = Predictions(("a",), tile(255))
    assert blend([bright] * 200, how=how).probabilities.item() == 255
    assert blend([bright] * 200, how=how, weights=range(1, 201)).probabilities.item() == 255
    fractions = [number + 0.5 for number in range(200)]
    assert blend([bright] * 200, how=how, weights=fractions).probabilities.item() == 255


def test_other_averages_by_hand() -> None:
    sure, unsure = Predictions(("a", "b"), tile(255, 0)), Predictions(("b", "a"), tile(204, 51))
    assert blend([sure, unsure], how="logits").probabilities.ravel().tolist() == [234, 21]
    assert blend([sure, unsure], how="logits").manifest["how"] == "logits"
    votes = blend([sure, unsure], weights=[2, 1], how="vote")
    assert votes.probabilities.ravel().tolist() == [170, 85]
    with pytest.raises(ConfigError, match="unknown average 'median'"):
        blend([sure, unsure], how="median")


@pytest.mark.parametrize(
    "weights", [[], [1], [1, 2, 3], [1, 0], [1, -1], [1, float("nan")], [float("inf"), 1]]
)
def test_unusable_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"for 2 members\nexpected: one positive number"):
        blend(random_members(2), weights=weights)


# --- on disk


@pytest.mark.parametrize("how", AVERAGES)
@pytest.mark.parametrize("chunk_pixels", [1, 7, 12, 2**21])
def test_on_disk_as_in_memory_whatever_the_chunks(
    chunk_pixels: int, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = random_members(3)
    expected = blend(members, weights=[1, 2, 4], how=how)
    for number, member in enumerate(members):
        save(tmp_path / f"member{number}", member)
    mapped = [load(tmp_path / f"member{number}") for number in range(3)]
    monkeypatch.setattr(blending, "_CHUNK_PIXELS", chunk_pixels)
    blended = blend(mapped, weights=[1, 2, 4], how=how, stem=tmp_path / "ensemble" / "test")
    assert isinstance(blended.probabilities, np.memmap)
    for result in (blended, load(tmp_path / "ensemble" / "test", memory_map=False)):
        assert result.ids == expected.ids
        assert result.manifest == expected.manifest
        assert np.array_equal(result.probabilities, expected.probabilities)
    for member, again in zip(members, mapped, strict=True):
        assert np.array_equal(again.probabilities, member.probabilities)


def test_reading_copy_on_write_members_keeps_what_was_written_to_them(tmp_path: Path) -> None:
    np.save(tmp_path / "values.npy", tile(1, 2))
    private = np.load(tmp_path / "values.npy", mmap_mode="c")
    private[:] = 9
    member = Predictions(("a", "b"), private)
    assert blend([member]).probabilities.ravel().tolist() == [9, 9]
    assert private.ravel().tolist() == [9, 9]


def test_a_refused_blend_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="for 2 members"):
        blend(random_members(2), weights=[1], stem=tmp_path / "blend")
    assert list(tmp_path.iterdir()) == []
