from __future__ import annotations

from typing import Any

import pytest
import torch
from segmentation_models_pytorch.encoders.resnet import ResNetEncoder
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks.encoders import make_encoder
from kaggle_salt.learning.networks.salt_resnet import (
    FPA,
    SaltResnet,
    TransposedLevel,
    UpsampledLevel,
)
from tests.learning.makers import copy_state, push_down, same_bits

DECODERS = ["upsample", "transposed"]


def tiny(decoder: str = "upsample", **options: Any) -> SaltResnet:
    """On a ResNet of one block per stage."""
    torch.manual_seed(0)
    encoder = ResNetEncoder(
        out_channels=[3, 64, 64, 128, 256, 512], block=BasicBlock, layers=[1, 1, 1, 1]
    )
    return SaltResnet(encoder, decoder, width=8, **options)  # type: ignore[arg-type]


def tiles(side: int = 32) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("encoder", ["resnet34", "resnet50"])
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("keep", "sides"), [("pool", [112, 128]), ("none", [64, 160])])
def test_the_output_is_as_large_as_the_input(
    encoder: str, decoder: Any, keep: Any, sides: list[int]
) -> None:
    with torch.device("meta"):  # sizes alone: nothing is computed
        base = make_encoder(encoder, 3, imagenet=False)
        network = SaltResnet(base, decoder, keep_resolution=keep)
        for side in sides:
            assert network(torch.zeros(2, 3, side, side)).shape == (2, 1, side, side)


@pytest.mark.parametrize("decoder", DECODERS)
def test_no_sigmoid(decoder: str) -> None:
    network = tiny(decoder).eval()
    push_down(network)
    assert network(tiles()).max() < 0


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("keep_resolution", ["pool", "none"])
def test_every_parameter_learns(decoder: str, keep_resolution: str) -> None:
    network = tiny(decoder, keep_resolution=keep_resolution)
    network(tiles(64)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_the_encoders_weights_are_the_encoders() -> None:
    """Gates stand beside it, so that a file of its weights fits."""
    encoder = make_encoder("resnet18", 1, imagenet=False)
    before = copy_state(encoder)
    network = SaltResnet(encoder)
    assert same_bits(copy_state(network.encoder), before)


def test_open_gates_leave_the_encoders_maps() -> None:
    """With every gate at 1/2 + 1/2 the stages' maps are the encoder's own, the stem's left out."""
    network = tiny(keep_resolution="pool").eval()
    for parameter in network.gates.parameters():
        nn.init.zeros_(parameter)
    with torch.inference_mode():
        ours, encoders = network._encode(tiles()), network.encoder(tiles())
    assert [x.shape[-1] for x in ours] == [16, 8, 4, 2]
    assert all(torch.equal(x, y) for x, y in zip(ours, encoders[2:], strict=True))


def test_a_closed_gate_silences_what_comes_after() -> None:
    """The gates stand within the encoder: the next stage sees the gated map."""
    network = tiny().eval()
    gate = network.gates[1]
    for part in (gate.channel[3], gate.spatial):  # type: ignore[index, union-attr]
        nn.init.zeros_(part.weight)
        nn.init.constant_(part.bias, -200.0)
    with torch.inference_mode():
        first, second, third, _ = network._encode(tiles())
        other = network._encode(tiles() + 1)[2]
    assert first.abs().max() > 0
    assert second.abs().max() == 0
    assert torch.equal(third, other)  # whatever the input


# --- the centre


def test_the_centre_weighs_by_what_coarser_maps_see() -> None:
    """The definition, convolution by convolution, on random numbers."""
    torch.manual_seed(0)
    centre = FPA(3, 2).eval()
    x = torch.randn(2, 3, 8, 8)

    def upsample(y: Tensor) -> Tensor:
        return nn.functional.interpolate(y, scale_factor=2, mode="bilinear")

    with torch.inference_mode():
        a = centre.to_half(x)
        b = centre.to_quarter(a)
        mean = centre.everywhere[1](x.mean(dim=(2, 3), keepdim=True))
        attention = upsample(centre.from_half(a) + upsample(centre.from_quarter(b)))
        expected = centre.project(x) * attention + mean
        assert (a.shape[-1], b.shape[-1]) == (4, 2)
        assert torch.allclose(centre(x), expected)


def test_the_centres_kernels_and_activations() -> None:
    centre = FPA(3, 2)
    branches = {
        "to_half": (5, 2),
        "from_half": (5, 1),
        "to_quarter": (3, 2),
        "from_quarter": (3, 1),
        "project": (1, 1),
    }
    for name, (kernel, stride) in branches.items():
        convolution, norm, act = centre.get_submodule(name).children()
        assert isinstance(convolution, nn.Conv2d)
        assert (convolution.kernel_size[0], convolution.stride[0]) == (kernel, stride)
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(act, nn.ELU)


@pytest.mark.parametrize("side", [1, 3, 7])
def test_the_centre_takes_maps_of_any_size(side: int) -> None:
    assert FPA(3, 2).eval()(torch.randn(1, 3, side, side)).shape == (1, 2, side, side)


# --- the levels


@pytest.mark.parametrize("kind", [UpsampledLevel, TransposedLevel])
def test_a_level_doubles_the_size_with_or_without_a_skip(kind: type[nn.Module]) -> None:
    x, skip = torch.randn(2, 6, 3, 3), torch.randn(2, 5, 6, 6)
    assert kind(6, 5, 8)(x, skip).shape == (2, 8, 6, 6)
    assert kind(6, 0, 8)(x, None).shape == (2, 8, 6, 6)


def test_a_transposed_level_is_half_skip() -> None:
    level = TransposedLevel(6, 5, 8)
    project = level.project
    assert isinstance(project, nn.Conv2d)
    assert (project.out_channels, project.kernel_size) == (4, (1, 1))
    assert (level.lift.out_channels, level.lift.kernel_size) == (4, (2, 2))
    assert TransposedLevel(6, 0, 8).lift.out_channels == 8


def test_the_head_reads_all_levels_through_dropout() -> None:
    for keep_resolution, levels in (("pool", 4), ("none", 5)):
        network = tiny(keep_resolution=keep_resolution, dropout=0.3)
        assert len(network.levels) == levels
        assert network.head[0].p == 0.3
        assert network.head[1][0].in_channels == 8 * levels  # type: ignore[index]


def test_only_resnets_of_smps_will_do() -> None:
    encoder = make_encoder("tu-test_resnet", 1, imagenet=False)
    with pytest.raises(ConfigError, match=r"on a TimmUniversalEncoder(.|\n)*encoder=resnet34"):
        SaltResnet(encoder)
