from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kaggle_salt.config.schema import InferenceConfig, InputConfig
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import predict, tile_probabilities
from kaggle_salt.learning.networks import build
from tests.learning.makers import COMPUTE, tiny_config, tiny_tiles

FRAMING = Framing((24, 24), InputConfig(size=32))
PLAIN, FLIP = InferenceConfig(tta="none"), InferenceConfig(tta="flip")


class Pointwise(nn.Module):
    """Looks at each pixel alone, so that it is symmetric: logit = 2 x."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    config = tiny_config()
    net = COMPUTE.place(build(config.model, 1)).eval()
    for parameter in net.parameters():  # far from its start, where residual branches are zero
        parameter.data += 0.3 * torch.randn_like(parameter)
    return net


def run(network: nn.Module, tiles: NDArray[np.uint8], config: InferenceConfig) -> NDArray[np.uint8]:
    out = np.zeros_like(tiles)
    predict([network], tiles, out, framing=FRAMING, compute=COMPUTE, config=config)
    return out


def test_flip_is_the_mean_of_two_passes(network: nn.Module) -> None:
    tiles = torch.from_numpy(tiny_tiles().images)
    with torch.no_grad():
        passes = [
            torch.sigmoid(FRAMING.unframe(network(FRAMING.prepare(view))))[:, 0]
            for view in (tiles, tiles.flip(2))
        ]
    expected = (passes[0] + passes[1].flip(2)) / 2
    flipped = tile_probabilities(network, tiles, FRAMING, COMPUTE, "flip")
    torch.testing.assert_close(flipped, expected, atol=1e-6, rtol=0)
    assert (flipped - passes[0]).abs().max() > 0.01  # or the test would show nothing


def test_flip_makes_the_mirror_image_of_a_tile_the_mirror_image_of_its_map(
    network: nn.Module,
) -> None:
    tiles = tiny_tiles().images
    mirrored = run(network, np.ascontiguousarray(tiles[..., ::-1]), FLIP)
    difference = run(network, tiles, FLIP)[..., ::-1].astype(int) - mirrored
    assert abs(difference).max() <= 1  # a last bit before rounding


def test_a_symmetric_network_gains_nothing_from_flips() -> None:
    tiles = tiny_tiles().images
    assert np.array_equal(run(Pointwise(), tiles, PLAIN), run(Pointwise(), tiles, FLIP))


def test_stored_is_255_p_rounded() -> None:
    tiles = np.arange(576, dtype=np.uint8).reshape(1, 24, 24)
    x = (tiles / 255 - 0.449) / 0.226
    expected = np.round(255 / (1 + np.exp(-2 * x)))
    stored = run(Pointwise(), tiles, PLAIN)
    assert stored.dtype == np.uint8
    assert abs(stored - expected).max() <= 1
    assert np.mean(stored == expected) > 0.99  # a tie may fall to the other side in float32


@pytest.mark.parametrize("size", [1, 5, 64])
def test_the_batch_size_does_not_matter(size: int, network: nn.Module) -> None:
    tiles = tiny_tiles().images
    one = run(network, tiles, InferenceConfig(batch_size=size)).astype(int)
    other = run(network, tiles, InferenceConfig(batch_size=4)).astype(int)
    assert abs(one - other).max() <= 1
    assert np.mean(one == other) > 0.999


def test_tiles_and_maps_may_lie_on_disk(network: nn.Module, tmp_path: Path) -> None:
    tiles = tiny_tiles().images
    np.save(tmp_path / "tiles.npy", tiles)
    mapped = np.load(tmp_path / "tiles.npy", mmap_mode="r")
    out = np.lib.format.open_memmap(
        tmp_path / "out.npy", mode="w+", dtype=np.uint8, shape=tiles.shape
    )
    predict([network], mapped, out, framing=FRAMING, compute=COMPUTE, config=FLIP)
    out.flush()
    assert np.array_equal(np.load(tmp_path / "out.npy"), run(network, tiles, FLIP))


def test_the_network_is_put_into_eval_mode(network: nn.Module) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    run(network, tiny_tiles().images, PLAIN)
    assert not network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_progress_counts_the_tiles_to_the_last() -> None:
    calls: list[tuple[int, int]] = []
    tiles = tiny_tiles(n=10).images
    predict(
        [Pointwise()],
        tiles,
        np.zeros_like(tiles),
        framing=FRAMING,
        compute=COMPUTE,
        config=InferenceConfig(batch_size=4),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(4, 10), (8, 10), (10, 10)]


def coloured(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Three colours that are not alike, ``[N, H, W, 3]``."""
    return np.stack([tiles, tiles // 2, 255 - tiles], axis=-1)


@pytest.fixture(scope="module")
def colour_network() -> nn.Module:
    torch.manual_seed(0)
    net = COMPUTE.place(build(tiny_config().model, 3)).eval()
    for parameter in net.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return net


def test_coloured_rectangles_are_mirrored_by_their_columns(colour_network: nn.Module) -> None:
    """And not by their colours, which come last."""
    tiles = coloured(tiny_tiles().images[:, :20])
    framing = Framing((20, 24), InputConfig(size=32, channels="rgb"))

    def run_on(views: NDArray[np.uint8], config: InferenceConfig) -> NDArray[np.int64]:
        out = np.zeros(tiles.shape[:3], dtype=np.uint8)
        predict([colour_network], views, out, framing=framing, compute=COMPUTE, config=config)
        return out.astype(np.int64)

    mirrored = run_on(np.ascontiguousarray(tiles[:, :, ::-1]), FLIP)
    assert abs(run_on(tiles, FLIP)[..., ::-1] - mirrored).max() <= 1
    assert abs(run_on(tiles, FLIP) - run_on(tiles, PLAIN)).max() > 1
    assert abs(run_on(tiles, PLAIN) - run_on(tiles[..., ::-1].copy(), PLAIN)).max() > 1
