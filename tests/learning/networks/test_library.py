from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from kaggle_salt.config.schema import ModelConfig
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks import build, library
from tests.learning.makers import push_down

ENCODER = "tu-test_resnet"  # timm's own tiny one: a hundred thousand parameters


def model(architecture: str = "fpn", encoder: str = ENCODER, **options: Any) -> ModelConfig:
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
    "unetplusplus", "upernet",
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


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("fpn", {"decoder_segmentation_channels": 64}),
        ("unetplusplus", {"decoder_attention_type": "scse"}),
        ("linknet", {"encoder_depth": 4}),
    ],
)
def test_options_change_the_network(architecture: str, options: dict[str, Any]) -> None:
    assert size(build(model(architecture, **options), 1)) != size(build(model(architecture), 1))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (model(encoder="resnet43"), r"unknown encoder 'resnet43'\n.*'resnet34'"),
        (model("unetplusplus", decoder_atention_type="scse"), r".*\n.*'decoder_attention_type'"),
        (model(decoder_attention_type="scse"), "'model.options.decoder_attention_type'"),
        (model(hypercolumn=True), "'model.options.hypercolumn' for architecture 'fpn'"),
        (model(classes=2), "unknown key 'model.options.classes'"),
        (model(activation="sigmoid"), "unknown key 'model.options.activation'"),
        (model(decoder_dropout="high"), "expected: a number"),
        (model("unetplusplus", decoder_attention_type="scsf"), "cannot be built: .*scsf"),
        (model("unetplusplus", decoder_channels=[8]), "cannot be built: .*decoder_channels"),
        (model(encoder_depth=9), "cannot be built"),
        (model(encoder="tu-test_vit"), "fpn with encoder tu-test_vit cannot be built: Unsupp"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_smp_cannot_build_is_refused(config: ModelConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(config, 1)


def test_an_encoder_that_has_no_imagenet_weights_is_refused() -> None:
    config = ModelConfig(architecture="fpn", encoder="dpn68b", weights="imagenet")
    with pytest.raises(ConfigError, match="Wrong pretrained weights `imagenet`"):
        build(config, 3)
