"""Batches of uint8 tiles: one seed per sample, so that workers and resumes change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from kaggle_salt.config.schema import AugmentConfig
from kaggle_salt.learning.augment import Augmenter
from kaggle_salt.learning.mishaps import quiet_worker
from kaggle_salt.learning.mixing import mix_batch

#: A sample is asked for by (epoch, row): the epoch is part of its seed.
Key = tuple[int, int]

#: What a dataset has under a key.
Sample = TypeVar("Sample")

#: Ends the seeds by which samples are mixed: these are other draws than the augmentation's.
MIXING = 1


def _no_rows() -> NDArray[np.int64]:
    return np.empty(0, dtype=np.int64)


def _no_maps() -> NDArray[np.uint8]:
    return np.empty((0, 0, 0), dtype=np.uint8)


@dataclass(frozen=True)
class TrainingTiles:
    """Tiles with masks or labels, which of them train and which validate, and tiles without.

    Args:
        images: uint8 ``[N, H, W]``, or in colour ``[N, H, W, 3]``.
        masks: bool ``[M, H, W]``, of the first M rows.
        train_rows: Rows that are trained on.
        validation_rows: Rows that are only looked at.
        pseudo_rows: Rows with pseudo-labels; trained on by the stages that want them.
        labels: uint8 ``[N - M, H, W]``, of the rows after those with masks: probability =
            value / 255.
        unlabelled: Further tiles, like ``images``, for the stages that ask for consistency.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    train_rows: NDArray[np.int64]
    validation_rows: NDArray[np.int64]
    pseudo_rows: NDArray[np.int64] = field(default_factory=_no_rows)
    labels: NDArray[np.uint8] = field(default_factory=_no_maps)
    unlabelled: NDArray[np.uint8] = field(default_factory=_no_maps)

    @property
    def tile_shape(self) -> tuple[int, int]:
        return tile_shape_of(self.images)

    def label(self, row: int) -> NDArray[np.uint8]:
        """What a tile's pixels are, uint8 ``[H, W]``: 0 or 255 by its mask, or its pseudo-label."""
        behind = row - len(self.masks)
        label: NDArray[np.uint8] = (
            self.masks[row].view(np.uint8) * np.uint8(255) if behind < 0 else self.labels[behind]
        )
        return label


@dataclass(frozen=True)
class PretrainingTiles:
    """Tiles to learn from without masks: there is no place for any.

    Args:
        images: uint8 ``[N, H, W]``, or in colour ``[N, H, W, 3]``.
        train_rows: Rows that are trained on.
        validation_rows: None, for without masks nothing is validated.
        pseudo_rows: None.
    """

    images: NDArray[np.uint8]
    train_rows: NDArray[np.int64]
    validation_rows: NDArray[np.int64] = field(default_factory=_no_rows)
    pseudo_rows: NDArray[np.int64] = field(default_factory=_no_rows)

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> Self:
        """All of some tiles."""
        return cls(images, np.arange(len(images)))

    @property
    def tile_shape(self) -> tuple[int, int]:
        return tile_shape_of(self.images)


def tile_shape_of(images: NDArray[np.uint8]) -> tuple[int, int]:
    """(height, width) of tiles ``[N, H, W]`` or ``[N, H, W, 3]``, in pixels."""
    height, width = images.shape[1:3]
    return height, width


class TileDataset(Dataset[tuple[Tensor, ...]]):
    """Augmented training tiles and their labels, uint8 ``[H, W]``; a coloured tile ``[H, W, 3]``.

    Of tiles without masks each comes alone.

    Args:
        tiles: Where they are taken from.
        augment: What is done to a tile and its label, and to the tiles of a batch.
        seed: Seed of the run; each sample's own is drawn from (seed, epoch, row).

    Raises:
        ConfigError: There is no such augmentation.
    """

    def __init__(
        self, tiles: TrainingTiles | PretrainingTiles, augment: AugmentConfig, seed: int
    ) -> None:
        # row by row a memory map takes as long as the augmentation's draws: it makes each a map
        plain: dict[str, Any] = {
            each.name: np.asarray(getattr(tiles, each.name)) for each in fields(tiles)
        }
        self.tiles = replace(tiles, **plain)
        self.augment = augment
        self.augmenter = Augmenter(augment.pipeline, augment.add)
        self.seed = seed

    def __len__(self) -> int:
        return len(self.tiles.images)

    def __getitem__(self, key: Key) -> tuple[Tensor, ...]:
        epoch, row = key
        seed = int(np.random.SeedSequence((self.seed, epoch, row)).generate_state(1)[0])
        if isinstance(self.tiles, PretrainingTiles):
            return (torch.from_numpy(self.augmenter.of_tile(self.tiles.images[row], seed)),)
        tile, label = self.augmenter(self.tiles.images[row], self.tiles.label(row), seed)
        return torch.from_numpy(tile), torch.from_numpy(label)

    def __getitems__(self, keys: Sequence[Key]) -> list[tuple[Tensor, ...]]:
        """The samples of a batch: what the loader asks for."""
        samples = [self[key] for key in keys]
        if self.augment.mix == "none":
            return samples
        return mix_batch(samples, [(self.seed, *key, MIXING) for key in keys], self.augment)


def targets_of(labels: Tensor) -> Tensor:
    """What the loss compares logits with.

    Args:
        labels: uint8 ``[B, H, W]`` of a batch.

    Returns:
        float32 ``[B, 1, H, W]`` in [0, 1].
    """
    return labels[:, None].float() / 255


class EpochSampler(Sampler[list[Key]]):
    """Batches of one epoch, in an order drawn from (seed, epoch); the short rest is dropped.

    An epoch is one pass over the training rows. Pseudo-labelled tiles come on top, drawn afresh
    in each epoch; an epoch of pseudo-labelled tiles alone has as many batches as one of the
    training rows. Set :attr:`epoch` before iterating, and call :meth:`choose` before a stage.
    With fewer rows than a batch there is one short batch.

    Args:
        rows: Rows with true masks.
        batch_size: Tiles of a batch.
        seed: Seed of the fold.
        pseudo_rows: Rows with pseudo-labels.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        batch_size: int,
        seed: int,
        pseudo_rows: NDArray[np.int64] | None = None,
    ) -> None:
        self.rows = rows
        self.pseudo_rows = _no_rows() if pseudo_rows is None else pseudo_rows
        self.batch_size = min(batch_size, len(rows))
        self.seed = seed
        self.epoch = 0
        self.pseudo_per_batch = 0

    def choose(self, kind: Literal["masks", "pseudo", "mixed"], pseudo_share: float) -> None:
        """Say which tiles the coming epochs hold.

        Args:
            kind: Tiles with true masks, pseudo-labelled ones, or (if there are any) both.
            pseudo_share: Share of pseudo-labelled tiles in a mixed batch, rounded to whole
                tiles; one tile with a true mask remains.
        """
        mixed = min(round(pseudo_share * self.batch_size), self.batch_size - 1)
        per_batch = {"masks": 0, "pseudo": self.batch_size, "mixed": mixed}[kind]
        self.pseudo_per_batch = per_batch if len(self.pseudo_rows) else 0

    def __len__(self) -> int:
        return len(self.rows) // (self._own_per_batch or self.batch_size)

    @property
    def _own_per_batch(self) -> int:
        return self.batch_size - self.pseudo_per_batch

    def __iter__(self) -> Iterator[list[Key]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        own = rng.permutation(self.rows)
        pseudo = rng.permutation(self.pseudo_rows)
        pseudo = np.resize(pseudo, len(self) * self.pseudo_per_batch)  # around again if too few
        for number in range(len(self)):
            batch = np.concatenate(
                [
                    own[number * self._own_per_batch :][: self._own_per_batch],
                    pseudo[number * self.pseudo_per_batch :][: self.pseudo_per_batch],
                ]
            )
            yield [(self.epoch, int(row)) for row in batch]


def train_loader(
    dataset: Dataset[Sample], sampler: Sampler[list[Key]], device: torch.device, workers: int
) -> DataLoader[Sample]:
    """A loader of batches: of (tiles, labels), where a :class:`TileDataset` is given.

    Without masks it is one of (tiles,).

    Args:
        dataset: Knows its samples by their keys.
        sampler: The keys of each batch, in order.
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
        worker_init_fn=quiet_worker,
    )
