"""From configuration to network: every one maps ``[B, C, S, S]`` to logits ``[B, 1, S, S]``."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from torch import Tensor, nn

from kaggle_salt.config.schema import ModelConfig
from kaggle_salt.errors import ConfigError, SaltError, nearest, reason
from kaggle_salt.learning.networks import library
from kaggle_salt.learning.networks.classic_unet import ClassicUnet
from kaggle_salt.learning.networks.compact import Compact
from kaggle_salt.learning.networks.encoders import make_encoder
from kaggle_salt.learning.networks.options import check_options
from kaggle_salt.learning.networks.pretrained import (
    apply_weights,
    fill_encoder,
    is_whole_network,
    read_weights,
)
from kaggle_salt.learning.networks.resunet import ResUnet
from kaggle_salt.learning.networks.salt_resnet import SaltResnet
from kaggle_salt.learning.networks.unet import SmpUnet
from kaggle_salt.learning.networks.xception_unet import XceptionUnet

#: Networks made of nothing but their options.
WHOLE: dict[str, type[nn.Module]] = {
    "classic-unet": ClassicUnet,
    "compact": Compact,
    "resunet": ResUnet,
}

#: Networks of ours that stand on the preset's encoder.
ON_ENCODER: dict[str, type[nn.Module]] = {
    "salt-resnet": SaltResnet,
    "unet": SmpUnet,
    "xception-unet": XceptionUnet,
}

#: Sides of a square, in pixels, that are tried when a network does not take the one asked for.
SIZES = range(32, 513, 32)


def build(model: ModelConfig, channels: int, *, pretrained: bool = True) -> nn.Module:
    """Build a network.

    Args:
        model: The preset's ``[model]`` table.
        channels: Input channels.
        pretrained: Fetch the weights that ``model.weights`` names. Pass False when a
            checkpoint will be loaded anyway: nothing is downloaded then.

    Returns:
        A network from float ``[B, channels, S, S]`` to logits float ``[B, 1, S, S]``; while it
        trains, to :class:`kaggle_salt.learning.outputs.Outputs` if it has further heads.

    Raises:
        ConfigError: Unknown architecture, encoder or option; weights that do not fit.
        NetworkError: Pretrained weights cannot be downloaded.
    """
    known = [*WHOLE, *ON_ENCODER, *library.ARCHITECTURES]
    if model.architecture not in known:
        raise ConfigError(
            f"unknown architecture '{model.architecture}'",
            expected=nearest(model.architecture, known),
            next_step="--set model.architecture=NAME",
        )
    if not pretrained or model.weights in ("none", "imagenet"):
        return _build_bare(model, channels, imagenet=pretrained and model.weights == "imagenet")
    tensors = read_weights(Path(model.weights))
    if stands_on_encoder(model) and not is_whole_network(tensors):
        return _build_bare(model, channels, imagenet=False, encoder_weights=tensors)
    network = _build_bare(model, channels, imagenet=False)
    apply_weights(network, tensors, model.weights)
    return network


def _build_bare(
    model: ModelConfig,
    channels: int,
    *,
    imagenet: bool,
    encoder_weights: dict[str, Tensor] | None = None,
) -> nn.Module:
    """A network at random, but for an encoder that is pretrained if it is to be."""
    if model.architecture in WHOLE:
        return _build_whole(model, channels, imagenet=imagenet)
    if model.architecture in ON_ENCODER:
        return _build_on_encoder(model, channels, imagenet, encoder_weights)
    network = library.build(model, channels, imagenet=imagenet)
    if encoder_weights is not None:
        fill_encoder(network.get_submodule("encoder"), encoder_weights, model.weights)
    return network


def _build_whole(model: ModelConfig, channels: int, *, imagenet: bool) -> nn.Module:
    if imagenet:
        raise ConfigError(
            f"there are no ImageNet weights for '{model.architecture}'",
            expected="model.weights = none, or a file",
            next_step="--set model.weights=none",
        )
    architecture = WHOLE[model.architecture]
    check_options(model.architecture, architecture, model.options, reserved=("channels",))
    return _construct(architecture, model, channels=channels)


def _build_on_encoder(
    model: ModelConfig,
    channels: int,
    imagenet: bool,
    encoder_weights: dict[str, Tensor] | None,
) -> nn.Module:
    if model.architecture == "xception-unet" and model.encoder != "xception":
        raise ConfigError(
            f"xception-unet does not stand on the encoder '{model.encoder}'",
            expected="model.encoder = xception",
            next_step="--set model.encoder=xception",
        )
    architecture = ON_ENCODER[model.architecture]
    check_options(model.architecture, architecture, model.options, reserved=("encoder",))
    encoder = make_encoder(model.encoder, channels, imagenet=imagenet)
    if encoder_weights is not None:  # now: a network may replace layers of its encoder
        fill_encoder(encoder, encoder_weights, model.weights)
    return _construct(architecture, model, encoder=encoder)


def _construct(architecture: type[nn.Module], model: ModelConfig, **given: object) -> nn.Module:
    try:
        return architecture(**given, **model.options)
    except SaltError:
        raise
    except Exception as error:  # torch's layers raise whatever they trip over
        raise ConfigError(
            f"{model.architecture} with the options {model.options} cannot be built: {error}",
            expected="options that fit together, as in the presets",
            next_step="leave model.options away, or see the architecture's docstring",
        ) from error


def count_parameters(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def stands_on_encoder(model: ModelConfig) -> bool:
    """Whether the architecture stands on ``model.encoder``, and so may have ImageNet weights."""
    return model.architecture not in WHOLE


def check_size(network: nn.Module, channels: int, shape: tuple[int, int]) -> None:
    """Refuse an input size that the network does not give back.

    Args:
        network: Left in the mode (train or eval) it came in.
        channels: Input channels.
        shape: (height, width) of the network's input, in pixels.

    Raises:
        ConfigError: The network cannot take that size, or its output has another; with a size
            that suits, if there is one.
    """
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    found = _fault_of_size(network, channels, shape, device)
    if not found:
        return
    height, width = shape
    side = min(shape)

    def suits(square: int) -> bool:
        return not _fault_of_size(network, channels, (square, square), torch.device("meta"))

    nearest_first = sorted(SIZES, key=lambda square: (square < side, square))
    if height != width and suits(side):  # no other size would help
        expected, next_step = "square tiles", "--set model.encoder=resnet34, or --preset quick"
    elif near := list(itertools.islice(filter(suits, nearest_first), 3)):
        expected = f"a size that every part of it divides, such as {' or '.join(map(str, near))}"
        next_step = f"--set input.size={near[0]}, and mind the stages' shrink"
    else:
        expected = "a network for tiles of any size"
        next_step = "--set model.encoder=resnet34, or --preset quick"
    raise ConfigError(
        f"an input of {height}x{width} pixels does not suit the network: it {found}",
        expected=expected,
        next_step=next_step,
    )


def _fault_of_size(
    network: nn.Module, channels: int, shape: tuple[int, int], device: torch.device
) -> str:
    """What is wrong with the logits of an input of this size; empty if nothing is.

    On the device ``meta`` sizes alone are looked at, and nothing is computed.
    """
    was_training = network.training
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    if device.type == "meta":
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
    network.eval()
    try:
        with torch.inference_mode():
            inputs = torch.zeros(1, channels, *shape, device=device)
            height, width = torch.func.functional_call(network, tensors, (inputs,)).shape[-2:]
    except Exception as error:  # transformers assert, and others raise whatever they trip over
        return f"fails ({reason(error)})"
    finally:
        network.train(was_training)
    return "" if (height, width) == shape else f"gives back {height}x{width}"
