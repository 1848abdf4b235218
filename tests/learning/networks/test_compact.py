from __future__ import annotations

import pytest
import torch

from kaggle_salt.learning.networks.compact import Compact, ResidualBlock
from tests.learning.makers import push_down

SMALL = {"widths": (4, 8), "depths": (1, 1), "decoder": (4,), "hypercolumn": 4}


def small(**changes: object) -> Compact:
    return Compact(1, **{**SMALL, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 44, 56])
def test_a_logit_for_every_pixel(channels: int, size: int) -> None:
    network = Compact(channels, **SMALL).eval()  # type: ignore[arg-type]
    logits = network(torch.randn(2, channels, size, size))
    assert logits.shape == (2, 1, size, size)
    push_down(network)
    assert network(torch.randn(2, channels, size, size)).max() < 0  # no sigmoid


def test_the_default_has_four_stages() -> None:
    network = Compact(1).eval()
    assert len(network.encoder) == 4
    assert network(torch.randn(1, 1, 32, 32)).shape == (1, 1, 32, 32)


def test_a_residual_branch_starts_at_zero() -> None:
    block = ResidualBlock(4, 4, stride=1).eval()
    x = torch.rand(1, 4, 6, 6)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_residual_block_halves_odd_sizes_upwards(stride: int) -> None:
    out = ResidualBlock(2, 3, stride)(torch.rand(2, 2, 7, 7))
    assert out.shape == (2, 3, 7 // stride + (stride - 1), 7 // stride + (stride - 1))


@pytest.mark.parametrize(
    "option", [{"widths": (4, 12)}, {"depths": (1, 2)}, {"decoder": (6,)}, {"hypercolumn": 8}]
)
def test_every_option_changes_the_network(option: dict[str, object]) -> None:
    def size(network: Compact) -> int:
        return sum(p.numel() for p in network.parameters())

    assert size(small(**option)) > size(small())


def test_every_decoder_output_reaches_the_logits() -> None:
    network = small(widths=(4, 8, 8), depths=(1, 1, 1), decoder=(4, 4))
    network(torch.randn(2, 1, 16, 16)).sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None]
    assert silent == []
