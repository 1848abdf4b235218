from __future__ import annotations

import random
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
from numpy.typing import NDArray

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning import augment
from kaggle_salt.learning.augment import ADDITIONS, PIPELINES, Augmenter

RANDOM = [name for name in PIPELINES if name != "none"]


def noise(side: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


def disc(side: int = 48) -> NDArray[np.bool_]:
    """Off the centre, so that a flip moves it."""
    y, x = np.mgrid[:side, :side]
    return np.asarray((y - side * 0.6) ** 2 + (x - side * 0.35) ** 2 < (side / 4) ** 2)


def test_there_are_four_pipelines() -> None:
    assert sorted(PIPELINES) == ["flip", "light", "none", "strong"]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_seed_gives_one_result_in_any_order(pipeline: str) -> None:
    tile, mask = noise(), disc(32)
    one, other = Augmenter(pipeline), Augmenter(pipeline)
    forwards = {seed: one(tile, mask, seed) for seed in range(8)}
    backwards = {seed: other(tile, mask, seed) for seed in reversed(range(8))}
    for seed, (image, target) in forwards.items():
        assert np.array_equal(image, backwards[seed][0])
        assert np.array_equal(target, backwards[seed][1])


@pytest.mark.parametrize("pipeline", RANDOM)
def test_seeds_give_different_results(pipeline: str) -> None:
    tile, mask = noise(), disc(32)
    augmenter = Augmenter(pipeline)
    results = {augmenter(tile, mask, seed)[0].tobytes() for seed in range(40)}
    assert len(results) == 2 if pipeline == "flip" else len(results) > 30


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_tile_and_mask_keep_their_kind(pipeline: str) -> None:
    augmenter = Augmenter(pipeline)
    for seed in range(20):
        image, target = augmenter(noise(), disc(32), seed)
        for array in (image, target):
            assert array.dtype == np.uint8
            assert array.shape == (32, 32)
            assert array.flags.c_contiguous
            assert array.flags.writeable
        assert set(np.unique(target)) <= {0, 1}


@pytest.mark.parametrize("pipeline", ["light", "strong"])
def test_the_affine_map_is_that_of_albumentations(
    pipeline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tile, mask = noise()[:20], disc(32)[:20]
    ours = Augmenter(pipeline)
    monkeypatch.setattr(augment, "_Affine", A.Affine)
    theirs = Augmenter(pipeline)
    for seed in range(50):
        for one, other in zip(ours(tile, mask, seed), theirs(tile, mask, seed), strict=True):
            assert np.array_equal(one, other)


@pytest.mark.parametrize("add", [(), tuple(ADDITIONS)])
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_transforms_do_what_they_would_in_a_composition(
    pipeline: str, add: tuple[str, ...]
) -> None:
    tile, mask = noise(), disc(32)
    ours = Augmenter(pipeline, add)
    transforms = [*PIPELINES[pipeline](), *(ADDITIONS[name]() for name in add)]
    theirs = A.Compose(transforms, strict=True)
    for seed in range(60):
        theirs.set_random_state(np.random.default_rng(seed), random.Random(seed))
        expected = theirs(image=tile, mask=mask.view(np.uint8))
        image, target = ours(tile, mask, seed)
        assert np.array_equal(image, expected["image"])
        assert np.array_equal(target, expected["mask"])


def test_unknown_arguments_of_a_transform_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PIPELINES, "flip", lambda: [A.HorizontalFlip(probability=1)])
    with pytest.warns(UserWarning, match="probability"), pytest.raises(ValueError, match="not val"):
        Augmenter("flip")


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_mask_moves_with_the_tile(pipeline: str) -> None:
    mask = disc()
    tile = np.where(mask, 220, 30).astype(np.uint8)
    augmenter = Augmenter(pipeline)
    agreement = []
    for seed in range(40):
        image, target = augmenter(tile, mask, seed)
        agreement.append(np.mean((image > 125) == target))
    # interpolation blurs a rim of a pixel; dropped rectangles cost a tile of `strong` more
    assert np.median(agreement) > 0.97
    assert np.mean(agreement) > 0.94


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_down_stays_down(pipeline: str) -> None:
    depth = np.linspace(20, 230, 48).astype(np.uint8)
    tile = np.repeat(depth[:, None], 48, axis=1)
    augmenter = Augmenter(pipeline)
    for seed in range(100):
        image, _ = augmenter(tile, np.zeros((48, 48), dtype=np.bool_), seed)
        assert image[:24].mean() < image[24:].mean()


@pytest.mark.parametrize("pipeline", RANDOM)
def test_left_and_right_change_places_about_every_second_time(pipeline: str) -> None:
    across = np.linspace(20, 230, 48).astype(np.uint8)
    tile = np.repeat(across[None], 48, axis=0)
    augmenter = Augmenter(pipeline)
    images = [augmenter(tile, np.zeros((48, 48), dtype=np.bool_), seed)[0] for seed in range(200)]
    mirrored = sum(bool(image[:, :24].mean() > image[:, 24:].mean()) for image in images)
    assert 75 <= mirrored <= 125


def test_none_gives_the_tile_itself() -> None:
    tile, mask = noise(), disc(32)
    image, target = Augmenter("none")(tile, mask, 3)
    assert np.array_equal(image, tile)
    assert np.array_equal(target, mask)
    assert not np.shares_memory(image, tile)


def test_flip_gives_the_tile_or_its_mirror_image() -> None:
    tile, mask = noise(), disc(32)
    augmenter = Augmenter("flip")
    for seed in range(20):
        image, target = augmenter(tile, mask, seed)
        mirrored = np.array_equal(image, tile[:, ::-1])
        assert mirrored or np.array_equal(image, tile)
        assert np.array_equal(target, mask[:, ::-1] if mirrored else mask)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_tiles_may_be_mapped_from_a_file_that_cannot_be_written(
    pipeline: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "images.npy", noise()[None])
    np.save(tmp_path / "masks.npy", disc(32)[None])
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    masks = np.load(tmp_path / "masks.npy", mmap_mode="r")
    for seed in range(4):
        image, target = Augmenter(pipeline)(images[0], masks[0], seed)
        expected = Augmenter(pipeline)(noise(), disc(32), seed)
        assert np.array_equal(image, expected[0])
        assert np.array_equal(target, expected[1])
        image[:] = 0  # its own copy: the file stays as it is
    assert np.array_equal(images[0], noise())


def test_an_unknown_pipeline_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown augmentation 'ligth'\n.*'light'"):
        Augmenter("ligth")


def test_an_unknown_addition_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'elastc'\n.*'elastic'\?\n.*\.add=\['NAME'\]"):
        Augmenter("light", ("dropout", "elastc"))


# --- what is added to a pipeline


def added(name: str) -> Augmenter:
    return Augmenter("none", (name,))


@pytest.mark.parametrize("name", ADDITIONS)
def test_an_addition_changes_half_of_the_tiles_by_their_seeds(name: str) -> None:
    tile, mask = noise(), disc(32)
    one, other = added(name), added(name)
    forwards = {seed: one(tile, mask, seed) for seed in range(200)}
    for seed in reversed(range(200)):
        for array, again in zip(forwards[seed], other(tile, mask, seed), strict=True):
            assert np.array_equal(array, again)
            assert (array.dtype, array.shape) == (np.uint8, (32, 32))
            assert array.flags.c_contiguous
            assert array.flags.writeable
    changed = [image.tobytes() for image, _ in forwards.values() if not np.array_equal(image, tile)]
    assert 75 <= len(changed) <= 125
    assert len(set(changed)) > 0.8 * len(changed)


@pytest.mark.parametrize("name", sorted(ADDITIONS.keys() - {"elastic"}))
def test_only_an_elastic_warp_moves_anything(name: str) -> None:
    mask = disc()
    for seed in range(20):
        assert np.array_equal(added(name)(noise(48), mask, seed)[1], mask)


@pytest.mark.parametrize("colour", [False, True])
def test_an_elastic_warp_is_smooth_and_takes_the_mask_along(colour: bool) -> None:
    mask = disc()[:, :40]
    tile = np.where(mask, 220, 30).astype(np.uint8)
    if colour:
        tile = np.stack([tile] * 3, axis=-1)
    moved = []
    for seed in range(40):
        image, target = added("elastic")(tile, mask, seed)
        assert image.shape == tile.shape
        assert set(np.unique(target)) == {0, 1}
        seen = (image if image.ndim == 2 else image[..., 1]) > 125
        assert np.mean(seen == target) > 0.98, "but for a rim of half a pixel"
        assert 0.6 < target.sum() / mask.sum() < 1.6
        moved.append(np.mean(target != mask))
    assert 0.02 < np.mean([share for share in moved if share]) < 0.2


@pytest.mark.parametrize("name", ADDITIONS)
def test_what_is_added_leaves_the_pipeline_as_it_was(name: str) -> None:
    tile, mask = noise(), disc(32)
    same = 0
    for seed in range(40):
        plain = Augmenter("light")(tile, mask, seed)
        assert all(map(np.array_equal, Augmenter("light", ())(tile, mask, seed), plain))
        same += all(map(np.array_equal, Augmenter("light", (name,))(tile, mask, seed), plain))
    assert 10 <= same <= 30


def test_transforms_draw_independently() -> None:
    # one seed for all transforms would make a flip tell whether the tile is brightened, too
    tile = np.tile(np.arange(24, dtype=np.uint8) * 4 + 80, (24, 1))
    augment = Augmenter("light")
    seen = set()
    for seed in range(120):
        out, _ = augment(tile, tile > 128, seed)
        flipped = bool(out[12, 2] > out[12, -3])
        warped_or_brightened = not np.array_equal(out, tile[:, ::-1] if flipped else tile)
        seen.add((flipped, warped_or_brightened))
    assert seen == {(False, False), (False, True), (True, False), (True, True)}


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_coloured_rectangle_keeps_its_kind(pipeline: str) -> None:
    tile = np.stack([noise(seed=seed)[:24] for seed in range(3)], axis=-1)
    augmenter = Augmenter(pipeline)
    for seed in range(20):
        image, target = augmenter(tile, disc(32)[:24], seed)
        assert (image.shape, target.shape) == ((24, 32, 3), (24, 32))
        assert image.dtype == target.dtype == np.uint8
        assert image.flags.c_contiguous


@pytest.mark.parametrize("pipeline", ["none", "flip", "light"])
def test_a_tile_in_colour_is_moved_and_lit_like_the_grey_one(pipeline: str) -> None:
    augmenter = Augmenter(pipeline)
    for seed in range(20):
        grey, mask = augmenter(noise(), disc(32), seed)
        colours, other = augmenter(np.stack([noise()] * 3, axis=-1), disc(32), seed)
        assert np.array_equal(colours, np.stack([grey] * 3, axis=-1))
        assert np.array_equal(mask, other)
