from __future__ import annotations

from typing import Any

import pytest
import torch

from kaggle_salt.config.schema import ModelConfig
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks import ON_ENCODER, WHOLE, build, check_size
from kaggle_salt.learning.networks.salt_resnet import SaltResnet
from kaggle_salt.learning.networks.unet import SmpUnet
from kaggle_salt.learning.networks.xception_unet import XceptionUnet

ENCODER = "tu-test_resnet"  # timm's own tiny one: a hundred thousand parameters


def model(architecture: str, encoder: str = ENCODER, **options: Any) -> ModelConfig:
    return ModelConfig(architecture=architecture, encoder=encoder, weights="none", options=options)


# --- names


def test_our_own_networks() -> None:
    assert sorted([*WHOLE, *ON_ENCODER]) == [
        "classic-unet", "compact", "resunet", "salt-resnet", "unet", "xception-unet",
    ]  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (model("unet", hypercolumn=True, empty_head=True), SmpUnet),
        (model("salt-resnet", "resnet18", stem="full"), SaltResnet),
        (model("xception-unet", "xception", widths=[8] * 6), XceptionUnet),
        *((model(name), kind) for name, kind in WHOLE.items()),
    ],
    ids=lambda value: value.architecture if isinstance(value, ModelConfig) else "",
)
def test_a_name_and_options_become_a_network(
    config: ModelConfig, kind: type, channels: int
) -> None:
    with torch.device("meta"):  # sizes alone: nothing is computed
        network = build(config, channels).eval()
        assert isinstance(network, kind)
        assert network(torch.zeros(2, channels, 64, 64)).shape == (2, 1, 64, 64)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (model("unett"), r"unknown architecture 'unett'\n.*'unet'"),
        (model("Unet"), r"unknown architecture 'Unet'\n.*'unet'"),
        (model("res-unet"), r"unknown architecture 'res-unet'\n.*'resunet'"),
        (model("unet", "resnet43"), r"unknown encoder 'resnet43'\n.*'resnet34'"),
        (model("unet", hypercolum=True), r"'model.options.hypercolum'.*\n.*'hypercolumn'"),
        (model("unet", scse="yes"), "expected: true or false"),
        (model("unet", keep_resolution="pol"), "expected: one of none, pool, stem"),
        (model("unet", decoder_channels=[8]), "cannot be built: .*decoder_channels"),
        (model("unet", scse=True, decoder_channels=[64, 32, 16, 16, 8]), "must be >= 16"),
        (model("unet", "mobilenet_v2", keep_resolution="pool"), "has no first max-pool"),
        (model("salt-resnet", stem="half"), "expected: one of full, halving"),
        (model("salt-resnet"), "salt-resnet cannot stand on a TimmUniversalEncoder"),
        (model("xception-unet", "resnet34"), r"encoder 'resnet34'(.|\n)*model.encoder=xception"),
        (model("xception-unet", "xception", widths=[8, 8]), "cannot be built"),
        (model("compact", width=[1]), r"'model.options.width'.*\n.*'widths'"),
        (model("compact", channels=2), "unknown key 'model.options.channels'"),
        (model("compact", depths=[1]), r"compact with .*depths.* cannot be built"),
        (model("compact", widths="ab"), "model.options.widths = 'ab' does not suit"),
        (model("classic-unet", widths=[4, -8]), "cannot be built"),
        (model("resunet", dropout=1.5), "cannot be built: dropout probability"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_built_is_refused(config: ModelConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(config, 1)


@pytest.mark.parametrize("name", WHOLE)
def test_without_an_encoder_there_are_no_imagenet_weights(name: str) -> None:
    config = ModelConfig(architecture=name, weights="imagenet")
    with pytest.raises(ConfigError, match=rf"no ImageNet weights for '{name}'(.|\n)*weights=none"):
        build(config, 1)
    with torch.device("meta"):
        build(config, 1, pretrained=False)


# --- sizes


@pytest.mark.parametrize(
    ("config", "bad", "good"),
    [
        (model("fpn"), 48, 64),
        (model("classic-unet", widths=[4, 8]), 33, 34),
        (model("compact"), 33, 48),
        (model("resunet", widths=[4, 8]), 33, 34),
    ],
    ids=lambda value: value.architecture if isinstance(value, ModelConfig) else value,
)
def test_a_size_that_does_not_suit_is_refused(config: ModelConfig, bad: int, good: int) -> None:
    network = build(config, 1)
    check_size(network, 1, (good, good))
    with pytest.raises(ConfigError, match=rf"{bad}x{bad} pixels does not suit(.|\n)*size=64"):
        check_size(network, 1, (bad, bad))
    assert network.training


def test_a_network_with_further_heads_is_checked_by_its_logits() -> None:
    network = build(model("unet", deep_supervision=True, empty_head=True), 1)
    check_size(network, 1, (48, 48))
    assert network.training


def test_a_rectangle_is_checked_by_both_its_sides() -> None:
    network = build(model("fpn"), 1)
    check_size(network, 1, (64, 96))
    with pytest.raises(ConfigError, match=r"64x80 pixels does not(.|\n)*expected: square tiles"):
        check_size(network, 1, (64, 80))


def transformer(architecture: str, encoder: str) -> ModelConfig:
    return ModelConfig(architecture=architecture, encoder=encoder, weights="none")


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (transformer("unet", "tu-swin_tiny_patch4_window7_224"), "AssertionError: Input height"),
        (transformer("fpn", "tu-swin_tiny_patch4_window7_224"), "AssertionError: Input height"),
        (transformer("dpt", "tu-vit_tiny_patch16_224"), "AssertionError: Input height"),
        (transformer("unet", "tu-coatnet_0_rw_224"), "RuntimeError: "),
    ],
    ids=lambda value: value.encoder if isinstance(value, ModelConfig) else "",
)
def test_a_transformers_own_size_is_offered(config: ModelConfig, found: str) -> None:
    with torch.device("meta"):  # sizes alone: nothing is computed
        network = build(config, 3)
    with pytest.raises(ConfigError, match=rf"{found}(.|\n)*such as 224\n(.|\n)*input.size=224"):
        check_size(network, 3, (128, 128))
    check_size(network, 3, (224, 224))


def test_where_no_size_suits_another_network_is_offered() -> None:
    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise KeyError("lost")

    with pytest.raises(ConfigError, match=r"fails \(KeyError: 'lost'\)(.|\n)*encoder=resnet34"):
        check_size(Broken(), 1, (64, 64))


@pytest.mark.parametrize("how", ["stem", "pool"])
def test_a_transformer_cannot_keep_its_resolution(how: str) -> None:
    config = model("unet", "tu-maxvit_tiny_rw_224", keep_resolution=how)
    with pytest.raises(ConfigError, match=rf"'{how}' does not suit the encoder: it "):
        build(config, 1)
