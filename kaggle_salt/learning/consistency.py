"""Learning from tiles without masks: a mean teacher says what they show, the student agrees.

The teacher is a moving average of the student's weights. It sees the tiles augmented like those
that are trained on. The student sees the same tiles with more done to them that moves nothing:
other brightness, noise, blur, black rectangles, and boxes of the next tile of the batch, for which
the teacher's answers are cut in the same way. So what it is asked is always harder.

Source: Tarvainen, Valpola, "Mean teachers are better role models", NeurIPS 2017; with the boxes of
French et al., "Semi-supervised semantic segmentation needs strong, varied perturbations", BMVC
2020.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler

from kaggle_salt.config.schema import AugmentConfig, Config
from kaggle_salt.config.stage import ConsistencyConfig, StageConfig
from kaggle_salt.learning.augment import Augmenter
from kaggle_salt.learning.averaging import WeightAverage, batch_norms
from kaggle_salt.learning.batches import Key, train_loader
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.mixing import box

#: What is done to the student's view after all that is done to the teacher's; nothing is moved.
HARDER = ("brightness", "noise", "blur", "dropout")

#: Ends the seeds of tiles without masks: their rows have the numbers of others with masks.
UNLABELLED = 2

#: The teacher's view and the student's, uint8, and the student's part of the next tile, bool.
Views = tuple[Tensor, Tensor, Tensor]


class UnlabelledDataset(Dataset[Views]):
    """Two views of each tile, and the box of it that CutMix replaces.

    Args:
        tiles: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``, may be memory-mapped.
        augment: What is done to the tiles trained on; of their mixing there is none.
        cutmix: Probability of a box.
        seed: Seed of the fold; each sample's own is drawn from (seed, epoch, row).
    """

    def __init__(
        self, tiles: NDArray[np.uint8], augment: AugmentConfig, cutmix: float, seed: int
    ) -> None:
        self.tiles = tiles
        self.cutmix = cutmix
        self.seed = seed
        self._teachers = Augmenter(augment.pipeline, augment.add)
        self._students = Augmenter("none", HARDER)

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, key: Key) -> Views:
        epoch, row = key
        seeds = np.random.SeedSequence((self.seed, epoch, row, UNLABELLED)).generate_state(3)
        height, width = self.tiles.shape[1:3]
        nothing = np.zeros((height, width), dtype=np.bool_)
        weak, _ = self._teachers(self.tiles[row], nothing, int(seeds[0]))
        strong, _ = self._students(weak, nothing, int(seeds[1]))
        rng = np.random.default_rng(seeds[2])
        part = box(rng, (height, width)) if rng.random() < self.cutmix else nothing
        return torch.from_numpy(weak), torch.from_numpy(strong), torch.from_numpy(part)


class UnlabelledSampler(Sampler[list[Key]]):
    """As many batches as an epoch of the stage has, drawn from (seed, epoch).

    Set :attr:`epoch` before iterating.

    Args:
        tiles: How many there are to draw from.
        batch_size: Tiles of a batch.
        steps: Batches of an epoch.
        seed: Seed of the fold.
    """

    def __init__(self, tiles: int, batch_size: int, steps: int, seed: int) -> None:
        self.tiles, self.batch_size, self.steps, self.seed = tiles, batch_size, steps, seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Key]]:
        rng = np.random.default_rng((self.seed, self.epoch, UNLABELLED))
        rows = np.resize(rng.permutation(self.tiles), (self.steps, self.batch_size))
        for batch in rows.tolist():
            yield [(self.epoch, row) for row in batch]


class MeanTeacher:
    """A stage's loss on tiles without masks, and the teacher that it is measured against.

    With q the teacher's probability of a pixel, the loss is the mean over all pixels of
    ``|2 q - 1|`` times the cross-entropy with q (or the squared difference of probabilities), so
    that what the teacher does not know counts for nothing. Its weight rises over the ``ramp`` as
    ``exp(-5 (1 - t)^2)``, t from 0 to 1.

    The teacher starts from the weights that the stage starts from. Its batch norm takes the
    statistics of the batch that it sees, like the student's in training; dropout is off.

    Args:
        config: The run's configuration.
        stage: The stage, which asks for consistency.
        network: The student.
        tiles: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``, one at least.
        framing: How tiles fit the network.
        compute: Device and number format.
        seed: Seed of the fold.
        steps: Optimiser steps of an epoch.
        state: :meth:`state_dict` of the teacher whose work is continued; empty at the start.
    """

    def __init__(
        self,
        config: Config,
        stage: StageConfig,
        network: nn.Module,
        tiles: NDArray[np.uint8],
        framing: Framing,
        compute: Compute,
        *,
        seed: int,
        steps: int,
        state: dict[str, Any],
    ) -> None:
        self.config: ConsistencyConfig = stage.consistency
        self.framing, self.compute = framing, compute
        self.average = WeightAverage(self.config.decay)
        if state:
            self.average.load_state_dict(state)
        else:
            self.average.update(network)
        self.network = _teaching(network)
        # two at least: batch norm behind a global pooling fails on a single tile
        size = max(2, round(self.config.tiles * config.training.batch_size))
        self._sampler = UnlabelledSampler(len(tiles), size, steps, seed)
        dataset = UnlabelledDataset(tiles, config.augment, self.config.cutmix, seed)
        workers = config.training.workers
        self._loader = train_loader(dataset, self._sampler, compute.device, workers)
        self._rising = max(1.0, self.config.ramp * stage.epochs * steps)  # steps
        self._step = 0
        self._batches: Iterator[Views] = iter(())
        self._answers = torch.empty(0)

    def state_dict(self) -> dict[str, Any]:
        return self.average.state_dict()

    def begin_epoch(self, epoch: int, step: int) -> None:
        """Draw anew.

        Args:
            epoch: Epochs of the training that are behind.
            step: Steps of the stage that are behind.
        """
        self._sampler.epoch = epoch
        self._step = step
        self._batches = iter(self._loader)

    def next_tiles(self) -> Tensor:
        """The student's views of the next tiles, uint8 ``[U, H, W]`` or ``[U, H, W, 3]``."""
        views = [view.to(self.compute.device, non_blocking=True) for view in next(self._batches)]
        weak, strong, part = views
        self._answers = _cut(part[:, None], self._ask(weak))  # [U, 1, H, W]
        return _cut(part if strong.ndim == 3 else part[..., None], strong)

    @torch.no_grad()
    def _ask(self, tiles: Tensor) -> Tensor:
        """The teacher's probabilities, float32 ``[U, 1, H, W]``."""
        self.average.apply(self.network)
        logits = self.compute.forward(self.network, self.framing.prepare(tiles))
        return self.framing.unframe(logits).sigmoid()

    def loss(self, logits: Tensor) -> Tensor:
        """How far the student is from the teacher, weighted: a scalar float32.

        Args:
            logits: The student's for :meth:`next_tiles`, float32 ``[U, 1, H, W]``.
        """
        q = self._answers
        if self.config.loss == "bce":
            apart = F.binary_cross_entropy_with_logits(logits, q, reduction="none")
        else:
            apart = (logits.sigmoid() - q) ** 2
        t = min(1.0, self._step / self._rising)
        return self.config.weight * math.exp(-5 * (1 - t) ** 2) * ((2 * q - 1).abs() * apart).mean()

    def after_step(self, network: nn.Module) -> None:
        """The optimiser made a step; ``network`` is the student."""
        self.average.update(network)
        self._step += 1


def _teaching(network: nn.Module) -> nn.Module:
    """A copy that nothing is random in, and whose batch norm looks at the batch alone."""
    teacher = copy.deepcopy(network).requires_grad_(False).eval()
    for norm in batch_norms(teacher):
        norm.train()
    return teacher


def _cut(part: Tensor, batch: Tensor) -> Tensor:
    """A batch with the part of each that comes from the next one, in its place."""
    return torch.where(part, batch.roll(-1, dims=0), batch)
