"""Members of a library for tests: small, of the same tiles, more or less right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.predictions import Predictions


def tile_ids(count: int) -> tuple[str, ...]:
    return tuple(f"tile{number}" for number in range(count))


def leaning_members(
    seed: int, *, members: int, tiles: int, side: int = 4
) -> tuple[dict[str, Predictions], NDArray[np.bool_]]:
    """Members that lean towards the truth, each with noise and an order of tiles of its own.

    Returns:
        Members ``m0``, ``m1``, ... by name, and the truth, bool ``[tiles, side, side]``, in the
        order of :func:`tile_ids`. A third of the tiles is empty.
    """
    rng = np.random.default_rng(seed)
    truth = rng.random((tiles, side, side)) < 0.5
    truth[rng.random(tiles) < 1 / 3] = False
    found = {}
    for number in range(members):
        noise = rng.integers(0, 256, truth.shape)
        leaning = np.where(truth, np.maximum(noise, rng.integers(0, 256, truth.shape)), noise // 2)
        order = rng.permutation(tiles)
        ids = tuple(f"tile{tile}" for tile in order.tolist())
        found[f"m{number}"] = Predictions(ids, leaning[order].astype(np.uint8))
    return found, truth
