from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks import count_parameters
from kaggle_salt.learning.networks.encoders import make_encoder
from kaggle_salt.learning.networks.xception_unet import XceptionUnet
from tests.learning.makers import push_down


def unet(channels: int = 1, dropout: float = 0.1) -> XceptionUnet:
    torch.manual_seed(0)
    encoder = make_encoder("xception", channels, imagenet=False)
    return XceptionUnet(encoder, widths=(16, 8, 8, 4, 4, 4), dropout=dropout)


#: One that no test changes.
shared = cache(unet)


@pytest.mark.parametrize("side", [160, 128, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_output_is_as_large_as_the_input(side: int, channels: int) -> None:
    with torch.device("meta"):  # sizes alone: nothing is computed
        network = XceptionUnet(make_encoder("xception", channels, imagenet=False))
        x = torch.zeros(2, channels, side, side)
        assert network(x).shape == (2, 1, side, side)


def test_the_skips_are_what_the_source_takes() -> None:
    with torch.device("meta"):
        network = XceptionUnet(make_encoder("xception", 3, imagenet=False))
        maps = network.encode(torch.zeros(2, 3, 160, 160))
        middle = network.middle(maps[-1])
    assert [tuple(x.shape[1:]) for x in maps] == [
        (128, 80, 80), (256, 40, 40), (728, 20, 20), (1024, 10, 10),
    ]  # fmt: skip
    assert tuple(middle.shape[1:]) == (512, 5, 5)
    assert [lift.out_channels for lift in network.lift] == [256, 128, 64, 32, 16]  # type: ignore[misc]
    assert count_parameters(network) == 38_359_929


def test_the_maps_are_the_encoders_own() -> None:
    """What the encoder itself gives after each pool follows from the map before it."""
    torch.manual_seed(0)
    encoder = make_encoder("xception", 1, imagenet=False).eval()
    x = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        _, stem, after_one, after_two, after_eleven, _ = encoder(x)
        maps = XceptionUnet(encoder).eval().encode(x)
        for number, before, after in ((1, stem, after_one), (2, after_one, after_two)):
            block = encoder.get_submodule(f"block{number}")
            pooled = block.rep[-1](maps[number - 1])  # type: ignore[index, operator]
            assert torch.equal(pooled + block.skipbn(block.skip(before)), after)  # type: ignore[operator]
        twelfth = encoder.get_submodule("block12").rep[:-1]  # type: ignore[index]
        assert torch.equal(maps[3], twelfth(after_eleven))  # type: ignore[operator]


def test_nothing_is_kept_that_is_not_used() -> None:
    network = unet()
    network(torch.randn(2, 1, 32, 32)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_no_sigmoid() -> None:
    network = unet().eval()
    push_down(network)
    with torch.inference_mode():
        assert network(torch.randn(2, 1, 32, 32)).max() < 0


def test_other_sizes_are_refused() -> None:
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        shared()(torch.zeros(2, 1, 40, 40))


def test_levels_end_in_a_leak_of_a_tenth_and_hold_plain_relus() -> None:
    network = shared()
    for part in (network.leak, *network.middle[2:], *(level[1] for level in network.up)):  # type: ignore[index]
        slopes = {m.negative_slope for m in part.modules() if isinstance(m, nn.LeakyReLU)}
        assert slopes == {0.1}
    blocks = [m for m in network.up.modules() if isinstance(m, nn.ReLU)]
    assert len(blocks) == 5 * 2 * 2


def test_the_dropout_option_reaches_every_level() -> None:
    layers = [m for m in unet(dropout=0.4).modules() if isinstance(m, nn.Dropout)]
    assert [layer.p for layer in layers] == [0.4, *[0.4] * 5, 0.2]


def test_only_smps_xception_will_do() -> None:
    encoder = make_encoder("tu-test_resnet", 1, imagenet=False)
    with pytest.raises(ConfigError, match=r"on a TimmUniversalEncoder(.|\n)*encoder=xception"):
        XceptionUnet(encoder)
