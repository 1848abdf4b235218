"""The pretext ``vicreg``: two views of a tile are to look the same in the same place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from kaggle_salt.config.schema import PretextConfig
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.rebuilding import spoil
from kaggle_salt.learning.steps import Measured, Step

#: Channels of what VICReg's terms are taken of.
WIDTH = 128


class FeatureNetwork(nn.Module):
    """A network up to what its last convolution reads, and a projector of such features.

    Args:
        network: In evaluation mode its last convolution makes the logits.
        channels: Input channels.
        shape: (height, width) of an input that the network takes, in pixels.
    """

    def __init__(self, network: nn.Module, channels: int, shape: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self._read: list[Tensor] = []
        last = _last_convolution(network, channels, shape)
        last.register_forward_pre_hook(lambda _, given: self._read.append(given[0]))
        self.projector = nn.Sequential(
            nn.Linear(last.in_channels, WIDTH),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(inplace=True),
            nn.Linear(WIDTH, WIDTH),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features float ``[B, F, s, t]`` of inputs ``[B, C, S, T]``."""
        self._read.clear()
        self.network(x)
        return self._read.pop()

    def project(self, features: Tensor) -> Tensor:
        """Of features ``[B, P, F]`` what is compared, ``[B, P, WIDTH]``."""
        projected: Tensor = self.projector(features.flatten(0, 1))
        return projected.view(len(features), -1, WIDTH)


def _last_convolution(network: nn.Module, channels: int, shape: tuple[int, int]) -> nn.Conv2d:
    """The convolution that makes the logits: the last that runs in evaluation mode."""
    ran: list[nn.Conv2d] = []
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    hooks = [one.register_forward_hook(lambda one, *_: ran.append(one)) for one in convolutions]
    device, was_training = next(network.parameters()).device, network.training
    network.eval()
    with torch.inference_mode():
        network(torch.zeros(1, channels, *shape, device=device))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return ran[-1]


class View(NamedTuple):
    """A box of each tile; a coordinate (x, y) of the tile is from -1 to 1, as in grid_sample.

    Args:
        centre: float32 ``[B, 2]``.
        half: Half its sides, float32 ``[B, 2]``; x is below 0 where the view is mirrored.
    """

    centre: Tensor
    half: Tensor

    @classmethod
    def draw(cls, count: int, least: float, device: torch.device) -> View:
        """Boxes within the tile, of sides from ``least`` to 1, half of them mirrored."""
        half = least + (1 - least) * torch.rand(count, 2, device=device)
        centre = (1 - half) * (2 * torch.rand(count, 2, device=device) - 1)
        mirrored = torch.rand(count, device=device) < 0.5
        half[:, 0] = torch.where(mirrored, -half[:, 0], half[:, 0])
        return cls(centre, half)

    def of(self, inputs: Tensor) -> Tensor:
        """The box of each tile as large as the tile, ``[B, C, S, T]``."""
        matrix = torch.cat([self.half.diag_embed(), self.centre[:, :, None]], dim=2)  # [B, 2, 3]
        grid = F.affine_grid(matrix, list(inputs.shape), align_corners=False)
        return F.grid_sample(inputs, grid, padding_mode="border", align_corners=False)

    def read(self, features: Tensor, places: Tensor) -> Tensor:
        """Features of the view ``[B, F, s, t]`` at places of the tile ``[B, P, 2]``."""
        own = (places - self.centre[:, None]) / self.half[:, None]
        read = F.grid_sample(
            features, own[:, :, None], padding_mode="border", align_corners=False
        )  # [B, F, P, 1]
        return read[..., 0].transpose(1, 2)  # [B, P, F]


def common_places(one: View, other: View, count: int) -> Tensor:
    """Places that both views see, ``[B, count, 2]``; two of more than half a side always meet."""
    low = torch.maximum(one.centre - one.half.abs(), other.centre - other.half.abs())  # [B, 2]
    high = torch.minimum(one.centre + one.half.abs(), other.centre + other.half.abs())
    share = torch.rand(len(low), count, 2, device=low.device)
    return low[:, None] + (high - low)[:, None] * share


class ViewsStep(Step):
    """Two views of a tile, cut, mirrored, lit and spoilt differently, are to look the same.

    They do so in the same place of the tile, in features at full resolution: what lies in a
    pixel, not what a tile is like on the whole, is what segmentation needs. VICReg is taken
    because it is the least that cannot collapse: no negatives (two pixels of the same salt would
    be pushed apart), no second network that follows, no large batch.

    Sources: Bardes, Ponce, LeCun, "VICReg", ICLR 2022; the same, "VICRegL", NeurIPS 2022, for
    features of places.
    """

    def __init__(
        self,
        config: PretextConfig,
        learner: FeatureNetwork,
        step_learner: nn.Module,
        framing: Framing,
        compute: Compute,
    ) -> None:
        self.config, self.learner, self.step_learner = config, learner, step_learner
        self.framing, self.compute = framing, compute

    def loss(self, batch: Sequence[Tensor]) -> Tensor:
        """Of tiles uint8 ``[B, H, W]`` or ``[B, H, W, 3]``, alone in the batch."""
        [tiles] = batch
        inputs = self.framing.prepare(tiles)  # [B, C, S, T]
        # the same boxes and places in all tiles of a batch: see vicreg_loss
        drawn = [View.draw(1, self.config.crop, inputs.device) for _ in range(2)]
        places = common_places(drawn[0], drawn[1], self.config.points).expand(len(inputs), -1, -1)
        views = [View(*(part.expand(len(inputs), -1) for part in one)) for one in drawn]
        shown = torch.cat([self._light(view.of(inputs)) for view in views])
        spoilt, _ = spoil(shown, self.config)
        features = self.compute.forward(self.step_learner, spoilt)  # [2B, F, s, t]
        parts = zip(views, features.chunk(2), strict=True)
        read = torch.cat([view.read(part, places) for view, part in parts])  # [2B, P, F]
        one, other = self.learner.project(read).chunk(2)
        return vicreg_loss(one, other, self.config.covariance)

    def _light(self, inputs: Tensor) -> Tensor:
        """Another contrast and brightness for each tile."""
        drawn = torch.rand(2, len(inputs), 1, 1, 1, device=inputs.device)
        change = self.config.contrast * (2 * drawn - 1)
        return inputs * (1 + change[0]) + change[1]

    def measure(self, train_loss: float) -> Measured:
        return Measured({}, train_loss)


def vicreg_loss(one: Tensor, other: Tensor, covariance: float) -> Tensor:
    """What two views of the same places lack of VICReg's aims, in its proportions.

    Variance and covariance are those of what a tile's mean and a place's mean leave unexplained.
    Otherwise features would do that know the tile and are the same all over it, or that know the
    place (padding tells it to a network) and are the same in all tiles; seen on real tiles, the
    second is what is learnt first. By neither can anything be segmented.

    Args:
        one: float ``[B, P, D]``, P places that are the same in each of B tiles.
        other: Of the same places.
        covariance: Weight of the third term; VICReg's is 1 / 25.

    Returns:
        Scalar float32: the mean squared difference, plus what standard deviations lack to 1, plus
        the weighted squares of covariances.
    """
    total = F.mse_loss(one, other)
    for seen in (one, other):
        count, places, width = seen.shape
        known = seen.mean(dim=1, keepdim=True) + seen.mean(dim=0, keepdim=True)
        inner = (seen - known + seen.mean(dim=(0, 1))).flatten(0, 1)  # [B * P, D]
        matrix = inner.T @ inner / (max(count - 1, 1) * (places - 1))  # [D, D]
        variances = matrix.diagonal()
        total = total + F.relu(1 - (variances + 1e-4).sqrt()).mean() / 2
        mixed = matrix.square().sum() - variances.square().sum()
        total = total + covariance * mixed / width
    return total


def principal_colours(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """The first three principal components of features as red, green and blue.

    Args:
        features: float32 ``[N, F, s, t]``.

    Returns:
        float64 ``[N, s, t, 3]`` in [0, 1]; a colour means the same in all the tiles. Of fewer
        than three features the missing components are .5.
    """
    count, width, height, across = features.shape
    rows = features.transpose(0, 2, 3, 1).reshape(-1, width).astype(np.float64)
    rows -= rows.mean(axis=0)
    _, _, axes = np.linalg.svd(rows.T @ rows)
    found = rows @ axes[:3].T  # [N * s * t, up to 3]
    low, high = np.percentile(found, (2, 98), axis=0)
    colours = np.full((len(rows), 3), 0.5)
    colours[:, : found.shape[1]] = np.clip((found - low) / np.maximum(high - low, 1e-9), 0, 1)
    return colours.reshape(count, height, across, 3)
