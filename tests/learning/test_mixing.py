from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kaggle_salt.config.schema import AugmentConfig
from kaggle_salt.learning.batches import EpochSampler, TileDataset, train_loader
from kaggle_salt.learning.mixing import Sample, box, mix_batch
from tests.learning.makers import tiny_tiles

#: torch advises against more workers than cores; here they are to be there, not to be fast.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

KINDS = ["cutmix", "copy-paste"]
SEEDS = [(0, 0, row, 1) for row in range(4)]


def tiles_of_one_grey(colour: bool = False) -> list[Sample]:
    """Four tiles of 4 x 6 pixels, tile k all of grey k + 1; tile 2 has salt in its last row."""
    masks = torch.zeros(4, 4, 6, dtype=torch.uint8)
    masks[2, 3] = 255
    masks[0, :, 0] = 255
    greys = [
        torch.full((4, 6, 3) if colour else (4, 6), k + 1, dtype=torch.uint8) for k in range(4)
    ]
    return list(zip(greys, masks, strict=True))


def mixed(kind: str, probability: float = 1.0, colour: bool = False) -> list[Sample]:
    config = AugmentConfig(mix=kind, mix_probability=probability)
    return mix_batch(tiles_of_one_grey(colour), SEEDS, config)


def test_copied_salt_by_hand() -> None:
    """Tile 1 gets the last row of tile 2, tile 3 the first column of tile 0, the others nothing."""
    given, got = tiles_of_one_grey(), mixed("copy-paste")
    for number in (0, 2):
        assert all(map(torch.equal, got[number], given[number]))
    tile, mask = got[1]
    assert tile.tolist() == [[2] * 6] * 3 + [[3] * 6]
    assert torch.equal(mask, given[2][1])
    tile, mask = got[3]
    assert tile.tolist() == [[1, 4, 4, 4, 4, 4]] * 4
    assert torch.equal(mask, given[0][1])


def test_salt_that_is_there_stays_beside_the_salt_that_comes() -> None:
    tiles = tiles_of_one_grey()
    [(tile, mask), _] = mix_batch([tiles[0], tiles[2]], SEEDS[:2], AugmentConfig(
        mix="copy-paste", mix_probability=1.0))  # fmt: skip
    assert mask.tolist() == [[255, 0, 0, 0, 0, 0]] * 3 + [[255] * 6]
    assert tile.tolist() == [[1] * 6] * 3 + [[3] * 6]


@pytest.mark.parametrize("colour", [False, True])
def test_a_box_of_cutmix_comes_with_its_mask_and_from_the_tile_as_it_was(colour: bool) -> None:
    given, got = tiles_of_one_grey(colour), mixed("cutmix", colour=colour)
    shares = []
    for number, (tile, mask) in enumerate(got):
        other, its_mask = given[(number + 1) % 4]
        grey = tile[..., 0] if colour else tile
        comes = grey == other.flatten()[0]
        assert set(grey.unique().tolist()) <= {number + 1, (number + 1) % 4 + 1}
        assert torch.equal(mask, torch.where(comes, its_mask, given[number][1]))
        rows, columns = comes.any(dim=1), comes.any(dim=0)
        assert torch.equal(comes, rows[:, None] & columns), "a box"
        shares.append(float(comes.float().mean()))
    assert len(set(shares)) > 1


def test_boxes_are_of_all_sizes_and_everywhere() -> None:
    rng = np.random.default_rng(0)
    boxes = np.stack([box(rng, (20, 30)) for _ in range(2000)])
    shares = boxes.mean(axis=(1, 2))
    assert shares.min() < 0.01
    assert shares.max() > 0.8
    assert 0.25 < shares.mean() < 0.45  # half of the tile, less what lies beyond its border
    often = boxes.mean(axis=0)
    assert np.abs(often - often[::-1, ::-1]).max() < 0.05
    assert often.min() > 0.1  # an eighth in the corners


@pytest.mark.parametrize("kind", KINDS)
def test_a_probability_is_kept_to(kind: str) -> None:
    assert all(map(_same, mixed(kind, 0.0), tiles_of_one_grey()))
    samples, config = tiles_of_one_grey()[1:3], AugmentConfig(mix=kind, mix_probability=0.25)
    seeds = [[(epoch, 0, 1), (epoch, 1, 1)] for epoch in range(400)]
    count = sum(not _same(mix_batch(samples, two, config)[0], samples[0]) for two in seeds)
    assert 70 <= count <= 130


def _same(one: Sample, other: Sample) -> bool:
    return all(map(torch.equal, one, other))


def batches(workers: int = 0, epochs: tuple[int, ...] = (0, 1), **augment: Any
            ) -> list[tuple[Tensor, Tensor]]:  # fmt: skip
    tiles = tiny_tiles()
    sampler = EpochSampler(tiles.train_rows, 3, 5)
    dataset = TileDataset(tiles, AugmentConfig(**augment), 5)
    loader = train_loader(dataset, sampler, torch.device("cpu"), workers)
    found = []
    for sampler.epoch in epochs:
        found += [(images.clone(), masks.clone()) for images, masks in loader]
    return found


def equal(one: list[tuple[Tensor, Tensor]], other: list[tuple[Tensor, Tensor]]) -> bool:
    return len(one) == len(other) and all(map(_same, one, other))


@pytest.mark.parametrize("kind", KINDS)
def test_workers_and_the_epochs_before_change_nothing(kind: str) -> None:
    whole = batches(mix=kind, add=("elastic",))
    assert equal(whole, batches(workers=2, mix=kind, add=("elastic",)))
    assert equal(whole[2:], batches(epochs=(1,), mix=kind, add=("elastic",)))
    assert not equal(whole, batches(add=("elastic",)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_probability_of_nothing_is_no_mixing_to_the_bit(kind: str) -> None:
    assert equal(batches(mix=kind, mix_probability=0.0), batches())
