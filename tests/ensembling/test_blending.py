from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kaggle_salt.ensembling import blending
from kaggle_salt.ensembling.blending import (
    AVERAGES,
    blend,
    common_ids,
    join,
    require_average,
    sum_type,
    to_levels,
    worth,
)
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


# --- the averages

all_values = np.arange(256, dtype=np.uint8)
stored = st.lists(st.integers(0, 255), min_size=1, max_size=6)


def average(values: list[int], weights: list[int], how: str) -> int:
    """The average of one pixel's values."""
    each = worth(np.array(values, dtype=np.uint8), how).astype(np.uint64)
    total = (each * np.array(weights, dtype=np.uint64)).sum(keepdims=True)
    return int(to_levels(total, sum(weights), how)[0])


def level_of_mean_logit(values: NDArray[np.float64], weights: list[int]) -> float:
    p = np.clip(values, 0.5, 254.5) / 255
    return float(255 / (1 + np.exp(-np.average(np.log(p / (1 - p)), weights=weights))))


def test_means_by_hand() -> None:
    assert average([10, 20], [1, 1], "mean") == 15
    assert average([10, 11], [1, 1], "mean") == 11  # halves upwards
    assert average([0, 255], [3, 1], "mean") == 64


def test_logits_by_hand() -> None:
    assert average([51, 204], [1, 1], "logits") == 128  # logits of .2 and .8 cancel
    # logits log(1/4) and log(254.5/.5): their mean is 2.4231, of which the sigmoid is .9186
    assert average([51, 255], [1, 1], "logits") == 234
    assert average([51, 0], [1, 1], "logits") == 6
    assert average([51, 255], [9, 1], "logits") == 89  # mean -.6244, sigmoid .3488


def test_votes_by_hand() -> None:
    assert average([128, 127, 255], [1, 1, 1], "vote") == 170
    assert average([128, 0], [3, 1], "vote") == 191
    assert average([255, 127], [1, 1], "vote") == 127, "a tie is not salt at threshold .5"
    assert average([255, 127], [1000, 999], "vote") == 128


@law
@given(values=stored, weight=st.integers(1, 2**20))
def test_logits_are_those_of_floating_point(values: list[int], weight: int) -> None:
    weights = [weight, *[1] * (len(values) - 1)]
    expected = level_of_mean_logit(np.array(values, dtype=float), weights)
    assert abs(average(values, weights, "logits") - expected) <= 0.5 + 1 / 60


@pytest.mark.parametrize("how", ["mean", "logits"])
@pytest.mark.parametrize("units", [1, 7, 2**20])
def test_members_that_agree_are_believed(how: str, units: int) -> None:
    total = worth(all_values, how) * sum_type(how)(units)
    assert np.array_equal(to_levels(total, units, how), all_values)


def test_voters_that_agree_are_certain() -> None:
    units = 2**20
    total = worth(all_values, "vote") * sum_type("vote")(units)
    assert np.array_equal(to_levels(total, units, "vote"), np.where(all_values > 127, 255, 0))


@law
@given(values=stored, how=st.sampled_from(AVERAGES), seed=st.integers(0, 99))
def test_an_average_lies_between_its_values(values: list[int], how: str, seed: int) -> None:
    weights = np.random.default_rng(seed).integers(1, 9, len(values)).tolist()
    certain = [255 * (value > 127) for value in values] if how == "vote" else values
    assert min(certain) <= average(values, weights, how) <= max(certain)


@pytest.mark.parametrize("how", AVERAGES)
def test_more_is_never_less(how: str) -> None:
    with_a_brighter_one = [average([value, 90], [2, 3], how) for value in range(256)]
    assert with_a_brighter_one == sorted(with_a_brighter_one)
    assert len(set(with_a_brighter_one)) > 1


def test_salt_and_its_background_are_treated_alike() -> None:
    for value in range(256):
        level = average([value, 40], [2, 1], "logits")
        mirrored = average([255 - value, 215], [2, 1], "logits")
        assert abs(level - (255 - mirrored)) <= 1  # halves are rounded upwards both times


def test_32_bits_are_enough_for_a_climb() -> None:
    for how in AVERAGES:
        total = worth(all_values, how).astype(np.uint32) * np.uint32(1000)
        wide = to_levels(total.astype(np.uint64), 1000, how)
        assert np.array_equal(to_levels(total, 1000, how), wide)


def test_an_unknown_average_is_refused() -> None:
    for how in AVERAGES:
        require_average(how)
    with pytest.raises(ConfigError, match=r"unknown average 'logit'(.|\n)*did you mean 'logits'"):
        require_average("logit")
