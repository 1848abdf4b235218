from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kaggle_salt.learning.networks import blocks
from kaggle_salt.learning.networks.blocks import (
    ConvNormAct,
    EmptyHead,
    HypercolumnHead,
    PreActivationBlock,
    ScSE,
    double,
    hypercolumn,
    resize,
    with_dense_gradient,
)


@pytest.mark.parametrize(("kernel", "stride", "side"), [(1, 1, 7), (3, 1, 7), (3, 2, 4), (5, 2, 4)])
def test_a_convolution_keeps_the_size_or_halves_it(kernel: int, stride: int, side: int) -> None:
    out = ConvNormAct(2, 3, kernel, stride)(torch.randn(2, 2, 7, 7))
    assert out.shape == (2, 3, side, side)


def test_the_activation_can_be_chosen() -> None:
    x = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    assert -1 < ConvNormAct(2, 3, act=nn.ELU)(x).min() < 0


def test_relu_comes_last_or_not_at_all() -> None:
    x = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    assert ConvNormAct(2, 3)(x).min() == 0
    assert ConvNormAct(2, 3, act=None)(x).min() < 0


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


def test_scse_is_the_same_in_either_layout() -> None:
    torch.manual_seed(0)
    block, x = ScSE(8), torch.randn(3, 8, 5, 4)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        given = x.clone(memory_format=layout).requires_grad_()
        block.zero_grad()
        out = block(given)
        assert out.is_contiguous(memory_format=layout)
        out.square().sum().backward()
        found.append([out.detach(), given.grad, *(p.grad.clone() for p in block.parameters())])
    for plain, last in zip(*found, strict=True):
        assert torch.allclose(plain, last, rtol=1e-4, atol=1e-5)


def test_a_gradient_is_dense_where_the_stack_leaves_gaps() -> None:
    seen = []
    for dense in (with_dense_gradient, lambda x: x):
        x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        small = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        large = F.interpolate(small, scale_factor=2, mode="nearest")
        large.register_hook(lambda gradient: seen.append(gradient))
        torch.cat([dense(large), large.detach()], dim=1).square().sum().backward()
        seen.append(small.grad)
    gradient, ours, gappy, plain = seen
    assert torch.equal(ours, plain)
    assert gradient.is_contiguous(memory_format=torch.channels_last)
    assert not gappy.is_contiguous(memory_format=torch.channels_last)


def test_the_reduction_never_leaves_too_little() -> None:
    assert [ScSE(c).channel[1].out_channels for c in (8, 64)] == [4, 8]


# --- the residual block, whose shortcut nothing touches


def test_a_silent_branch_leaves_the_input() -> None:
    block = PreActivationBlock(3)
    last = block.branch[3]
    assert isinstance(last, nn.Conv2d)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, 2.0)  # type: ignore[arg-type]
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(block(x), x + 2)


def test_norm_and_activation_come_before_each_convolution() -> None:
    kinds = [type(m).__name__ for m in PreActivationBlock(2, act=nn.ELU).branch.modules()]
    layers = [kind for kind in kinds if kind not in ("Sequential", "ConvNormAct")]
    assert layers == ["BatchNorm2d", "ELU", "Conv2d", "BatchNorm2d", "ELU", "Conv2d"]


# --- sizes


def test_a_hypercolumn_stacks_all_maps_at_the_last_ones_size() -> None:
    coarse = torch.tensor([[[[1.0, 3.0], [1.0, 3.0]]]])  # [1, 1, 2, 2]
    fine = torch.arange(32.0).reshape(1, 2, 4, 4)
    column = hypercolumn([coarse, fine])
    assert torch.equal(column[:, 1:], fine)
    assert torch.equal(column[0, 0], torch.tensor([1.0, 1.5, 2.5, 3.0]).expand(4, 4))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_gradient_of_a_hypercolumn_has_no_gaps(
    layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = []

    def watched(x: Tensor, size: torch.Size) -> Tensor:
        larger = resize(x, size)
        larger.register_hook(lambda g: dense.append(g.is_contiguous(memory_format=layout)))
        return larger

    sizes = [(3, 2), (2, 4), (4, 8)]
    maps = [torch.randn(2, c, s, s).to(memory_format=layout).requires_grad_() for c, s in sizes]
    factor = torch.randn(2, 9, 8, 8).to(memory_format=layout)
    plain = torch.cat([*(resize(x, maps[-1].shape[-2:]) for x in maps[:-1]), maps[-1]], dim=1)
    expected = torch.autograd.grad((plain * factor).sum(), maps)

    monkeypatch.setattr(blocks, "resize", watched)
    gradients = torch.autograd.grad((hypercolumn(maps) * factor).sum(), maps)
    assert dense == [True, True]
    assert all(torch.equal(g, e) for g, e in zip(gradients, expected, strict=True))


def test_resizing_to_the_same_size_is_free() -> None:
    x = torch.randn(1, 1, 3, 5)
    assert resize(x, x.shape[-2:]) is x


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("side", [1, 2, 5])
def test_doubling_is_exact(kernel: int, side: int) -> None:
    assert double(2, 3, kernel)(torch.zeros(1, 2, side, side)).shape == (1, 3, 2 * side, 2 * side)


def test_the_hypercolumns_head_drops_whole_maps_then_convolves() -> None:
    head = HypercolumnHead(6, hidden=4, dropout=0.3)
    dropout, convolution, last = head
    assert isinstance(dropout, nn.Dropout2d)
    assert dropout.p == 0.3
    assert isinstance(convolution, ConvNormAct)
    assert isinstance(last, nn.Conv2d)
    assert head(torch.randn(2, 6, 5, 5)).shape == (2, 1, 5, 5)


def test_the_empty_head_by_hand() -> None:
    """The mean of [1, 3] is 2; weight 3 and bias 1 make it 7, the logit 2 * 7 - 1 = 13."""
    head = EmptyHead(1, nn.Identity(), width=1, dropout=0.0)
    linear = head.feature[3]
    assert isinstance(linear, nn.Linear)
    for layer, weight, bias in ((linear, 3.0, 1.0), (head.has_salt, 2.0, -1.0)):
        nn.init.constant_(layer.weight, weight)
        nn.init.constant_(layer.bias, bias)
    column = torch.tensor([[[[5.0, 6.0]]]])  # [1, 1, 1, 2]
    seen, nonempty, has_salt = head(torch.tensor([[[[1.0, 3.0]]]]), column)
    assert torch.equal(seen, torch.tensor([[[[5.0, 6.0]], [[7.0, 7.0]]]]))
    assert nonempty is column
    assert has_salt.tolist() == [13.0]
    assert head.eval()(torch.zeros(1, 1, 1, 1), column)[1] is None


def test_the_mean_is_thinned_by_dropout() -> None:
    head = EmptyHead(8, nn.Identity())
    assert isinstance(head.feature[2], nn.Dropout)
    assert head.feature[2].p == 0.5
