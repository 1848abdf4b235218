from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from kaggle_salt.config.schema import AugmentConfig
from kaggle_salt.learning.batches import EpochSampler, TileDataset, targets_of, train_loader
from tests.learning.makers import tiny_tiles

#: torch advises against more workers than cores; here they are to be there, not to be fast.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

LIGHT = AugmentConfig()
CPU = torch.device("cpu")


def batches(epochs: list[int], *, workers: int = 0, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """All batches of some epochs, one after the other, from one loader."""
    tiles = tiny_tiles()
    sampler = EpochSampler(tiles.train_rows, 3, seed)
    dataset = TileDataset(tiles, LIGHT, seed)
    loader = train_loader(dataset, sampler, CPU, workers)
    result = []
    for epoch in epochs:
        sampler.epoch = epoch
        result += [(images.clone(), masks.clone()) for images, masks in loader]
    return result


def equal(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(images, other_images) and torch.equal(masks, other_masks)
        for (images, masks), (other_images, other_masks) in zip(one, other, strict=True)
    )


def test_workers_change_nothing() -> None:
    assert equal(batches([0, 1], workers=2), batches([0, 1], workers=0))


def test_tiles_mapped_from_files_make_the_same_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, tiles = batches([0]), tiny_tiles()
    np.save(tmp_path / "images.npy", tiles.images)
    np.save(tmp_path / "masks.npy", tiles.masks)
    images, masks = (np.load(tmp_path / f"{name}.npy", "r") for name in ("images", "masks"))
    monkeypatch.setattr(
        f"{__name__}.tiny_tiles", lambda: replace(tiles, images=images, masks=masks)
    )
    assert equal(batches([0]), expected)


def test_an_epoch_does_not_depend_on_those_before_it() -> None:
    assert equal(batches([0, 1])[2:], batches([1]))


def test_epochs_and_seeds_differ() -> None:
    assert not equal(batches([0]), batches([1]))
    assert not equal(batches([0]), batches([0], seed=1))


def test_a_batch_is_uint8_tiles_and_labels() -> None:
    images, labels = batches([0])[0]
    assert images.shape == labels.shape == (3, 24, 24)
    assert images.dtype == labels.dtype == torch.uint8
    assert labels.unique().tolist() == [0, 255]
    targets = targets_of(labels)
    assert (targets.shape, targets.dtype) == ((3, 1, 24, 24), torch.float32)
    assert targets.unique().tolist() == [0, 1]


def test_soft_labels_are_those_of_the_rows_behind_the_masks() -> None:
    given = tiny_tiles()
    soft = np.random.default_rng(0).integers(0, 256, (2, 24, 24), dtype=np.uint8)
    images = np.concatenate([given.images, 255 - given.images[:2]])
    tiles = replace(given, images=images, pseudo_rows=np.array([12, 13]), labels=soft)
    dataset = TileDataset(tiles, AugmentConfig(pipeline="none"), 0)
    for row in range(14):
        tile, label = dataset[0, row]
        assert np.array_equal(tile, images[row])
        assert np.array_equal(label, given.masks[row] * 255 if row < 12 else soft[row - 12])
    flipping = TileDataset(tiles, AugmentConfig(pipeline="flip"), 0)
    for epoch in range(8):
        tile, label = flipping[epoch, 13]
        mirrored = not np.array_equal(tile, images[13])
        assert np.array_equal(label, soft[1][:, ::-1] if mirrored else soft[1])


def test_a_sample_is_augmented_anew_in_each_epoch_and_differently_from_its_neighbour() -> None:
    images = np.repeat(tiny_tiles().images[:1], 2, axis=0)
    dataset = TileDataset(replace(tiny_tiles(), images=images), LIGHT, 0)
    draws = {dataset[epoch, row][0].numpy().tobytes() for epoch in range(4) for row in range(2)}
    assert len(draws) == 8
    assert len(dataset) == 2


def test_an_epoch_takes_each_row_once_and_drops_the_short_rest() -> None:
    sampler = EpochSampler(np.array([10, 11, 12, 13, 14, 15, 16]), 3, seed=0)
    keys = list(sampler)
    assert [len(batch) for batch in keys] == [3, 3]
    assert len(sampler) == 2
    rows = [row for batch in keys for _, row in batch]
    assert len(set(rows)) == 6
    assert set(rows) <= set(range(10, 17))


def test_every_row_has_its_turn_over_the_epochs() -> None:
    sampler = EpochSampler(np.arange(7), 3, seed=0)
    seen = set()
    for sampler.epoch in range(10):
        seen |= {row for batch in sampler for _, row in batch}
    assert seen == set(range(7))


def test_keys_carry_the_epoch_and_the_order_is_its_own() -> None:
    sampler = EpochSampler(np.arange(50), 10, seed=0)
    orders = []
    for sampler.epoch in (3, 3, 4):
        keys = [key for batch in sampler for key in batch]
        assert {epoch for epoch, _ in keys} == {sampler.epoch}
        orders.append([row for _, row in keys])
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_fewer_rows_than_a_batch_make_one_short_batch() -> None:
    sampler = EpochSampler(np.array([4, 5]), 32, seed=0)
    assert [len(batch) for batch in sampler] == [2]


OWN, PSEUDO = np.arange(12), np.arange(100, 110)


def drawn(
    kind: Literal["masks", "pseudo", "mixed"],
    share: float = 0.4,
    pseudo: NDArray[np.int64] = PSEUDO,
    epoch: int = 0,
) -> list[tuple[list[int], list[int]]]:
    """Rows of each batch of an epoch: (own, pseudo-labelled)."""
    sampler = EpochSampler(OWN, 4, 0, pseudo)
    sampler.choose(kind, share)
    sampler.epoch = epoch
    rows = [[row for _, row in batch] for batch in sampler]
    assert len(rows) == len(sampler)
    return [([r for r in b if r < 100], [r for r in b if r >= 100]) for b in rows]


def test_masks_leave_pseudo_labels_out_whatever_the_share() -> None:
    assert [len(own) for own, _ in drawn("masks")] == [4, 4, 4]
    assert drawn("masks") == drawn("mixed", pseudo=PSEUDO[:0])


@pytest.mark.parametrize(("share", "each"), [(0.4, 2), (0.25, 1), (0.1, 0), (0.99, 3)])
def test_a_mixed_batch_holds_the_stated_share(share: float, each: int) -> None:
    batches = drawn("mixed", share)
    assert {(len(own), len(pseudo)) for own, pseudo in batches} == {(4 - each, each)}
    own = [row for rows, _ in batches for row in rows]
    assert sorted(own) == list(OWN)  # still one pass over them


def test_an_epoch_of_pseudo_labels_alone_is_as_long_as_one_of_masks() -> None:
    batches = drawn("pseudo")
    assert [(len(own), len(pseudo)) for own, pseudo in batches] == [(0, 4)] * 3
    rows = [row for _, pseudo in batches for row in pseudo]
    assert set(rows) == set(PSEUDO)  # ten rows in twelve places: around again
    assert len(rows) == 12


def test_pseudo_labels_are_drawn_afresh_in_each_epoch() -> None:
    assert drawn("mixed", epoch=1) == drawn("mixed", epoch=1)
    assert drawn("mixed", epoch=0) != drawn("mixed", epoch=1)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_leaves_torchs_generator_alone(workers: int) -> None:
    # or a resume, which starts a loader anew, would give dropout other numbers
    before = torch.get_rng_state()
    batches([0, 1], workers=workers)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_cpu_takes_no_workers_unless_told() -> None:
    tiles = tiny_tiles()
    dataset = TileDataset(tiles, AugmentConfig(pipeline="none"), 0)
    sampler = EpochSampler(tiles.train_rows, 4, 0)
    assert train_loader(dataset, sampler, CPU, -1).num_workers == 0
    assert train_loader(dataset, sampler, CPU, 2).num_workers == 2
    assert train_loader(dataset, sampler, torch.device("cuda"), -1).num_workers >= 1
