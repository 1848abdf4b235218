"""From Kaggle's files to arrays, folds and batches."""

from __future__ import annotations

import shutil
from statistics import median

import numpy as np
import torch

from benchmarks.items import Measurement, Setting, Target, item
from benchmarks.timing import median_time, seconds
from kaggle_salt.competition.folds import make_folds
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.learning.augment import Augmenter
from kaggle_salt.learning.batches import EpochSampler, TileDataset, train_loader


@item("open-first", "s", Target(20))
def open_first(setting: Setting) -> Measurement:
    """First opening of 22,000 tiles, 25,600 PNG files in two zips.

    Decodes, checks and hashes them and writes the cache; the zips are in the system's own
    cache. Target: 20 s on two cores.
    """
    folder = setting.competition_folder

    def open_anew() -> float:
        shutil.rmtree(folder / ".salt-cache", ignore_errors=True)
        return seconds(lambda: Competition.open(folder))

    times = [open_anew() for _ in range(setting.size.repeats)]
    return Measurement(median(times), details={"seconds": times, **_counts(setting)})


@item("open-again", "s", Target(0.1))
def open_again(setting: Setting) -> Measurement:
    """Opening the same 22,000 tiles again, from the cache. Target: 0.1 s."""
    folder = setting.competition_folder
    return median_time(lambda: Competition.open(folder), setting.size.repeats)


@item("folds", "s")
def folds(setting: Setting) -> Measurement:
    """Five folds of 3,600 tiles, stratified by salt coverage."""
    tiles = setting.competition
    return median_time(lambda: make_folds(tiles.ids, tiles.masks), setting.size.repeats)


@item("epoch", "tiles/s")
def epoch(setting: Setting) -> Measurement:
    """An epoch of augmented batches of 32 from 3,600 tiles, without a network."""
    tiles = setting.competition
    sampler = EpochSampler(np.arange(len(tiles.ids)), setting.size.batch, seed=0)
    dataset = TileDataset(tiles.images, tiles.masks, Augmenter("light"), seed=0)
    loader = train_loader(dataset, sampler, torch.device("cpu"), workers=-1)
    timed = median_time(lambda: list(loader), setting.size.repeats)
    return Measurement(len(sampler) * sampler.batch_size / timed.ours, details=timed.details)


@item("augment", "µs")
def augment(setting: Setting) -> Measurement:
    """Augmenting one tile and its mask with ``light``, the mean over the training tiles."""
    tiles, augmenter = setting.competition, Augmenter("light")

    def augment_all() -> None:
        for seed, (image, mask) in enumerate(zip(tiles.images, tiles.masks, strict=True)):
            augmenter(image, mask, seed)

    timed = median_time(augment_all, setting.size.repeats)
    return Measurement(1e6 * timed.ours / len(tiles.ids), details=timed.details)


def _counts(setting: Setting) -> dict[str, int]:
    tiles = setting.competition
    return {"train_tiles": len(tiles.ids), "test_tiles": len(tiles.test_ids)}
