from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_salt.synthetic.geology import BLANK, EMPTY, Tile, draw_tile


def draw(seed: int, size: int, position: float) -> Tile:
    return draw_tile(np.random.default_rng(seed), size, position)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    size=st.integers(16, 72),
    position=st.floats(0, 1, exclude_max=True),
)
def test_tile_has_its_types_and_its_mask_is_empty_where_it_should_be(
    seed: int, size: int, position: float
) -> None:
    tile = draw(seed, size, position)
    assert tile.image.shape == tile.mask.shape == (size, size)
    assert tile.image.dtype == np.uint8
    assert tile.mask.dtype == np.bool_
    assert tile.mask.any() == (position >= EMPTY)
    assert not tile.mask.all()


def test_blank_tile_has_one_grey_value() -> None:
    greys = set()
    for seed in range(8):
        tile = draw(seed, 32, BLANK / 2)
        assert np.ptp(tile.image) == 0
        greys.add(int(tile.image[0, 0]))
    assert len(greys) > 2


def test_every_other_tile_has_contrast() -> None:
    positions = np.linspace(BLANK, 0.99, 30)
    spreads = [draw(7, 48, float(position)).image.std() for position in positions]
    assert min(spreads) > 5


def test_coverage_rises_with_the_position() -> None:
    coverages = [draw(3, 64, position).mask.mean() for position in (0.4, 0.6, 0.8, 0.999)]
    assert coverages == sorted(coverages)
    assert coverages[0] < 0.02
    assert coverages[-1] > 0.95


def test_some_masks_have_all_rows_alike() -> None:
    masks = [draw(seed, 32, 0.7).mask for seed in range(80)]
    vertical = [mask for mask in masks if (mask == mask[0]).all()]
    assert 1 <= len(vertical) <= 12  # one in twenty is expected
