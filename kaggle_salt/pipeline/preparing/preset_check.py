"""``salt presets check``: whether a configuration can be trained, and what it would train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaggle_salt.config.file import load_config
from kaggle_salt.config.schema import Config
from kaggle_salt.config.stage import StageConfig
from kaggle_salt.learning.channels import describe, settle_channels
from kaggle_salt.learning.fold import check_trainable
from kaggle_salt.learning.networks import count_parameters, stands_on_encoder
from kaggle_salt.presets import preset_path


@dataclass(frozen=True)
class StageReport:
    """One stage in a line; ``size`` is the side of what the network sees, in pixels."""

    name: str
    epochs: int
    size: int
    tiles: str
    loss: str
    optimizer: str
    lr: float
    schedule: str
    keep: str


@dataclass(frozen=True)
class PresetReport:
    """What a valid configuration describes.

    Args:
        source: The file or the preset.
        description: Its own description.
        architecture: Name of the network.
        parameters: Number of trainable parameters.
        weights: What the network starts from: imagenet, none, or a file.
        tile: Side of the tiles it was checked for, in pixels.
        size: Side of the network's input, in pixels.
        framing: How a tile becomes as large: pad or resize.
        channels: What the network sees of it.
        made_of: What these channels are, in a line.
        augmentation: What is done to a training tile, in a few words.
        stages: In the order they are trained.
        needs: What has to be there when it is trained.
    """

    source: str
    description: str
    architecture: str
    parameters: int
    weights: str
    tile: int
    size: int
    framing: str
    channels: str
    made_of: str
    augmentation: str
    stages: tuple[StageReport, ...]
    needs: tuple[str, ...]


def check_preset(source: str, tile: int) -> PresetReport:
    """Validate a configuration down to the network, offline.

    Args:
        source: A TOML file, or the name of a preset (which has no suffix).
        tile: Side of the tiles that would be trained on, in pixels.

    Raises:
        ConfigError: Unknown preset, key or value; a network that cannot be built; a size that
            does not suit it; an unknown augmentation; a weights file that does not fit.
    """
    config = load_config(Path(source) if Path(source).suffix else preset_path(source))
    asked = config.input.channels
    config = settle_channels(config, coloured=False)  # there are no tiles: as for Kaggle's
    model = config.model
    downloads = model.weights == "imagenet" and stands_on_encoder(model)
    network = check_trainable(config, (tile, tile), pretrained=not downloads)
    return PresetReport(
        source=source,
        description=config.description,
        architecture=model.architecture,
        parameters=count_parameters(network),
        weights=model.weights,
        tile=tile,
        size=config.input.size,
        framing=config.input.framing,
        channels=asked,
        made_of=describe(asked),
        augmentation=config.augment.words,
        stages=tuple(_stage_report(stage, config) for stage in config.stage),
        needs=tuple(_needs(config)),
    )


def _stage_report(stage: StageConfig, config: Config) -> StageReport:
    return StageReport(
        name=stage.name,
        epochs=stage.epochs,
        size=config.input.size // stage.shrink,
        tiles="all, without masks" if config.pretrains else stage.tiles,
        loss=config.pretext.name if config.pretrains else stage.loss.name,
        optimizer=stage.optimizer.name,
        lr=stage.optimizer.lr,
        schedule=stage.schedule.name,
        keep=stage.keep,
    )


def _needs(config: Config) -> list[str]:
    needs = []
    if config.model.weights == "imagenet":
        needs.append("the encoder's ImageNet weights, which salt train downloads")
    if config.pseudo_stages and not config.pseudo.file:
        needs.append("pseudo-labels: salt train --pseudo FILE")
    if any(stage.consistency.weight for stage in config.stage):
        needs.append("the test tiles, to learn from without masks")
    return needs
