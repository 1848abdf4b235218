"""Tiles of a batch that get a part of one another, with its mask: CutMix, and copied salt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kaggle_salt.config.schema import AugmentConfig

#: A tile, uint8 ``[H, W]`` or ``[H, W, 3]``, and its label, uint8 ``[H, W]`` from 0 to 255.
Sample = tuple[Tensor, ...]

#: What makes a sample's draws its own, and other than those of its augmentation.
Seed = tuple[int, ...]


def mix_batch(
    samples: Sequence[Sample], seeds: Sequence[Seed], config: AugmentConfig
) -> list[Sample]:
    """Give tiles a part of the next tile of the batch, as it was before it was mixed itself.

    The part keeps its place: what lies deep stays deep. With ``cutmix`` it is a box, with
    ``copy-paste`` all salt of the other tile.

    Args:
        samples: Of one batch, augmented.
        seeds: Of each; nothing else decides what is drawn for it.
        config: Kind of mixing, and its probability.

    Returns:
        As many samples; those that are not mixed are the same tensors.

    Source: Yun et al., "CutMix", ICCV 2019; Ghiasi et al., "Simple Copy-Paste is a Strong Data
    Augmentation Method for Instance Segmentation", CVPR 2021.
    """
    mixed: list[Sample] = []
    for number, ((tile, mask), seed) in enumerate(zip(samples, seeds, strict=True)):
        rng = np.random.default_rng(seed)
        if rng.random() >= config.mix_probability:
            mixed.append((tile, mask))
            continue
        other, its_mask = samples[(number + 1) % len(samples)]
        height, width = mask.shape
        cut = config.mix == "cutmix"
        part = torch.from_numpy(box(rng, (height, width))) if cut else its_mask > 127  # [H, W]
        of_pixels = part if tile.ndim == 2 else part[..., None]
        mixed.append((torch.where(of_pixels, other, tile), torch.where(part, its_mask, mask)))
    return mixed


def box(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """CutMix's box: a share of the tile that is drawn evenly, anywhere, cut off at the border.

    Args:
        rng: Where it is drawn from.
        shape: (height, width), in pixels.

    Returns:
        bool ``[H, W]``, true in the box.
    """
    side = np.sqrt(rng.random())  # in sides of the tile
    inside = np.ones(shape, dtype=np.bool_)
    for axis, pixels in enumerate(shape):
        places = np.arange(pixels) + 0.5
        near = np.abs(places - rng.random() * pixels) < side * pixels / 2
        inside &= near[:, None] if axis == 0 else near
    return inside
