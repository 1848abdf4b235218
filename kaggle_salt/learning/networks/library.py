"""Networks of segmentation_models_pytorch, with a hypercolumn head where one is asked for."""

from __future__ import annotations

import difflib
from typing import Any

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.encoders import encoders as native_encoders
from torch import Tensor, nn

from kaggle_salt.config import ModelConfig
from kaggle_salt.errors import ConfigError, nearest
from kaggle_salt.learning.networks.blocks import ConvNormAct
from kaggle_salt.learning.networks.options import check_options
from kaggle_salt.learning.networks.pretrained import downloading

#: smp's architectures by the names that smp.create_model takes.
ARCHITECTURES: dict[str, type[nn.Module]] = smp.MODEL_ARCHITECTURES_MAPPING

#: Arguments of smp's constructors that other keys of the preset set.
RESERVED = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")


def build(model: ModelConfig, channels: int, *, imagenet: bool) -> nn.Module:
    """Build an smp network with one logit per pixel.

    Args:
        model: The preset's ``[model]`` table; its options are the constructor's arguments, and
            for ``unet`` also ``hypercolumn = true``.
        channels: Input channels.
        imagenet: Download the encoder's ImageNet weights.

    Raises:
        ConfigError: Unknown encoder or option.
        NetworkError: The weights cannot be downloaded.
    """
    architecture = ARCHITECTURES[model.architecture]
    options = dict(model.options)
    extra = ("hypercolumn",) if model.architecture == "unet" else ()
    hypercolumn = bool(extra) and options.pop("hypercolumn", False)
    check_options(model.architecture, architecture, options, reserved=RESERVED, also=extra)
    _check_encoder(model.encoder)
    arguments: dict[str, Any] = {
        "encoder_name": model.encoder,
        "encoder_weights": _weights_argument(model.encoder) if imagenet else None,
        "in_channels": channels,
        "classes": 1,
        **options,
    }
    with downloading(model.encoder):
        network = _construct(architecture, arguments, model)
    return HypercolumnUnet(network) if hypercolumn else network


def _construct(
    architecture: type[nn.Module], arguments: dict[str, Any], model: ModelConfig
) -> nn.Module:
    try:
        return architecture(**arguments)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(
            f"{model.architecture} with encoder {model.encoder} cannot be built: {error}",
            expected="options and an encoder that fit together",
            next_step="--set model.encoder=resnet34, or see smp's documentation of the encoder",
        ) from error


def _weights_argument(encoder: str) -> str | bool:
    """What smp wants for ImageNet weights: a name for its own encoders, True for timm's."""
    return True if encoder.startswith("tu-") else "imagenet"


def _check_encoder(encoder: str) -> None:
    if encoder.startswith("tu-"):
        import timm  # here: listing timm's models costs a second that native encoders needn't pay

        name = encoder.removeprefix("tu-").split(".")[0]
        if name not in timm.list_models():
            close = difflib.get_close_matches(name, timm.list_models(), n=3)
            raise ConfigError(
                f"unknown encoder '{encoder}'",
                expected=" or ".join(f"tu-{match}" for match in close) or "a model of timm",
                next_step="--set model.encoder=NAME",
            )
    elif encoder not in native_encoders:
        raise ConfigError(
            f"unknown encoder '{encoder}'",
            expected=nearest(encoder, native_encoders),
            next_step="--set model.encoder=NAME, or tu-NAME for an encoder of timm",
        )


class HypercolumnUnet(nn.Module):
    """smp's U-Net with a head that sees every decoder stage.

    Each decoder output is brought to full size; all are concatenated, thinned by dropout, and
    read by a 3x3 and a 1x1 convolution. Names of encoder and decoder weights stay smp's.

    Source: Hariharan et al., "Hypercolumns", CVPR 2015.
    """

    def __init__(self, unet: nn.Module, hidden: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder: nn.Module = unet.get_submodule("encoder")
        self.decoder: nn.Module = unet.get_submodule("decoder")
        blocks = self.decoder.get_submodule("blocks")
        channels = sum(_output_channels(block) for block in blocks.children())
        self.head = nn.Sequential(
            nn.Dropout2d(dropout), ConvNormAct(channels, hidden), nn.Conv2d(hidden, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        features = self.encoder(x)
        sizes = [feature.shape[-2:] for feature in features[-2::-1]]
        skips = [*features[-2:0:-1], None]
        x = self.decoder.get_submodule("center")(features[-1])
        outputs = []
        blocks = self.decoder.get_submodule("blocks").children()
        for block, (height, width), skip in zip(blocks, sizes, skips, strict=True):
            x = block(x, height, width, skip_connection=skip)
            outputs.append(x)
        full = outputs[-1].shape[-2:]
        column = [F.interpolate(y, size=full, mode="bilinear") for y in outputs[:-1]]
        logits: Tensor = self.head(torch.cat([*column, outputs[-1]], dim=1))
        return logits  # [B, 1, S, S]


def _output_channels(block: nn.Module) -> int:
    convolutions = [m for m in block.get_submodule("conv2").modules() if isinstance(m, nn.Conv2d)]
    return convolutions[-1].out_channels
