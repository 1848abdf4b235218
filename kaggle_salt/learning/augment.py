"""Named augmentation pipelines, each sample drawn from its own seed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.errors import ConfigError, nearest

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for news on import
import albumentations as A
import albumentations.augmentations.geometric.functional as fgeometric
import cv2

cv2.setNumThreads(0)  # loader workers and torch already use the cores


def _none() -> list[A.BasicTransform]:
    return []


def _flip() -> list[A.BasicTransform]:
    return [A.HorizontalFlip(p=0.5)]


class _Affine(A.Affine):  # type: ignore[misc]
    """To the pixel what albumentations does, without its checks: they take longer than the warp.

    Nor is there a second matrix, which would be that of bounding boxes.
    """

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, NDArray[np.float64]]:
        shape = params["shape"][:2]
        translate, shear = self._get_translate_params(shape), self._get_shear_params()
        scale = self._get_scale(self.scale, self.keep_ratio, self.balanced_scale, self.py_random)
        rotate = self.py_random.uniform(*self.rotate)
        matrix = fgeometric.create_affine_transformation_matrix(
            translate, shear, scale, rotate, fgeometric.center(shape)
        )
        return {"matrix": matrix}

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


class _Elastic(A.ElasticTransform):  # type: ignore[misc]
    """Random displacements on a coarse grid, interpolated bicubically.

    Albumentations draws a displacement for every pixel and smooths them, which takes four times
    as long as warping the tile by them.

    Source: Ronneberger, Fischer, Brox, "U-Net", MICCAI 2015, section 3.1; there 3 x 3 points and
    ten pixels of 512.
    """

    #: Points of the grid along each side, and the displacements' standard deviation in sides.
    POINTS, DEVIATION = 4, 0.03

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, NDArray[np.float32]]:
        height, width = params["shape"][:2]
        deviations = self.DEVIATION * np.array([width, height])
        coarse = self.random_generator.normal(scale=deviations, size=(self.POINTS, self.POINTS, 2))
        fine = cv2.resize(
            coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )  # [H, W, 2]
        columns = np.arange(width, dtype=np.float32)
        rows = np.arange(height, dtype=np.float32)[:, None]
        return {"map_x": columns + fine[..., 0], "map_y": rows + fine[..., 1]}

    def apply(
        self, img: NDArray[np.uint8], *, map_x: NDArray[np.float32], map_y: NDArray[np.float32],
        **_: object,
    ) -> NDArray[np.uint8]:  # fmt: skip
        return self._warp(img, map_x, map_y, self.interpolation)

    def apply_to_mask(
        self, mask: NDArray[np.uint8], *, map_x: NDArray[np.float32], map_y: NDArray[np.float32],
        **_: object,
    ) -> NDArray[np.uint8]:  # fmt: skip
        return self._warp(mask, map_x, map_y, self.mask_interpolation)

    def _warp(
        self, tile: NDArray[np.uint8], map_x: NDArray[np.float32], map_y: NDArray[np.float32],
        interpolation: int,
    ) -> NDArray[np.uint8]:  # fmt: skip
        warped: NDArray[np.uint8] = cv2.remap(
            tile, map_x, map_y, interpolation, borderMode=self.border_mode
        )
        return warped


def _elastic() -> A.BasicTransform:
    return _Elastic(
        border_mode=cv2.BORDER_REFLECT_101,
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST,
        p=0.5,
    )


def _brightness(brightness: float, contrast: float) -> A.BasicTransform:
    return A.RandomBrightnessContrast(brightness_limit=brightness, contrast_limit=contrast, p=0.5)


def _noise(p: float) -> A.BasicTransform:
    return A.GaussNoise(std_range=(0.01, 0.05), p=p)


def _blur(p: float) -> A.BasicTransform:
    return A.GaussianBlur(blur_limit=(3, 5), p=p)


def _dropout(p: float) -> A.BasicTransform:
    """Up to three black rectangles; the mask beneath stays: it is to be guessed from around."""
    return A.CoarseDropout(
        num_holes_range=(1, 3), hole_height_range=(0.1, 0.25), hole_width_range=(0.1, 0.25),
        fill=0, p=p,
    )  # fmt: skip


def _light() -> list[A.BasicTransform]:
    return [
        *_flip(),
        _affine(scale=(0.8, 1.25), shift=0.12, degrees=8),
        _brightness(0.1, 0.2),
    ]


def _strong() -> list[A.BasicTransform]:
    return [
        *_flip(),
        _affine(scale=(0.7, 1.4), shift=0.2, degrees=12),
        _brightness(0.15, 0.3),
        _noise(0.2),
        _blur(0.1),
        _dropout(0.2),
    ]


#: Pipelines by name. Vertical flips are in none of them: gravity tells up from down.
PIPELINES: dict[str, Callable[[], list[A.BasicTransform]]] = {
    "none": _none,
    "flip": _flip,
    "light": _light,
    "strong": _strong,
}

#: What can be added to a pipeline, each for half of the tiles. Only ``elastic`` moves pixels.
ADDITIONS: dict[str, Callable[[], A.BasicTransform]] = {
    "elastic": _elastic,
    "brightness": lambda: _brightness(0.25, 0.4),
    "noise": lambda: _noise(0.5),
    "blur": lambda: _blur(0.5),
    "dropout": lambda: _dropout(0.5),
}

#: Transforms that draw from Python's generator alone: NumPy's takes longer to make than to use.
PYTHONS = (A.HorizontalFlip, A.Affine, A.RandomBrightnessContrast)


class Augmenter:
    """Applies a named pipeline, and what is added to it, to a tile and its mask.

    The draw depends on the seed alone: the same tile with the same seed comes out the same in
    any process and in any order.

    Args:
        pipeline: A name from :data:`PIPELINES`.
        add: Names from :data:`ADDITIONS`, in the order in which they are applied.

    Raises:
        ConfigError: There is no such pipeline or addition.
    """

    def __init__(self, pipeline: str, add: Sequence[str] = ()) -> None:
        _refuse_unknown(pipeline, PIPELINES, "pipeline=NAME")
        for name in add:
            _refuse_unknown(name, ADDITIONS, "add=['NAME']")
        transforms = [*PIPELINES[pipeline](), *(ADDITIONS[name]() for name in add)]
        # composed for the checks of their arguments alone
        self._transforms = A.Compose(transforms, strict=True).transforms
        self._draws_from_numpy = not all(isinstance(one, PYTHONS) for one in transforms)

    def __call__(
        self, tile: NDArray[np.uint8], mask: NDArray[np.bool_ | np.uint8], seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Augment one tile.

        Args:
            tile: uint8 ``[H, W]``, or in colour ``[H, W, 3]``.
            mask: bool or uint8 ``[H, W]``.
            seed: Any non-negative integer.

        Returns:
            The tile, and the mask as uint8 ``[H, W]`` of the values that it had, contiguous.
        """
        out = self._transformed(seed, image=tile, mask=mask.view(np.uint8))
        return out["image"], out["mask"]

    def of_tile(self, tile: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """Augment a tile that has no mask; otherwise the same."""
        return self._transformed(seed, image=tile)["image"]

    def _transformed(self, seed: int, **given: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
        out = {name: np.ascontiguousarray(array) for name, array in given.items()}
        numpys = np.random.default_rng(seed) if self._draws_from_numpy else None
        pythons = random.Random(seed)
        pythons.random()  # a composition's own draw, of whether it does anything
        # one after the other, as it would: its checks of the arrays take as long as their warps
        for transform in self._transforms:
            # not set_random_seed: it gives every transform the same seed, so that what one draws
            # tells what the others will (albumentations 2.0.8)
            transform.set_random_state(numpys, pythons)
            out = transform(**out)
        return {name: _own(out[name], array) for name, array in given.items()}


def _refuse_unknown(name: str, known: Mapping[str, object], setting: str) -> None:
    if name not in known:
        raise ConfigError(
            f"unknown augmentation '{name}'",
            expected=nearest(name, known),
            next_step=f'--set "augment.{setting}"',
        )


def _own(array: NDArray[np.uint8], given: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Contiguous, writable, and not what was given: a transform may hand that back."""
    return np.array(array) if np.may_share_memory(array, given) else np.ascontiguousarray(array)
