from __future__ import annotations

from typing import Any

import pytest
import torch
from segmentation_models_pytorch.encoders.resnet import ResNetEncoder
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks import count_parameters
from kaggle_salt.learning.networks.encoders import make_encoder
from kaggle_salt.learning.networks.salt_resnet import (
    FPA,
    BilinearLevel,
    SaltResnet,
    TransposedLevel,
)
from tests.learning.makers import copy_state, same_bits

STEMS = ["halving", "full"]


def tiny(stem: str = "halving", **options: Any) -> SaltResnet:
    """On a ResNet of one block per stage."""
    torch.manual_seed(0)
    encoder = ResNetEncoder(
        out_channels=[3, 64, 64, 128, 256, 512], block=BasicBlock, layers=[1, 1, 1, 1]
    )
    return SaltResnet(encoder, stem, width=8, **options)  # type: ignore[arg-type]


def tiles(side: int = 32) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("encoder", ["resnet34", "resnet50"])
@pytest.mark.parametrize(("stem", "sides"), [("halving", [256, 160]), ("full", [128, 112])])
def test_the_output_is_as_large_as_the_input(encoder: str, stem: Any, sides: list[int]) -> None:
    with torch.device("meta"):  # sizes alone: nothing is computed
        network = SaltResnet(make_encoder(encoder, 3, imagenet=False), stem)
        for side in sides:
            assert network(torch.zeros(2, 3, side, side)).shape == (2, 1, side, side)


# the source's own, without torchvision's classifier and the 7x7 stem that version 5 holds unused
@pytest.mark.parametrize(("stem", "parameters"), [("halving", 35_409_412), ("full", 35_253_376)])
def test_it_has_the_sources_parameters(stem: Any, parameters: int) -> None:
    with torch.device("meta"):
        network = SaltResnet(make_encoder("resnet34", 3, imagenet=False), stem)
    assert count_parameters(network) == parameters


@pytest.mark.parametrize(("stem", "side"), [("halving", 256), ("full", 128)])
def test_its_maps_are_the_sources(stem: Any, side: int) -> None:
    """Channels and sides in the comments of the source's forward, stage by stage."""
    with torch.device("meta"):
        network = SaltResnet(make_encoder("resnet34", 3, imagenet=False), stem)
        maps = network.encode(torch.zeros(2, 3, side, side))
        centre = network.centre(maps[-1])
    assert [tuple(x.shape[1:]) for x in maps] == [
        (64, 128, 128), (128, 64, 64), (256, 32, 32), (512, 16, 16),
    ]  # fmt: skip
    assert tuple(centre.shape[1:]) == (256, 8, 8)


@pytest.mark.parametrize("stem", STEMS)
def test_no_sigmoid(stem: str) -> None:
    """A sigmoid would stay between 0 and 1."""
    network = tiny(stem).eval()
    last = network.head[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is None
    nn.init.constant_(last.weight, -50.0)
    assert network(tiles()).min() < -1


@pytest.mark.parametrize("stem", STEMS)
def test_every_parameter_learns(stem: str) -> None:
    network = tiny(stem)
    network(tiles(64)).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_the_encoders_weights_are_the_encoders() -> None:
    """Gates stand beside it, so that a file of its weights fits."""
    encoder = make_encoder("resnet18", 1, imagenet=False)
    before = copy_state(encoder)
    network = SaltResnet(encoder)
    assert same_bits(copy_state(network.encoder), before)


def test_a_full_stem_is_another_convolution() -> None:
    first = tiny("full").encoder.get_submodule("conv1")
    assert isinstance(first, nn.Conv2d)
    assert (first.kernel_size, first.stride, first.bias) == ((3, 3), (1, 1), None)


def test_a_closed_gate_silences_what_comes_after() -> None:
    """The gates stand within the encoder: the next stage sees the gated map."""
    network = tiny().eval()
    gate = network.gates[1]
    nn.init.zeros_(gate.channel[3].weight)  # type: ignore[index, union-attr, arg-type]
    nn.init.constant_(gate.channel[3].bias, -200.0)  # type: ignore[index, union-attr, arg-type]
    nn.init.constant_(gate.spatial.weight, -1e6)  # type: ignore[union-attr, arg-type]
    with torch.inference_mode():
        first, second, third, _ = network.encode(tiles())
        other = network.encode(tiles() + 1)[2]
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


def test_a_transposed_level_is_half_skip() -> None:
    level = TransposedLevel(6, 5, 8)
    assert level(torch.randn(2, 6, 3, 3), torch.randn(2, 5, 6, 6)).shape == (2, 8, 6, 6)
    assert (level.project.out_channels, level.project.kernel_size) == (4, (1, 1))
    assert level.project.bias is None
    assert (level.lift.out_channels, level.lift.kernel_size) == (4, (2, 2))


def test_the_bilinear_level_narrows_to_half() -> None:
    level = BilinearLevel(8)
    assert level(torch.randn(2, 8, 3, 3)).shape == (2, 8, 6, 6)
    assert [m.out_channels for m in level.convs[:2].modules() if isinstance(m, nn.Conv2d)] == [4, 8]


@pytest.mark.parametrize(("stem", "levels", "hidden"), [("halving", 5, 8), ("full", 4, 4)])
def test_the_head_reads_all_levels(stem: str, levels: int, hidden: int) -> None:
    network = tiny(stem, dropout=0.3)
    dropout, convolution, act, _ = network.head
    assert isinstance(dropout, nn.Dropout2d)
    assert dropout.p == 0.3
    assert isinstance(convolution, nn.Conv2d)
    assert (convolution.in_channels, convolution.out_channels) == (8 * levels, hidden)
    assert isinstance(act, nn.ELU)


def test_only_resnets_of_smps_will_do() -> None:
    encoder = make_encoder("tu-test_resnet", 1, imagenet=False)
    with pytest.raises(ConfigError, match=r"on a TimmUniversalEncoder(.|\n)*encoder=resnet34"):
        SaltResnet(encoder)
