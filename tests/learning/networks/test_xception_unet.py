from __future__ import annotations

import pytest
import torch
from torch import nn

from kaggle_salt.learning.networks.encoders import make_encoder
from kaggle_salt.learning.networks.xception_unet import XceptionUnet
from tests.learning.makers import push_down


def tiny(dropout: float = 0.1) -> XceptionUnet:
    """On a tiny encoder: what is tested here is what stands upon it."""
    torch.manual_seed(0)
    encoder = make_encoder("tu-test_resnet", 1, imagenet=False)
    return XceptionUnet(encoder, widths=(16, 8, 8, 4, 4, 4), dropout=dropout)


@pytest.mark.parametrize("side", [160, 128, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_output_is_as_large_as_the_input(side: int, channels: int) -> None:
    with torch.device("meta"):  # sizes alone: nothing is computed
        network = XceptionUnet(make_encoder("xception", channels, imagenet=False))
        x = torch.zeros(2, channels, side, side)
        assert network(x).shape == (2, 1, side, side)


def test_no_sigmoid() -> None:
    network = tiny().eval()
    push_down(network)
    assert network(torch.randn(2, 1, 32, 32)).max() < 0


def test_other_sizes_are_refused() -> None:
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        tiny()(torch.zeros(2, 1, 40, 40))


def test_the_decoders_activations_are_leaky_by_a_tenth() -> None:
    network = tiny()
    for part in (network.middle, network.up):
        slopes = {m.negative_slope for m in part.modules() if isinstance(m, nn.LeakyReLU)}
        assert slopes == {0.1}
        assert not any(isinstance(m, nn.ReLU) for m in part.modules())


def test_the_dropout_option_reaches_every_level() -> None:
    layers = [m for m in tiny(dropout=0.4).up.modules() if isinstance(m, nn.Dropout)]
    assert [layer.p for layer in layers] == [0.4] * 5


def test_every_parameter_learns() -> None:
    network = tiny()
    network(torch.randn(2, 1, 32, 32)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
