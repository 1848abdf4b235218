"""From configuration to network. Every network maps ``[B, C, S, S]`` to logits ``[B, 1, S, S]``."""

from __future__ import annotations

from torch import nn

from kaggle_salt.config import ModelConfig
from kaggle_salt.errors import ConfigError, nearest
from kaggle_salt.learning.networks import library
from kaggle_salt.learning.networks.classic_unet import ClassicUnet
from kaggle_salt.learning.networks.compact import Compact
from kaggle_salt.learning.networks.options import check_options
from kaggle_salt.learning.networks.pretrained import load_weights_file

#: Networks of our own; every other name is looked up in segmentation_models_pytorch.
OWN: dict[str, type[nn.Module]] = {"classic-unet": ClassicUnet, "compact": Compact}


def build(model: ModelConfig, channels: int, *, pretrained: bool = True) -> nn.Module:
    """Build a network.

    Args:
        model: The preset's ``[model]`` table.
        channels: Input channels.
        pretrained: Fetch the weights that ``model.weights`` names. Pass False when a
            checkpoint will be loaded anyway: nothing is downloaded then.

    Returns:
        A network from float ``[B, channels, S, S]`` to logits float ``[B, 1, S, S]``.

    Raises:
        ConfigError: Unknown architecture, encoder or option; weights that do not fit.
        NetworkError: Pretrained weights cannot be downloaded.
    """
    weights = model.weights if pretrained else "none"
    if model.architecture in OWN:
        network = _build_own(model, channels, weights)
    elif model.architecture in library.ARCHITECTURES:
        network = library.build(model, channels, imagenet=weights == "imagenet")
    else:
        known = [*OWN, *library.ARCHITECTURES]
        raise ConfigError(
            f"unknown architecture '{model.architecture}'",
            expected=nearest(model.architecture, known),
        )
    if weights not in ("none", "imagenet"):
        load_weights_file(network, weights)
    return network


def _build_own(model: ModelConfig, channels: int, weights: str) -> nn.Module:
    if weights == "imagenet":
        raise ConfigError(
            f"there are no ImageNet weights for '{model.architecture}'",
            expected="model.weights = none, or a file",
            next_step="--set model.weights=none",
        )
    architecture = OWN[model.architecture]
    check_options(model.architecture, architecture, model.options, reserved=("channels",))
    return architecture(channels=channels, **model.options)
