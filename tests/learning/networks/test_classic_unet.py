from __future__ import annotations

import pytest
import torch
from torch import nn

from kaggle_salt.learning.networks import count_parameters
from kaggle_salt.learning.networks.classic_unet import ClassicUnet
from tests.learning.makers import push_down


@pytest.mark.parametrize("channels", [1, 3])
def test_a_logit_for_every_pixel(channels: int) -> None:
    network = ClassicUnet(channels, widths=(4, 8, 16)).eval()
    logits = network(torch.randn(2, channels, 20, 20))
    assert logits.shape == (2, 1, 20, 20)
    push_down(network)
    assert network(torch.randn(2, channels, 20, 20)).max() < 0  # no sigmoid


def test_the_default_has_five_levels() -> None:
    network = ClassicUnet(1)
    assert (len(network.down), len(network.up)) == (5, 4)


def test_with_the_tutorials_mistake_it_has_the_tutorials_parameters() -> None:
    """There the second convolution of a block overwrites the first, and all have a bias."""
    network = ClassicUnet(1)
    blocks = [*network.down, *network.up]
    second = sum(count_parameters(block[1]) for block in blocks)  # type: ignore[index]
    biases = sum(block[0][0].out_channels for block in blocks)  # type: ignore[index]
    assert count_parameters(network) == 2_159_889
    assert count_parameters(network) - second + biases == 1_177_649


def test_sides_must_be_multiples_of_what_the_docstring_says() -> None:
    network = ClassicUnet(1, widths=(4, 8, 16)).eval()
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        network(torch.zeros(1, 1, 22, 22))


def test_the_dropout_option_reaches_every_level() -> None:
    network = ClassicUnet(1, widths=(4, 8), dropout=0.4)
    layers = [m for m in network.modules() if isinstance(m, nn.Dropout)]
    assert [layer.p for layer in layers] == [0.4, 0.4]
    x = torch.randn(1, 1, 16, 16)
    network.train()
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_skips_carry_what_the_pools_lose() -> None:
    """With the lower level silenced the output still depends on single pixels."""
    network = ClassicUnet(1, widths=(4, 8), dropout=0).eval()
    lift = network.lift[0]
    assert isinstance(lift, nn.ConvTranspose2d)
    nn.init.zeros_(lift.weight)
    x = torch.randn(1, 1, 8, 8)
    changed = x.clone()
    changed[0, 0, 3, 3] += 1
    assert not torch.equal(network(x), network(changed))
