"""What a network sees of a tile: its grey, its colours, or its grey and the depth in it."""

from __future__ import annotations

import torch
from torch import Tensor

from kaggle_salt.competition.pixels import LUMINANCE
from kaggle_salt.config.schema import Channels, Config
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks import stands_on_encoder

#: Mean and standard deviation of ImageNet's pixels, by channel; their means serve grey input.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_MADE_OF: dict[Channels, str] = {
    "grey": "the grey level, about zero mean and unit variance",
    "grey3": "the grey level three times, normalised as ImageNet's channels are",
    "grey+depth": "the grey level, the row's place in the tile from 0 at its top to 1 at its "
    "bottom (of the rows alone: depths.csv is not read), and their product",
    "rgb": "red, green and blue, normalised as ImageNet's are; of a grey tile three times grey",
}


def describe(channels: Channels) -> str:
    """What the channels are made of, in a line."""
    if channels == "auto":
        return "rgb of coloured tiles; of grey ones grey3 for an encoder, else grey"
    return _MADE_OF[channels]


def settle_channels(config: Config, *, coloured: bool) -> Config:
    """Put what ``input.channels = "auto"`` stands for in its place.

    Coloured tiles are seen in colour. Of grey ones a network that stands on an encoder sees the
    grey level three times, because pretrained encoders have three channels; others see it once.

    Args:
        config: A configuration.
        coloured: Whether the tiles are ``[N, H, W, 3]``.

    Returns:
        The same with one of the other values, or the configuration itself if it has one.
    """
    if config.input.channels != "auto":
        return config
    grey: Channels = "grey3" if stands_on_encoder(config.model) else "grey"
    settled = config.input.model_copy(update={"channels": "rgb" if coloured else grey})
    return config.model_copy(update={"input": settled})


def channels_of(tiles: Tensor, channels: Channels) -> Tensor:
    """Normalised channels of tiles, at the tiles' own size.

    Args:
        tiles: uint8 ``[B, H, W]``, or in colour ``[B, H, W, 3]``.
        channels: What to make of them.

    Returns:
        float32 ``[B, C, H, W]``. With ``grey+depth`` there are two: the product of a row's grey
        and depth is taken once they are framed.

    Raises:
        ConfigError: The channels are ``auto``, which has to be settled first.
    """
    if channels == "auto":
        raise ConfigError(
            "input.channels = 'auto' is not settled",
            expected="one of grey, grey3, grey+depth, rgb, chosen from the tiles",
            next_step="--set input.channels=grey, or settle_channels in a script",
        )
    if channels == "rgb":
        return _like_imagenet(_colours(tiles))
    grey = _grey(tiles)
    if channels == "grey3":
        return _like_imagenet(grey.expand(-1, 3, -1, -1))
    normalised = (grey - sum(IMAGENET_MEAN) / 3) / (sum(IMAGENET_STD) / 3)
    if channels == "grey":
        return normalised
    depth = torch.linspace(0, 1, grey.shape[-2], device=tiles.device)
    return torch.cat([normalised, depth[:, None].expand_as(grey)], dim=1)  # [B, 2, H, W]


def _colours(tiles: Tensor) -> Tensor:
    """Float32 ``[B, 3, H, W]`` in [0, 1]; of grey tiles the grey three times."""
    if tiles.ndim == 3:
        return (tiles[:, None].float() / 255).expand(-1, 3, -1, -1)
    return tiles.permute(0, 3, 1, 2).float() / 255


def _grey(tiles: Tensor) -> Tensor:
    """Float32 ``[B, 1, H, W]`` in [0, 1]; of coloured tiles the luminance, not rounded."""
    if tiles.ndim == 3:
        return tiles[:, None].float() / 255
    weighed = [colour * weight for colour, weight in zip(tiles.unbind(-1), LUMINANCE, strict=True)]
    return torch.stack(weighed).sum(dim=0)[:, None] / 255


def _like_imagenet(colours: Tensor) -> Tensor:
    # number by number: a tensor made of them here would have to wait for a GPU
    statistics = zip(colours.unbind(dim=1), IMAGENET_MEAN, IMAGENET_STD, strict=True)
    return torch.stack([(colour - mean) / std for colour, mean, std in statistics], dim=1)
