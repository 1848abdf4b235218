from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kaggle_salt.config import ModelConfig
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks import build, check_size, library
from kaggle_salt.learning.networks.library import HypercolumnUnet
from tests.learning.makers import push_down

ENCODER = "tu-test_resnet"  # timm's own tiny one: a hundred thousand parameters


def model(architecture: str = "unet", encoder: str = ENCODER, **options: Any) -> ModelConfig:
    return ModelConfig(architecture=architecture, encoder=encoder, weights="none", options=options)


def size(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def logits(network: nn.Module, side: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        output: torch.Tensor = network.eval()(torch.randn(2, 1, side, side, generator=generator))
    return output


ARCHITECTURES = [
    "deeplabv3", "deeplabv3plus", "dpt", "fpn", "linknet", "manet", "pan", "pspnet", "segformer",
    "unet", "unetplusplus", "upernet",
]  # fmt: skip


def test_these_architectures_pass_through() -> None:
    assert sorted(library.ARCHITECTURES) == ARCHITECTURES


@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if a != "dpt"])
def test_every_architecture_gives_a_logit_for_every_pixel(architecture: str) -> None:
    network = build(model(architecture), 1)
    assert logits(network, 128).shape == (2, 1, 128, 128)
    push_down(network)
    assert logits(network, 128).max() < 0  # no sigmoid


def test_a_transformer_can_be_had_too() -> None:
    assert isinstance(build(model("dpt", "tu-test_vit"), 3), library.ARCHITECTURES["dpt"])


@pytest.mark.parametrize("encoder", ["resnet18", ENCODER, f"{ENCODER}.r160_in1k"])
@pytest.mark.parametrize("channels", [1, 3])
def test_native_and_timm_encoders(encoder: str, channels: int) -> None:
    network = build(model(encoder=encoder), channels).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, channels, 32, 32)).shape == (1, 1, 32, 32)


@pytest.mark.parametrize(
    "options",
    [
        {"decoder_attention_type": "scse"},
        {"hypercolumn": True},
        {"decoder_channels": [64, 48, 32, 16, 8]},
        {"encoder_depth": 4, "decoder_channels": [64, 48, 32, 16]},
    ],
    ids=str,
)
def test_options_change_the_network(options: dict[str, Any]) -> None:
    assert size(build(model(**options), 1)) != size(build(model(), 1))


def test_the_hypercolumn_changes_the_logits_and_none_other_is_called_so() -> None:
    torch.manual_seed(0)
    plain = build(model(), 1)
    column = build(model(hypercolumn=True), 1)
    shared = plain.state_dict()
    assert isinstance(column, HypercolumnUnet)
    assert column.encoder.state_dict().keys() == {
        name.removeprefix("encoder.") for name in shared if name.startswith("encoder.")
    }
    column.load_state_dict(
        {name: value for name, value in shared.items() if not name.startswith("segm")}, strict=False
    )
    assert not torch.allclose(logits(column), logits(plain))
    assert not isinstance(build(model(hypercolumn=False), 1), HypercolumnUnet)


@pytest.mark.parametrize("side", [64, 50, 33])
@pytest.mark.parametrize("options", [{}, {"decoder_attention_type": "scse"}], ids=str)
def test_the_hypercolumn_takes_any_size(side: int, options: dict[str, Any]) -> None:
    assert logits(build(model(hypercolumn=True, **options), 1), side).shape == (2, 1, side, side)


def test_every_decoder_stage_reaches_the_hypercolumns_logits() -> None:
    network = build(model(hypercolumn=True), 1)
    assert isinstance(network, HypercolumnUnet)
    first = network.head[1][0]  # type: ignore[index]
    blocks = list(network.decoder.get_submodule("blocks").children())
    assert first.in_channels == 256 + 128 + 64 + 32 + 16  # smp's decoder_channels
    assert len(blocks) == 5
    network(torch.randn(2, 1, 32, 32)).sum().backward()
    assert all(p.grad is not None for block in blocks for p in block.parameters())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (model("unett"), r"unknown architecture 'unett'\n.*'unet'"),
        (model("Unet"), r"unknown architecture 'Unet'\n.*'unet'"),
        (model(encoder="resnet43"), r"unknown encoder 'resnet43'\n.*'resnet34'"),
        (model(encoder="tu-test_resnt"), r"unknown encoder 'tu-test_resnt'\n.*tu-test_resnet"),
        (model(encoder="tu-qqqqqq"), r"unknown encoder 'tu-qqqqqq'\n.*a model of timm"),
        (
            model(decoder_atention_type="scse"),
            r"'model.options.decoder_atention_type'.*\n.*'decoder_attention_type'",
        ),
        (model(hypercolum=True), r"'model.options.hypercolum'.*\n.*'hypercolumn'"),
        (model("fpn", decoder_attention_type="scse"), "'model.options.decoder_attention_type'"),
        (model("fpn", hypercolumn=True), "'model.options.hypercolumn' for architecture 'fpn'"),
        (model(classes=2), "unknown key 'model.options.classes'"),
        (model(activation="sigmoid"), "unknown key 'model.options.activation'"),
        (model(decoder_attention_type="scsf"), "cannot be built: .*scsf"),
        (model(decoder_channels=[8]), "cannot be built: .*decoder_channels"),
        (model(encoder_depth=9), "cannot be built"),
        (model(encoder="tu-test_vit"), "cannot be built: Unsupported"),
        (model(encoder=f"{ENCODER}.nonsense"), "cannot be built: Invalid pretrained tag"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_smp_cannot_build_is_refused(config: ModelConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(config, 1)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("dpn68b", r"Wrong pretrained weights `imagenet`"),
        ("tu-cspresnet50d", "No pretrained weights exist"),
    ],
)
def test_an_encoder_that_has_no_imagenet_weights_is_refused(encoder: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(ModelConfig(encoder=encoder, weights="imagenet"), 3)


# --- sizes, and networks of our own


@pytest.mark.parametrize(
    ("config", "bad", "good"),
    [
        (model("fpn"), 48, 64),
        (model("classic-unet", widths=[4, 8]), 33, 34),
        (model("compact"), 33, 48),
    ],
    ids=lambda value: value.architecture if isinstance(value, ModelConfig) else value,
)
def test_a_size_that_does_not_suit_is_refused(config: ModelConfig, bad: int, good: int) -> None:
    network = build(config, 1)
    check_size(network, 1, good)
    with pytest.raises(ConfigError, match=rf"{bad}x{bad} pixels does not suit(.|\n)*size=64"):
        check_size(network, 1, bad)
    assert network.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": [1]}, r"'model.options.width'.*\n.*'widths'"),
        ({"channels": 2}, "unknown key 'model.options.channels'"),
        ({"depths": [1]}, r"compact with .*depths.* cannot be built"),
        ({"widths": "ab"}, "cannot be built"),
        ({"widths": [4, -8], "depths": [1, 1], "decoder": [4]}, "cannot be built"),
    ],
)
def test_options_of_our_own_networks_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(model("compact", **options), 1)


def test_our_own_networks_have_no_imagenet_weights() -> None:
    config = ModelConfig(architecture="compact", weights="imagenet")
    with pytest.raises(ConfigError, match=r"no ImageNet weights for 'compact'(.|\n)*weights=none"):
        build(config, 1)
    assert size(build(config, 1, pretrained=False)) > 0
