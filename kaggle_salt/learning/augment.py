"""Named augmentation pipelines, each sample drawn from its own seed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.errors import ConfigError, nearest

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for news on import
import albumentations as A
import cv2

cv2.setNumThreads(0)  # loader workers and torch already use the cores


def _none() -> list[A.BasicTransform]:
    return []


def _flip() -> list[A.BasicTransform]:
    return [A.HorizontalFlip(p=0.5)]


class _Affine(A.Affine):  # type: ignore[misc]
    """To the pixel what albumentations does, without its checks: they take longer than the warp."""

    def apply(
        self, img: NDArray[np.uint8], *, matrix: NDArray[np.float64], **_: object
    ) -> NDArray[np.uint8]:
        return self._warp(img, matrix, self.interpolation)

    def apply_to_mask(
        self, mask: NDArray[np.uint8], *, matrix: NDArray[np.float64], **_: object
    ) -> NDArray[np.uint8]:
        return self._warp(mask, matrix, self.mask_interpolation)

    def _warp(
        self, tile: NDArray[np.uint8], matrix: NDArray[np.float64], interpolation: int
    ) -> NDArray[np.uint8]:
        height, width = tile.shape[:2]
        warped: NDArray[np.uint8] = cv2.warpAffine(
            tile, matrix[:2], (width, height), flags=interpolation, borderMode=self.border_mode
        )
        return warped


def _affine(scale: tuple[float, float], shift: float, degrees: float) -> A.BasicTransform:
    return _Affine(
        scale=scale,
        translate_percent=(-shift, shift),
        rotate=(-degrees, degrees),
        keep_ratio=False,
        balanced_scale=True,
        border_mode=cv2.BORDER_REFLECT_101,
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST,
        p=0.8,
    )


def _light() -> list[A.BasicTransform]:
    return [
        *_flip(),
        _affine(scale=(0.8, 1.25), shift=0.12, degrees=8),
        A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.2, p=0.5),
    ]


def _strong() -> list[A.BasicTransform]:
    return [
        *_flip(),
        _affine(scale=(0.7, 1.4), shift=0.2, degrees=12),
        A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.3, p=0.5),
        A.GaussNoise(std_range=(0.01, 0.05), p=0.2),
        A.GaussianBlur(blur_limit=(3, 5), p=0.1),
        A.CoarseDropout(
            num_holes_range=(1, 3), hole_height_range=(0.1, 0.25), hole_width_range=(0.1, 0.25),
            fill=0, p=0.2,
        ),
    ]  # fmt: skip


#: Pipelines by name. Vertical flips are in none of them: gravity tells up from down.
PIPELINES: dict[str, Callable[[], list[A.BasicTransform]]] = {
    "none": _none,
    "flip": _flip,
    "light": _light,
    "strong": _strong,
}


class Augmenter:
    """Applies a named pipeline to a tile and its mask.

    The draw depends on the seed alone: the same tile with the same seed comes out the same in
    any process and in any order.

    Args:
        pipeline: A name from :data:`PIPELINES`.

    Raises:
        ConfigError: There is no such pipeline.
    """

    def __init__(self, pipeline: str) -> None:
        if pipeline not in PIPELINES:
            raise ConfigError(
                f"unknown augmentation '{pipeline}'",
                expected=nearest(pipeline, PIPELINES),
                next_step="--set augment.pipeline=NAME",
            )
        transforms = PIPELINES[pipeline]()
        self._compose = A.Compose(transforms, strict=True) if transforms else None

    def __call__(
        self, tile: NDArray[np.uint8], mask: NDArray[np.bool_], seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Augment one tile.

        Args:
            tile: uint8 ``[H, W]``, or in colour ``[H, W, 3]``.
            mask: bool ``[H, W]``.
            seed: Any non-negative integer.

        Returns:
            The tile, and the mask as uint8 ``[H, W]`` of 0 and 1, contiguous.
        """
        out = self._transformed(seed, image=tile, mask=mask.view(np.uint8))
        return out["image"], out["mask"]

    def of_tile(self, tile: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """Augment a tile that has no mask; otherwise the same."""
        return self._transformed(seed, image=tile)["image"]

    def _transformed(self, seed: int, **given: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
        if self._compose is None:
            return {name: np.array(array) for name, array in given.items()}
        # not set_random_seed: it gives every transform the same seed, so that what one draws
        # tells what the others will (albumentations 2.0.8)
        self._compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        out = self._compose(**{name: np.ascontiguousarray(array) for name, array in given.items()})
        return {name: _own(out[name]) for name in given}


def _own(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Contiguous and writable: a transform that does nothing may hand back a read-only file."""
    needs: tuple[Literal["C", "W"], ...] = ("C", "W")
    return np.require(array, requirements=needs)
