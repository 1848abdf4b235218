"""The other networks of segmentation_models_pytorch, as they are."""

from __future__ import annotations

from typing import Any

import segmentation_models_pytorch as smp
from torch import nn

from kaggle_salt.config.schema import ModelConfig
from kaggle_salt.errors import ConfigError, SaltError
from kaggle_salt.learning.networks.encoders import check_encoder, weights_argument
from kaggle_salt.learning.networks.options import check_options
from kaggle_salt.learning.networks.pretrained import downloading

#: smp's architectures by the names that smp.create_model takes; ``unet`` is ours, on smp's parts.
ARCHITECTURES: dict[str, type[nn.Module]] = {
    name: architecture
    for name, architecture in smp.MODEL_ARCHITECTURES_MAPPING.items()
    if name != "unet"
}

#: Arguments of smp's constructors that other keys of the preset set.
RESERVED = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")


def build(model: ModelConfig, channels: int, *, imagenet: bool) -> nn.Module:
    """Build an smp network with one logit per pixel.

    Args:
        model: The preset's ``[model]`` table; its options are the constructor's arguments.
        channels: Input channels.
        imagenet: Download the encoder's ImageNet weights.

    Raises:
        ConfigError: Unknown encoder or option.
        NetworkError: The weights cannot be downloaded.
    """
    architecture = ARCHITECTURES[model.architecture]
    check_options(model.architecture, architecture, model.options, reserved=RESERVED)
    check_encoder(model.encoder)
    arguments: dict[str, Any] = {
        "encoder_name": model.encoder,
        "encoder_weights": weights_argument(model.encoder) if imagenet else None,
        "in_channels": channels,
        "classes": 1,
        **model.options,
    }
    try:
        with downloading(model.encoder):
            return architecture(**arguments)
    except SaltError:
        raise
    except Exception as error:  # what it trips over depends on the encoder
        raise ConfigError(
            f"{model.architecture} with encoder {model.encoder} cannot be built: {error}",
            expected="options and an encoder that fit together",
            next_step="--set model.encoder=resnet34, or see smp's documentation of the encoder",
        ) from error
