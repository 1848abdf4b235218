from __future__ import annotations

import pytest
import torch
from torch import nn

from kaggle_salt.learning.networks import count_parameters
from kaggle_salt.learning.networks.blocks import PreActivationBlock
from kaggle_salt.learning.networks.resunet import ResUnet
from tests.learning.makers import push_down


@pytest.mark.parametrize("channels", [1, 3])
def test_a_logit_for_every_pixel(channels: int) -> None:
    network = ResUnet(channels, widths=(4, 8, 16)).eval()
    x = torch.randn(2, channels, 20, 20)
    assert network(x).shape == (2, 1, 20, 20)
    push_down(network)
    assert network(x).max() < 0  # no sigmoid


def test_the_default_has_five_levels_of_the_documents_widths() -> None:
    with torch.device("meta"):
        network = ResUnet(1)
        assert network(torch.zeros(2, 1, 128, 128)).shape == (2, 1, 128, 128)
    firsts = [level[0] for level in network.down]  # type: ignore[index]
    assert [conv.out_channels for conv in firsts] == [16, 32, 64, 128, 256]


def test_it_has_the_documents_parameters() -> None:
    """Less the bias of each block's first convolution, which a batch norm follows."""
    network = ResUnet(1)
    blocks = [m for m in network.modules() if isinstance(m, PreActivationBlock)]
    biases = sum(block.branch[0].num_features for block in blocks)  # type: ignore[misc]
    assert (len(blocks), biases) == (18, 1472)
    assert count_parameters(network) + biases == 5_112_497


def test_sides_must_be_multiples_of_what_the_docstring_says() -> None:
    network = ResUnet(1, widths=(4, 8, 16)).eval()
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        network(torch.zeros(1, 1, 22, 22))


@pytest.mark.parametrize(("dropout", "half"), [(0.5, 0.25), (0.2, 0.1)])
def test_half_the_dropout_after_the_first_pool_and_none_before_the_head(
    dropout: float, half: float
) -> None:
    network = ResUnet(1, widths=(4, 8, 16), dropout=dropout)
    shares = [m.p for m in network.modules() if isinstance(m, nn.Dropout)]
    assert shares == [half, dropout, dropout, dropout]  # 2 pools, 2 skips


def test_skips_carry_what_the_pools_lose() -> None:
    """With the lower level silenced the output still depends on single pixels."""
    network = ResUnet(1, widths=(4, 8)).eval()
    lift = network.lift[0]
    assert isinstance(lift, nn.ConvTranspose2d)
    nn.init.zeros_(lift.weight)
    x = torch.randn(1, 1, 8, 8)
    changed = x.clone()
    changed[0, 0, 3, 3] += 1
    assert not torch.equal(network(x), network(changed))


def test_every_parameter_learns() -> None:
    network = ResUnet(1, widths=(4, 8, 16))
    network(torch.randn(2, 1, 16, 16)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
