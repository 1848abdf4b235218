from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kaggle_salt.config.file import load_config
from kaggle_salt.learning.channels import settle_channels
from kaggle_salt.learning.networks import build, count_parameters
from kaggle_salt.learning.networks.anatomy import INPUT, list_blocks, list_layers
from kaggle_salt.presets import preset_names, preset_path


class Toy(nn.Module):
    """A U-Net of one level, with all that makes its wiring hard to see from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))  # belongs to no module below
        self.down = nn.ModuleList(
            [nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1, stride=2)]
        )
        self.norm = nn.BatchNorm2d(8)
        self.same = nn.Identity()
        self.act = nn.ReLU(inplace=True)
        self.up = nn.Conv2d(12, 4, 3, padding=1)
        self.side = nn.Conv2d(8, 1, 1)
        self.head = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down[0](x)
        kept = self.same(skip)  # the very tensor: it still comes from down.0
        low = self.act(self.norm(self.down[1](skip)))
        if self.training:
            self.side(low)
        low = nn.functional.interpolate(low, scale_factor=2.0)
        logits: Tensor = self.head(self.up(torch.cat([low, kept], dim=1)))
        return logits * self.scale


def test_layers_of_a_toy_are_as_counted_by_hand() -> None:
    found = [(x.name, x.kind, x.shape, x.parameters) for x in list_layers(Toy(), 1, (6, 10))]
    assert found == [
        ("", "Toy", (1, 6, 10), 1),
        ("down.0", "Conv2d", (4, 6, 10), 40),
        ("down.1", "Conv2d", (8, 3, 5), 296),
        ("norm", "BatchNorm2d", (8, 3, 5), 16),
        ("act", "ReLU", (8, 3, 5), 0),
        ("up", "Conv2d", (4, 6, 10), 436),
        ("side", "Conv2d", (1, 3, 5), 9),
        ("head.0", "Conv2d", (4, 6, 10), 20),
        ("head.1", "Conv2d", (1, 6, 10), 5),
    ]


def test_blocks_of_a_toy_know_where_their_maps_come_from() -> None:
    found = [(b.name, b.channels, b.shape, b.sources) for b in list_blocks(Toy(), 1, (6, 10))]
    assert found == [
        ("down.0", 4, (6, 10), (INPUT,)),
        ("down.1", 8, (3, 5), ("down.0",)),
        ("up", 4, (6, 10), ("down.0", "down.1")),
        ("head", 1, (6, 10), ("up",)),
    ]


def test_a_network_is_left_as_it_was() -> None:
    network = Toy().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    list_layers(network, 1, (6, 10))
    list_blocks(network, 1, (6, 10))
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_taken_apart_whole(preset: str) -> None:
    config = settle_channels(load_config(preset_path(preset)), coloured=False)
    channels, size = config.input.channel_count, config.input.size
    network = build(config.model, channels, pretrained=False)
    layers = list_layers(network, channels, (size, size))
    assert sum(layer.parameters for layer in layers) == count_parameters(network)
    assert all(layer.shape for layer in layers), "every layer is called"
    blocks = list_blocks(network, channels, (size, size))
    assert blocks[0].sources == (INPUT,)
    assert (blocks[-1].channels, blocks[-1].shape) == (1, (size, size))
    names = [INPUT, *(block.name for block in blocks)]
    for place, block in enumerate(blocks, start=1):
        assert block.sources
        assert set(block.sources) <= set(names[:place]), "maps come from what ran before"
    skips = [block for block in blocks if len(block.sources) == 2]
    assert len(skips) >= 3, "a U-Net has skips"


def test_skips_of_xception_are_those_before_its_pools() -> None:
    config = settle_channels(load_config(preset_path("xception160")), coloured=False)
    network = build(config.model, 3, pretrained=False)
    sources = {block.name: block.sources for block in list_blocks(network, 3, (160, 160))}
    skips = [sources[f"up.{level}"][0] for level in range(4)]
    assert skips == [f"encoder.block{number}" for number in (12, 3, 2, 1)]
