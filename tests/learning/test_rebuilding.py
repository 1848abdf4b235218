"""Hidden blocks, noise, and the loss of what was rebuilt, each against the obvious way."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kaggle_salt.config.schema import InputConfig, PretextConfig
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.rebuilding import (
    LEAST_VARIANCE,
    RebuildingStep,
    grey_of,
    rebuilding_loss,
    spoil,
)
from tests.learning.makers import COMPUTE


def config(**keys: object) -> PretextConfig:
    return PretextConfig.model_validate({"name": "masked", **keys})


def ones(*shape: int) -> Tensor:
    return torch.ones(shape)


@pytest.mark.parametrize(("hidden", "count"), [(0.0, 0), (0.25, 4), (0.5, 8), (0.9, 14)])
def test_in_every_tile_as_many_blocks_are_hidden(hidden: float, count: int) -> None:
    torch.manual_seed(0)
    spoilt, where = spoil(ones(5, 3, 8, 8), config(hidden=hidden, blocks=4, noise=0.1))
    blocks = where.view(5, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).flatten(3)  # [5, 4, 4, 4]
    assert set(blocks.mean(dim=3).unique().tolist()) <= {0.0, 1.0}, "blocks are hidden whole"
    assert blocks.mean(dim=3).sum(dim=(1, 2)).tolist() == [count] * 5
    assert torch.equal(spoilt == 0, where.expand(-1, 3, -1, -1) == 1)


def test_tiles_are_spoilt_differently_and_a_seed_says_how() -> None:
    torch.manual_seed(0)
    inputs = ones(2, 1, 8, 8)
    spoilt, where = spoil(inputs, config())
    assert not torch.equal(where[0], where[1])
    torch.manual_seed(0)
    assert torch.equal(spoil(inputs, config())[0], spoilt)
    assert torch.equal(inputs, ones(2, 1, 8, 8)), "the wanted picture stays"


def test_blocks_of_a_rectangle_are_nearly_squares() -> None:
    torch.manual_seed(0)
    _, where = spoil(ones(1, 1, 8, 24), config(blocks=2, hidden=0.5))
    assert where.sum() == 8 * 24 / 2
    assert set(where[0, 0, ::4, ::4].flatten().tolist()) == {0.0, 1.0}


def test_noise_has_its_deviation_and_without_it_what_is_shown_is_true() -> None:
    torch.manual_seed(0)
    noisy, _ = spoil(ones(8, 1, 64, 64), config(hidden=0.0, noise=0.5))
    assert abs(float((noisy - 1).std()) - 0.5) < 0.01
    clear, where = spoil(ones(1, 1, 8, 8), config(noise=0.0))
    assert torch.equal(clear, 1 - where)


def test_grey_is_the_mean_of_colours_and_never_the_depth() -> None:
    inputs = torch.arange(6.0).view(1, 3, 1, 2)
    assert grey_of(inputs, InputConfig(channels="rgb")).tolist() == [[[[2.0, 3.0]]]]
    assert grey_of(inputs, InputConfig(channels="grey+depth")).tolist() == [[[[0.0, 1.0]]]]
    assert torch.equal(grey_of(inputs[:, :1], InputConfig(channels="grey")), inputs[:, :1])


def test_the_loss_is_that_of_a_slow_loop() -> None:
    torch.manual_seed(0)
    made, wanted = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4) * 3
    counted = (torch.rand(3, 1, 4, 4) < 0.5).float()
    errors = []
    for m, w, c in zip(made, wanted, counted, strict=True):
        variance = float(((w - w.mean()) ** 2).mean()) + LEAST_VARIANCE
        errors += [
            float(one - other) ** 2 / variance
            for one, other, counts in zip(m.flatten(), w.flatten(), c.flatten(), strict=True)
            if counts
        ]
    assert float(rebuilding_loss(made, wanted, counted)) == pytest.approx(
        sum(errors) / len(errors), rel=1e-5
    )
    assert rebuilding_loss(made, wanted, torch.zeros_like(counted)) == 0


class Grey(nn.Module):
    """Says the same grey everywhere, and remembers what it was shown."""

    def forward(self, x: Tensor) -> Tensor:
        self.shown = x
        return torch.zeros_like(x[:, :1])


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_without_noise_only_what_is_hidden_counts(noise: float) -> None:
    torch.manual_seed(0)
    network = Grey()
    framing = Framing((8, 8), InputConfig(size=8))
    tiles = torch.randint(0, 255, (2, 8, 8), dtype=torch.uint8)
    step = RebuildingStep(config(noise=noise, blocks=4), network, framing, COMPUTE)
    loss = step.loss([tiles])
    wanted = framing.prepare(tiles)
    hidden = (network.shown == 0).float()
    counted = ones(2, 1, 8, 8) if noise else hidden
    assert 0 < float(hidden.mean()) < 1
    assert torch.equal(loss, rebuilding_loss(torch.zeros_like(wanted), wanted, counted))
    assert step.measure(0.25).cost == 0.25
    assert not step.measure(0.25).figures
