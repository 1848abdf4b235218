"""``salt presets show --layers``: what a preset's network is made of, listed and drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaggle_salt.config.file import load_config
from kaggle_salt.learning.channels import settle_channels
from kaggle_salt.learning.networks import build, count_parameters
from kaggle_salt.learning.networks.anatomy import Layer, list_blocks, list_layers
from kaggle_salt.presets import preset_path
from kaggle_salt.report.architecture import draw_architecture, require_suffix


@dataclass(frozen=True)
class NetworkReport:
    """The network of a preset.

    Args:
        preset: Its name.
        architecture: Name of the network.
        input_shape: Channels, height and width of what it is given.
        parameters: Number of its trainable parameters.
        layers: What it is made of; their parameters add up to all of them.
    """

    preset: str
    architecture: str
    input_shape: tuple[int, int, int]
    parameters: int
    layers: tuple[Layer, ...]


def describe_network(preset: str, drawing: Path | None = None) -> NetworkReport:
    """Build a preset's network, without weights, and look at it while it runs.

    Args:
        preset: Name of the preset.
        drawing: PNG or SVG to draw it to.

    Raises:
        ConfigError: There is no such preset, or the drawing is neither PNG nor SVG.
    """
    if drawing is not None:
        require_suffix(drawing)
    config = load_config(preset_path(preset))
    config = settle_channels(config, coloured=False)  # there are no tiles: as for Kaggle's
    channels, size = config.input.channel_count, config.input.size
    network = build(config.model, channels, pretrained=False)
    report = NetworkReport(
        preset=preset,
        architecture=config.model.architecture,
        input_shape=(channels, size, size),
        parameters=count_parameters(network),
        layers=tuple(list_layers(network, channels, (size, size))),
    )
    if drawing is not None:
        title = f"{preset}: {report.architecture}, {report.parameters / 1e6:.1f} M parameters"
        blocks = list_blocks(network, channels, (size, size))
        draw_architecture(blocks, drawing, channels=channels, shape=(size, size), title=title)
    return report
