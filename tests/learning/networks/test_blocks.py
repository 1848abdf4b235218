from __future__ import annotations

import pytest
import torch
from torch import nn

from kaggle_salt.learning.networks.blocks import ConvNormAct, ScSE


@pytest.mark.parametrize(("kernel", "stride", "side"), [(1, 1, 7), (3, 1, 7), (3, 2, 4), (5, 2, 4)])
def test_a_convolution_keeps_the_size_or_halves_it(kernel: int, stride: int, side: int) -> None:
    out = ConvNormAct(2, 3, kernel, stride)(torch.randn(2, 2, 7, 7))
    assert out.shape == (2, 3, side, side)


def test_relu_comes_last_or_not_at_all() -> None:
    x = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    assert ConvNormAct(2, 3)(x).min() == 0
    assert ConvNormAct(2, 3, act=False)(x).min() < 0


def test_the_norm_takes_the_biases_place() -> None:
    assert sorted(dict(ConvNormAct(2, 3).named_parameters())) == ["0.weight", "1.bias", "1.weight"]


def test_scse_by_hand() -> None:
    """x times (channel gate + spatial gate), both set by hand."""
    block = ScSE(2)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    x = torch.tensor([[[[1.0, -2.0]], [[3.0, 4.0]]]])  # [1, 2, 1, 2]
    assert torch.equal(block(x), x)  # both gates are sigmoid(0) = 1/2
    block.spatial.weight.data[0, 0] = 100.0  # the spatial gate opens where channel 0 is positive
    assert torch.allclose(block(x), x * torch.tensor([1.5, 0.5]))
    block.channel[3].bias.data = torch.tensor([-100.0, 100.0])
    gates = torch.tensor([[[[1.0, 0.0]], [[2.0, 1.0]]]])
    assert torch.allclose(block(x), x * gates)


def test_the_reduction_never_leaves_too_little() -> None:
    assert [ScSE(c).channel[1].out_channels for c in (8, 64)] == [4, 8]
