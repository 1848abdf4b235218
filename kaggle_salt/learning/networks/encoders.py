"""Encoders: those of segmentation_models_pytorch and, by ``tu-`` names, those of timm."""

from __future__ import annotations

import difflib
from typing import Literal

import torch
from segmentation_models_pytorch.encoders import encoders as native_encoders
from segmentation_models_pytorch.encoders import get_encoder
from torch import nn

from kaggle_salt.errors import ConfigError, SaltError, nearest, reason
from kaggle_salt.learning.networks.pretrained import downloading

#: How to keep an encoder's resolution: as it is; without its first max-pool; without the
#: stride of its first convolution.
KeepResolution = Literal["none", "pool", "stem"]


def make_encoder(name: str, channels: int, *, imagenet: bool) -> nn.Module:
    """Make an encoder of five stages.

    Args:
        name: An smp encoder, or ``tu-`` and the name of a timm model.
        channels: Input channels. ImageNet's weights are summed over theirs for one channel.
        imagenet: Download ImageNet weights.

    Returns:
        A network from float ``[B, channels, S, S]`` to six maps, the first of which is the
        input; each further one is half as large as the one before.

    Raises:
        ConfigError: Unknown encoder, or one that is no good for segmentation.
        NetworkError: The weights cannot be downloaded.
    """
    check_encoder(name)
    weights = weights_argument(name) if imagenet else None
    try:
        with downloading(name):
            encoder: nn.Module = get_encoder(name, in_channels=channels, weights=weights)
    except SaltError:
        raise
    except Exception as error:  # what it trips over depends on the encoder
        raise ConfigError(
            f"the encoder {name} cannot be built: {error}",
            expected="an encoder of five stages, with ImageNet weights where they are asked for",
            next_step="--set model.encoder=resnet34, or see smp's documentation of the encoder",
        ) from error
    return encoder


def check_encoder(name: str) -> None:
    """Refuse an encoder that neither smp nor timm knows.

    Raises:
        ConfigError: With the nearest right name.
    """
    if name.startswith("tu-"):
        import timm  # here: listing timm's models costs a second that native encoders needn't pay

        bare = name.removeprefix("tu-").split(".")[0]
        if bare not in timm.list_models():
            close = difflib.get_close_matches(bare, timm.list_models(), n=3)
            raise ConfigError(
                f"unknown encoder '{name}'",
                expected=" or ".join(f"tu-{match}" for match in close) or "a model of timm",
                next_step="--set model.encoder=NAME",
            )
    elif name not in native_encoders:
        raise ConfigError(
            f"unknown encoder '{name}'",
            expected=nearest(name, native_encoders),
            next_step="--set model.encoder=NAME, or tu-NAME for an encoder of timm",
        )


def weights_argument(name: str) -> str | bool:
    """What smp wants for ImageNet weights: a name for its own encoders, True for timm's."""
    return True if name.startswith("tu-") else "imagenet"


def stage_channels(encoder: nn.Module) -> list[int]:
    """Channels of each map that the encoder gives, the input's first."""
    return list(encoder.out_channels)  # type: ignore[arg-type]


def halve_once_less(encoder: nn.Module, how: KeepResolution) -> None:
    """Make an encoder halve the size once less, in place; all its weights stay.

    Args:
        encoder: As from :func:`make_encoder`.
        how: ``pool``: the first max-pool does nothing. ``stem``: the first convolution moves
            by single pixels. Either makes every later map twice as large, and four times as
            expensive.

    Raises:
        ConfigError: The encoder has no such layer, or fails when it is changed.
    """
    if how == "none":
        return
    if how == "pool":
        _drop_first_max_pool(encoder)
    else:
        _unstride_first_convolution(encoder)
    _check_resolution(encoder, how)


def _drop_first_max_pool(encoder: nn.Module) -> None:
    for name, module in encoder.named_modules():
        if isinstance(module, nn.MaxPool2d):
            parent, _, child = name.rpartition(".")
            setattr(encoder.get_submodule(parent), child, nn.Identity())
            return
    raise _cannot_keep("pool", "has no first max-pool")


def _unstride_first_convolution(encoder: nn.Module) -> None:
    first = next((m for m in encoder.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None or first.stride != (2, 2):
        raise _cannot_keep("stem", "has no first convolution of stride 2")
    first.stride = (1, 1)


def _check_resolution(encoder: nn.Module, how: KeepResolution) -> None:
    """See whether the last map of 64 px has 4, not 2: some encoders' blocks don't fit any more."""
    was_training = encoder.training
    encoder.eval()
    try:
        with torch.inference_mode():
            last = encoder(torch.zeros(1, stage_channels(encoder)[0], 64, 64))[-1]
    except Exception as error:  # a transformer asserts its size
        raise _cannot_keep(how, f"fails then ({reason(error)})") from error
    if last.shape[-2:] != (4, 4):
        raise _cannot_keep(how, f"makes {last.shape[-1]} px of 64 then, not 4")
    encoder.train(was_training)


def _cannot_keep(how: KeepResolution, found: str) -> ConfigError:
    return ConfigError(
        f"model.options.keep_resolution = {how!r} does not suit the encoder: it {found}",
        expected="an encoder that begins like a ResNet: a convolution of stride 2, a max-pool",
        next_step="--set model.options.keep_resolution=none, or --set model.encoder=resnet34",
    )
