from __future__ import annotations

import typing

import pytest
import torch

from kaggle_salt.competition.pixels import LUMINANCE
from kaggle_salt.config.schema import Channels, Config, InputConfig, ModelConfig
from kaggle_salt.config.stage import StageConfig
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.channels import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    channels_of,
    describe,
    settle_channels,
)

#: Two pixels: pure red, and one of three different colours.
RED, MIXED = (255, 0, 0), (10, 200, 30)
COLOURED = torch.tensor([[[RED, MIXED]]], dtype=torch.uint8)  # [1, 1, 2, 3]
GREY = torch.arange(12, dtype=torch.uint8).view(1, 3, 4) * 20


def normal(level: float, channel: int) -> float:
    return (level / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]


def test_colours_are_normalised_one_by_one() -> None:
    seen = channels_of(COLOURED, "rgb")
    assert seen.shape == (1, 3, 1, 2)
    for channel in range(3):
        expected = [normal(RED[channel], channel), normal(MIXED[channel], channel)]
        assert seen[0, channel, 0].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_grey_of_a_coloured_tile_is_its_luminance() -> None:
    assert sum(LUMINANCE) == pytest.approx(1)
    seen = channels_of(COLOURED, "grey")
    luminance = [0.299 * 255, 0.299 * 10 + 0.587 * 200 + 0.114 * 30]
    mean, std = sum(IMAGENET_MEAN) / 3, sum(IMAGENET_STD) / 3
    expected = [(level / 255 - mean) / std for level in luminance]
    assert seen.flatten().tolist() == pytest.approx(expected, abs=1e-5)
    thrice = channels_of(COLOURED, "grey3")
    for channel in range(3):
        expected = [normal(level, channel) for level in luminance]
        assert thrice[0, channel, 0].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_grey_tile_in_colour_is_grey_three_times() -> None:
    assert torch.equal(channels_of(GREY, "rgb"), channels_of(GREY, "grey3"))
    as_colours = GREY[..., None].expand(-1, -1, -1, 3)
    assert torch.equal(channels_of(as_colours, "rgb"), channels_of(GREY, "rgb"))


@pytest.mark.parametrize("channels", ["grey", "grey3", "grey+depth"])
def test_equal_colours_are_the_grey_they_make(channels: Channels) -> None:
    as_colours = GREY[..., None].expand(-1, -1, -1, 3)
    torch.testing.assert_close(channels_of(as_colours, channels), channels_of(GREY, channels))


def test_depth_falls_from_the_tiles_top_to_its_bottom() -> None:
    depth = channels_of(GREY, "grey+depth")[0, 1]
    assert depth.tolist() == [[0.0] * 4, [0.5] * 4, [1.0] * 4]


def config(architecture: str, channels: Channels = "auto") -> Config:
    return Config(
        input=InputConfig(channels=channels),
        model=ModelConfig(architecture=architecture),
        stage=(StageConfig(name="bce", epochs=1),),
    )


@pytest.mark.parametrize(
    ("architecture", "coloured", "channels"),
    [
        ("compact", False, "grey"),
        ("compact", True, "rgb"),
        ("unet", False, "grey3"),
        ("fpn", False, "grey3"),
        ("unet", True, "rgb"),
    ],
)
def test_auto_goes_by_the_tiles_and_the_network(
    architecture: str, coloured: bool, channels: Channels
) -> None:
    settled = settle_channels(config(architecture), coloured=coloured)
    assert settled == config(architecture, channels)
    assert settled.input.channel_count == (1 if channels == "grey" else 3)


@pytest.mark.parametrize("coloured", [False, True])
def test_what_is_given_stays(coloured: bool) -> None:
    given = config("unet", "grey")
    assert settle_channels(given, coloured=coloured) is given


def test_auto_has_to_be_settled() -> None:
    with pytest.raises(ConfigError, match="'auto' is not settled"):
        channels_of(GREY, "auto")
    with pytest.raises(ValueError, match="'auto' is not settled"):
        _ = InputConfig(channels="auto").channel_count


def test_every_kind_of_channels_is_described() -> None:
    texts = [describe(channels) for channels in typing.get_args(Channels)]
    assert len({*texts}) == 5
    assert "depths.csv is not read" in describe("grey+depth")
