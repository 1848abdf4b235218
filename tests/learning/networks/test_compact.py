from __future__ import annotations

import pytest
import torch
from torch import nn

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
    "option",
    [
        {"widths": (4, 12)},
        {"depths": (1, 2)},
        {"decoder": (6,)},
        {"hypercolumn": 8},
        {"deep_supervision": True},
        {"empty_head": True},
    ],
    ids=str,
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


def test_deep_supervision_leaves_the_logits_alone() -> None:
    torch.manual_seed(0)
    plain, supervised = small(), small(deep_supervision=True)
    assert supervised.load_state_dict(plain.state_dict(), strict=False).unexpected_keys == []
    x = torch.randn(2, 1, 32, 32)
    assert torch.equal(plain(x), supervised(x).logits)
    assert torch.equal(plain.eval()(x), supervised.eval()(x))


def test_every_map_but_the_last_has_a_side_output_and_the_branch_is_as_large() -> None:
    network = small(
        widths=(4, 8, 8), depths=(1, 1, 1), decoder=(4, 4), deep_supervision=True, empty_head=True
    )
    for head, bias in zip(network.side_heads, [1.0, 2.0], strict=True):
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, bias)
    outputs = network(torch.randn(2, 1, 32, 32))
    assert [side.unique().tolist() for side in outputs.sides] == [[1.0], [2.0]]
    shapes = [one.shape for one in (*outputs.sides, outputs.logits, outputs.nonempty)]
    assert shapes == [(2, 1, 32, 32)] * 4
    assert outputs.has_salt.shape == (2,)


def test_the_feature_of_empty_tiles_reaches_the_logits_but_not_the_branch() -> None:
    torch.manual_seed(0)
    network = small(empty_head=True)
    head = network.empty_head
    assert head is not None
    head.feature[2].p = 0.0
    x = torch.randn(2, 1, 32, 32)
    before = network(x)
    # a constant would be taken out by the batch normalisation behind it
    head.feature[3].weight.data.neg_()
    after = network(x)
    assert torch.equal(after.nonempty, before.nonempty)
    assert not torch.allclose(after.logits, before.logits)
    assert not torch.allclose(after.has_salt, before.has_salt)


def test_with_all_heads_every_parameter_learns() -> None:
    network = small(deep_supervision=True, empty_head=True)
    outputs = network(torch.randn(2, 1, 32, 32))
    heads = [outputs.logits, *outputs.sides, outputs.nonempty, outputs.has_salt]
    sum(head.square().sum() for head in heads).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
