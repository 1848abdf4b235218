"""A network pretrained on tiles alone, from the tiles to its weights and what it sees in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kaggle_salt.config.schema import Config
from kaggle_salt.errors import TrainingError
from kaggle_salt.learning.batches import PretrainingTiles
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.fold import final_framing
from kaggle_salt.learning.keeping import save_weights, summary_of
from kaggle_salt.learning.mishaps import enough_memory, smaller_batches
from kaggle_salt.learning.networks import build, count_parameters
from kaggle_salt.learning.networks.pretrained import apply_weights, read_weights
from kaggle_salt.learning.pretext import learner_of
from kaggle_salt.learning.rebuilding import grey_of, spoil
from kaggle_salt.learning.training import FoldTraining, Watcher, fold_seed
from kaggle_salt.learning.views import FeatureNetwork, principal_colours
from kaggle_salt.runs_pretraining import PretrainingFolder
from kaggle_salt.storage.files import file_hash, write_json

#: Pictures of tiles by what they show, float64 ``[N, H, W]`` or ``[N, H, W, 3]`` in [0, 1].
Panels = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class PretrainingSummary:
    """What ``pretraining.json`` says of a finished pretraining.

    Args:
        method: The pretext: ``masked`` or ``vicreg``.
        tiles: Number of tiles.
        epochs: Epochs trained.
        seconds: Training time over all sittings.
        loss: Mean training loss of the last epoch.
        parameters: Number of trainable parameters of the network.
        weights_hash: SHA-256 of the weights file.
    """

    method: str
    tiles: int
    epochs: int
    seconds: float
    loss: float
    parameters: int
    weights_hash: str


def pretrain(
    config: Config,
    tiles: PretrainingTiles,
    folder: PretrainingFolder,
    compute: Compute,
    watcher: Watcher,
) -> PretrainingSummary:
    """Pretrain a network (or go on with it) and write its weights.

    No mask can be learnt from: there is none in what this function is given.

    Args:
        config: With a pretext.
        tiles: All tiles, with known masks or without.
        folder: ``runs/<run>``; a checkpoint in it is continued.
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
    save_weights(network, folder.weights, folder.origin())
    summary = PretrainingSummary(
        method=config.pretext.name,
        tiles=len(tiles.train_rows),
        epochs=progress.epoch,
        seconds=round(progress.seconds, 1),
        loss=float(progress.history[-1]["train_loss"]),
        parameters=count_parameters(network),
        weights_hash=file_hash(folder.weights),
    )
    write_json(folder.summary, asdict(summary))
    folder.checkpoint.unlink()  # what is finished needs no resume
    return summary


def read_pretraining(folder: PretrainingFolder) -> PretrainingSummary:
    """Read ``pretraining.json`` of a finished pretraining.

    Raises:
        DataError: The file is missing or damaged.
    """
    return summary_of(folder, PretrainingSummary)


def sound_pretraining(folder: PretrainingFolder) -> Path:
    """The weights of a finished pretraining; refused unless they are as they were written.

    Raises:
        TrainingError: They are gone or have changed.
        DataError: The summary is damaged.
    """
    file = folder.weights
    if not file.is_file() or file_hash(file) != read_pretraining(folder).weights_hash:
        raise TrainingError(
            f"{file} is gone or has changed since it was pretrained",
            expected=f"the weights whose hash stands in {folder.SUMMARY}",
            next_step=f"pretrain anew: {folder.anew}",
        )
    return file


@torch.inference_mode()
def pretraining_panels(
    config: Config, folder: PretrainingFolder, images: NDArray[np.uint8], compute: Compute
) -> Panels:
    """What the weights on disk make of some tiles, at the size of the last stage.

    Args:
        config: The run's configuration.
        folder: A finished pretraining.
        images: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``.
        compute: Device and number format.

    Returns:
        ``masked``: the tile, what the network was shown of it, and what it made of that.
        ``vicreg``: the tile, and the first three principal components of its features as red,
        green and blue, alike in all the tiles.
    """
    network = build(config.model, config.input.channel_count, pretrained=False)
    apply_weights(network, read_weights(sound_pretraining(folder)), str(folder.weights))
    height, width = images.shape[1:3]
    learner = compute.place(learner_of(config, network, (height, width))).eval()
    framing = final_framing(config, (height, width))
    inputs = framing.prepare(torch.from_numpy(images).to(compute.device))
    tile = grey_of(inputs, config.input)  # [N, 1, S, T]
    low, high = tile.amin(dim=(1, 2, 3), keepdim=True), tile.amax(dim=(1, 2, 3), keepdim=True)

    def grey(maps: torch.Tensor) -> NDArray[np.float64]:
        """All panels of a tile in the range of its own grey levels."""
        shade = ((maps - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
        return shade[:, 0].double().cpu().numpy()

    if isinstance(learner, FeatureNetwork):
        features = compute.forward(learner, inputs)  # [N, F, s, t]
        return {"tile": grey(tile), "features": principal_colours(features.cpu().numpy())}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        spoilt, _ = spoil(inputs, config.pretext)
    made = compute.forward(learner, spoilt)
    return {
        "tile": grey(tile),
        "shown": grey(grey_of(spoilt, config.input)),
        "made of it": grey(made),
    }
