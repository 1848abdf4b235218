"""One fold from tiles to files: weights, out-of-fold probabilities, their score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kaggle_salt import predictions
from kaggle_salt.competition.decision import DEFAULT_LEVEL
from kaggle_salt.competition.metric import score
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, TrainingError
from kaggle_salt.learning.augment import Augmenter
from kaggle_salt.learning.batches import TrainingTiles
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import predict
from kaggle_salt.learning.keeping import save_weights, summary_of
from kaggle_salt.learning.mishaps import enough_memory, smaller_batches
from kaggle_salt.learning.networks import build, check_size, count_parameters
from kaggle_salt.learning.networks.pretrained import apply_weights, read_weights
from kaggle_salt.learning.training import FoldTraining, Watcher, fold_seed
from kaggle_salt.runs import FoldFolder, train_anew
from kaggle_salt.storage.files import files_hash, write_json


@dataclass(frozen=True)
class FoldSummary:
    """What ``fold.json`` says of a finished fold.

    Args:
        fold: Number of the fold.
        score: Competition score of the out-of-fold probabilities at threshold .5, in [0, 1].
        tiles: Number of validation tiles.
        epochs: Epochs trained.
        seconds: Training time, validation included, over all sittings.
        parameters: Number of trainable parameters.
        weights_hash: SHA-256 of the weights file.
        skipped: Steps skipped because their gradients overflowed float16.
    """

    fold: int
    score: float
    tiles: int
    epochs: int
    seconds: float
    parameters: int
    weights_hash: str
    skipped: int = 0


def check_trainable(
    config: Config,
    tile_shape: tuple[int, int],
    *,
    pretrained: bool,
    tiles: int | None = None,
    more_tiles: str = "train on more tiles",
) -> nn.Module:
    """Build what a fold needs, so that a fault shows before a file is touched.

    Args:
        config: The run's configuration.
        tile_shape: (height, width) of a tile, in pixels.
        pretrained: Whether the weights that ``model.weights`` names will be asked for.
        tiles: How many there are to train on, if that is known already.
        more_tiles: How to get more of them, for the message.

    Returns:
        The network.

    Raises:
        ConfigError: Network, weights, augmentation, input or batch size cannot be used.
        NetworkError: Pretrained weights cannot be downloaded.
    """
    Augmenter(config.augment.pipeline, config.augment.add)
    shrinks = {1, *(stage.shrink for stage in config.stage)}
    shapes = {Framing(tile_shape, config.input, shrink).network_shape for shrink in shrinks}
    channels, batch = config.input.channel_count, config.training.batch_size
    network = build(config.model, channels, pretrained=pretrained)
    for shape in sorted(shapes):
        check_size(network, channels, shape)
    alone = tiles == 1  # whatever the size of a batch
    if alone or batch == 1:
        largest_shrink = max(stage.shrink for stage in config.stage)
        smallest = Framing(tile_shape, config.input, largest_shrink).network_shape
        _check_batch_of_one(network, channels, smallest, more_tiles if alone else None)
    return network


def _check_batch_of_one(
    network: nn.Module, channels: int, shape: tuple[int, int], more_tiles: str | None
) -> None:
    """Refuse batches of one tile where batch norm would have a single value to take a mean of.

    Where that tile is the only one, and no other batch size can help, ``more_tiles`` is advised.
    """
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    was_training = network.training
    network.train()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            network(torch.zeros(1, channels, *shape))
    except ValueError as error:  # torch's batch norm
        smaller, larger = "--set training.batch_size=2", f"--set input.size={2 * max(shape)}"
        raise ConfigError(
            f"batch norm cannot learn from one tile a batch at {shape[0]}x{shape[1]} pixels: its "
            "maps come down to a single value",
            expected="more tiles to train on" if more_tiles else "two tiles, or a larger input",
            next_step=more_tiles or f"{smaller}, or {larger}",
        ) from error
    finally:
        network.load_state_dict(state)
        network.train(was_training)


def train_fold(
    config: Config,
    tiles: TrainingTiles,
    ids: Sequence[str],
    folder: FoldFolder,
    compute: Compute,
    watcher: Watcher,
) -> FoldSummary:
    """Train a fold (or go on with it) and write everything it leaves behind.

    Args:
        config: The run's configuration.
        tiles: All tiles with masks, and the fold's rows.
        ids: Id of each row of ``tiles``.
        folder: ``runs/<run>/fold<k>``; a checkpoint in it is continued.
        compute: Device and number format.
        watcher: Told of the progress.

    Raises:
        TrainingError: Training failed; the last good checkpoint stays.
    """
    torch.manual_seed(fold_seed(config, folder.fold))
    fresh = not folder.checkpoint.exists()
    network = build(config.model, config.input.channel_count, pretrained=fresh)
    with enough_memory(config.training.batch_size, smaller_batches(folder)):
        progress = FoldTraining(config, network, tiles, folder, compute, watcher).run()
    if config.stage[-1].keep != "snapshots":
        save_weights(network, folder.weights, folder.origin())
    weights_hash = files_hash(folder.weight_files)
    rows = tiles.validation_rows
    oof = predict_tiles(config, folder, tiles.images[rows], compute)
    manifest = {"kind": "out-of-fold", "fold": folder.fold, "weights_hash": weights_hash}
    oof_ids = tuple(ids[row] for row in rows)
    predictions.save(folder.oof, predictions.Predictions(oof_ids, oof, manifest))
    summary = FoldSummary(
        fold=folder.fold,
        score=score(tiles.masks[rows], oof > DEFAULT_LEVEL),
        tiles=len(rows),
        epochs=progress.epoch,
        seconds=round(progress.seconds, 1),
        parameters=count_parameters(network),
        weights_hash=weights_hash,
        skipped=sum(row.get("skipped", 0) for row in progress.history),
    )
    write_json(folder.summary, asdict(summary))
    folder.checkpoint.unlink()  # a finished fold needs no resume; the weights are kept apart
    return summary


def predict_tiles(
    config: Config, folder: FoldFolder, images: NDArray[np.uint8], compute: Compute
) -> NDArray[np.uint8]:
    """What the weights on disk say of some tiles, as they do out of fold.

    Args:
        config: The run's configuration.
        folder: A fold whose weights are written.
        images: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``.
        compute: Device and number format.

    Returns:
        uint8 ``[N, H, W]``, probability = value / 255.
    """
    height, width = images.shape[1:3]
    levels = np.empty((len(images), height, width), dtype=np.uint8)
    predict(
        _read_networks(config, folder, compute), images, levels,
        framing=final_framing(config, (height, width)), compute=compute, config=config.inference,
    )  # fmt: skip
    return levels


def read_summary(folder: FoldFolder) -> FoldSummary:
    """Read ``fold.json`` of a finished fold.

    Raises:
        DataError: The file is missing or damaged.
    """
    return summary_of(folder, FoldSummary)


def load_networks(config: Config, folder: FoldFolder, compute: Compute) -> list[nn.Module]:
    """Build the networks of a finished fold: one, or its snapshots; nothing is downloaded.

    Raises:
        TrainingError: The weights are not those that the fold wrote.
        ConfigError: The weights do not fit the run's configuration.
    """
    sound_weights(folder)
    return _read_networks(config, folder, compute)


def sound_weights(folder: FoldFolder) -> list[Path]:
    """The files of weights of a finished fold; refused unless they are as they were written."""
    files = folder.weight_files
    there = all(path.is_file() for path in files)
    if not there or files_hash(files) != read_summary(folder).weights_hash:
        raise TrainingError(
            f"{files[0]} is gone or has changed since the fold was trained",
            expected="the weights whose hash stands in fold.json",
            next_step=f"train the fold anew: {train_anew(folder.path)}",
        )
    return files


def _read_networks(config: Config, folder: FoldFolder, compute: Compute) -> list[nn.Module]:
    networks = []
    for path in folder.weight_files:
        network = build(config.model, config.input.channel_count, pretrained=False)
        apply_weights(network, read_weights(path), str(path))
        networks.append(compute.place(network))
    return networks


def final_framing(config: Config, tile_shape: tuple[int, int]) -> Framing:
    """Tiles as the last stage saw them: at another size the network would be a stranger."""
    return Framing(tile_shape, config.input, config.stage[-1].shrink)
