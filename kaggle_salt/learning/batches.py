"""Batches of uint8 tiles: one seed per sample, so that workers and resumes change nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from kaggle_salt.learning.augment import Augmenter

#: A sample is asked for by (epoch, row): the epoch is part of its seed.
Key = tuple[int, int]


class TileDataset(Dataset[tuple[Tensor, Tensor]]):
    """Augmented training tiles.

    Args:
        images: uint8 ``[N, H, W]``, may be memory-mapped.
        masks: bool ``[N, H, W]``.
        augmenter: What is done to a tile and its mask.
        seed: Seed of the run; each sample's own is drawn from (seed, epoch, row).
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        masks: NDArray[np.bool_],
        augmenter: Augmenter,
        seed: int,
    ) -> None:
        self.images = images
        self.masks = masks
        self.augmenter = augmenter
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        epoch, row = key
        seed = int(np.random.SeedSequence((self.seed, epoch, row)).generate_state(1)[0])
        tile, mask = self.augmenter(self.images[row], self.masks[row], seed)
        return torch.from_numpy(tile), torch.from_numpy(mask)


class EpochSampler(Sampler[list[Key]]):
    """Batches of one epoch, in an order drawn from (seed, epoch); the short rest is dropped.

    Set :attr:`epoch` before iterating. With fewer rows than a batch there is one short batch.
    """

    def __init__(self, rows: NDArray[np.int64], batch_size: int, seed: int) -> None:
        self.rows = rows
        self.batch_size = min(batch_size, len(rows))
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def __iter__(self) -> Iterator[list[Key]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.rows)
        for number in range(len(self)):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            yield [(self.epoch, int(row)) for row in batch]


def train_loader(
    dataset: TileDataset, sampler: EpochSampler, device: torch.device, workers: int
) -> DataLoader[tuple[Tensor, Tensor]]:
    """A loader of (tiles, masks), both uint8 ``[B, H, W]``.

    Args:
        dataset: The training tiles.
        sampler: Order of the batches.
        device: Where the batches go; memory is pinned for CUDA.
        workers: Loader processes; -1 takes none on the CPU (augmentation costs about a
            hundredth of a training step there) and up to 8 beside a GPU.
    """
    if workers < 0:
        workers = 0 if device.type == "cpu" else min(8, torch.get_num_threads())
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
        # of its own: the loader draws from it, once an epoch or once for all with workers, and
        # torch's generator must give dropout the same numbers either way
        generator=torch.Generator(),
        prefetch_factor=4 if workers > 0 else None,
    )
