"""Synthetic seismic tiles: sediments, faults and salt, with the mask that goes with them.

The picture follows the convolutional model of reflection seismics: a random log of
reflection coefficients is convolved with a Ricker wavelet (Ricker, 1953) and laid along
folded and faulted horizons. Salt cuts the layers off, bends them upwards, replaces them by a
dim and disordered texture and reflects brightly where its surface lies flat. Coordinates are
pixels, ``z`` downwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]

#: Shares of the tiles with an empty mask; in the others there is salt. A tile wholly inside
#: salt shows no boundary and is therefore labelled empty, as in the competition.
BLANK, SEA_FLOOR, INSIDE_SALT, SEDIMENTS = 0.02, 0.03, 0.04, 0.30
EMPTY = BLANK + SEA_FLOOR + INSIDE_SALT + SEDIMENTS
#: Salt coverage is ``u ** COVERAGE_POWER`` for evenly spread ``u``: mean 0.42 of a salt tile,
#: about 0.25 of all tiles.
COVERAGE_POWER = 1.4


@dataclass(frozen=True)
class Tile:
    """One tile: image uint8 ``[H, W]`` and mask bool ``[H, W]``, true in salt."""

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def draw_tile(rng: np.random.Generator, size: int, position: float) -> Tile:
    """Draw one square tile.

    Args:
        rng: Source of everything random in the tile.
        size: Height and width in pixels.
        position: In ``[0, 1)``; evenly spread positions give the competition's mix of blank,
            empty and salt tiles and its spread of coverage.
    """
    no_salt = np.zeros((size, size), dtype=bool)
    if position < BLANK:
        grey = rng.integers(60, 180) if rng.random() < 0.5 else 0
        return Tile(np.full((size, size), grey, dtype=np.uint8), no_salt)
    wavelength = float(np.exp(rng.uniform(np.log(7.0), np.log(28.0))))
    if position < BLANK + SEA_FLOOR:
        section = _sea_floor(rng, size, wavelength)
        return Tile(_develop(rng, section, wavelength, noisiness=0.1), no_salt)
    if position < BLANK + SEA_FLOOR + INSIDE_SALT:
        section = _salt_texture(rng, size, wavelength)
        return Tile(_develop(rng, section, wavelength), no_salt)
    if position < EMPTY:
        section = _sediments(rng, _stratigraphy(rng, size, wavelength), wavelength)
        return Tile(_develop(rng, section, wavelength), no_salt)
    coverage = ((position - EMPTY) / (1 - EMPTY)) ** COVERAGE_POWER
    mask = _salt_mask(rng, size, coverage)
    return Tile(_develop(rng, _salt_section(rng, mask, wavelength), wavelength), mask)


# Random fields


def _smooth_field(rng: np.random.Generator, size: int, scale: float) -> Field:
    """Gaussian random field of unit variance whose features are about ``scale`` pixels wide."""
    step = max(scale / 3, 1.0)  # a coarse field, enlarged, costs less than a wide blur
    coarse = rng.standard_normal((int(size / step) + 4,) * 2)
    coarse = cv2.GaussianBlur(coarse, (0, 0), scale / step / 2)
    field = cv2.resize(coarse, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
    return _unit(field[:size, :size])


def _speckle(rng: np.random.Generator, size: int, wavelength: float, angle: float) -> Field:
    """Band-limited disorder: white noise through a Gabor filter, streaked along ``angle``."""
    sigma = 0.4 * wavelength
    width = 2 * int(3 * sigma) + 1
    gabor = cv2.getGaborKernel((width, width), sigma, angle + np.pi / 2, wavelength, 0.7, 0.0)
    return _unit(cv2.filter2D(rng.standard_normal((size, size)), -1, gabor - gabor.mean()))


def _unit(field: Field) -> Field:
    return np.asarray((field - field.mean()) / (field.std() + 1e-12))


def _ricker(distance: Field, wavelength: float) -> Field:
    square = (np.pi * distance / wavelength) ** 2
    return np.asarray((1 - 2 * square) * np.exp(-square))


def _grid(size: int) -> tuple[Field, Field]:
    """Coordinates ``x`` and ``z`` of every pixel, from -1 to 1 across the tile."""
    axis = np.linspace(-1.0, 1.0, size)
    x, z = np.meshgrid(axis, axis)
    return x, z


# Sediments


def _stratigraphy(rng: np.random.Generator, size: int, wavelength: float) -> Field:
    """Depth of each pixel in the undisturbed pile of layers, in pixels."""
    depth = _layering(rng, size, wavelength)
    if rng.random() < 0.2:  # an unconformity: older layers of another dip, cut off by younger
        x, z = _grid(size)
        surface = rng.uniform(-0.6, 0.6) + rng.normal(0, 0.25) * x + 0.04 * np.sin(4 * x)
        older = _layering(rng, size, wavelength) + 3 * size
        depth = np.where(z > surface, older, depth)
    return depth


def _layering(rng: np.random.Generator, size: int, wavelength: float) -> Field:
    """Dip, folds and faults of one package of layers."""
    x, z = _grid(size)
    steep = rng.random() < 0.15
    dip = np.deg2rad(rng.uniform(-65, 65) if steep else rng.normal(0, 16))
    depth = size / 2 * (z * np.cos(dip) + x * np.sin(dip))
    for _ in range(2):
        period, phase = rng.uniform(1.5, 6.0), rng.uniform(0, 2 * np.pi)
        growth = 1 + rng.normal(0, 0.4) * z
        depth += rng.uniform(0, 0.05) * size * growth * np.sin(2 * np.pi * x / period + phase)
    for _ in range(rng.choice(4, p=[0.5, 0.25, 0.15, 0.1])):
        lean, place = rng.normal(0, 0.5), rng.uniform(-1, 1)
        side = size / 2 * (x - place - lean * z)  # pixels right of the fault
        depth += rng.normal(0, 1.0) * wavelength * np.clip(side, -0.5, 0.5)
    crinkle = rng.gamma(2.0, 0.07) * wavelength
    return np.asarray(depth + crinkle * _smooth_field(rng, size, 2.2 * wavelength))


def _sediments(rng: np.random.Generator, depth: Field, wavelength: float) -> Field:
    """Reflections along the layers, of unit variance, with changes of facies along them."""
    size = len(depth)
    facies = 0.5 + 0.5 * np.tanh(rng.normal(0, 1.5) + _smooth_field(rng, size, size / 2))
    section = facies * _layers(rng, depth, wavelength)
    section += (1 - facies) * _layers(rng, depth, wavelength * rng.uniform(0.7, 1.2))
    gain = np.exp(rng.uniform(0.1, 0.7) * _smooth_field(rng, size, size / 4))
    blurred = cv2.GaussianBlur(section * gain, (0, 0), 0.5 + 0.04 * wavelength)
    return _unit(blurred)  # migration smears faults: none is sharper than the wavelength allows


def _layers(rng: np.random.Generator, depth: Field, wavelength: float) -> Field:
    """A random reflectivity log, convolved with the wavelet and looked up at ``depth``."""
    low, step = depth.min(), 0.5
    log = rng.standard_normal(int((depth.max() - low) / step) + 2)
    log *= np.abs(log)  # a few strong reflectors among many weak ones
    reach = np.arange(-wavelength, wavelength + step, step)
    trace = np.convolve(log, _ricker(reach, wavelength), mode="same")[: len(log)]
    return _unit(np.interp(depth, low + step * np.arange(len(trace)), trace))


def _sea_floor(rng: np.random.Generator, size: int, wavelength: float) -> Field:
    """Silent water above layers that follow the sea floor, its first and brightest one."""
    x, z = _grid(size)
    relief = 0.15 * _smooth_field(rng, size, size / 2)[0] * x
    floor = rng.uniform(-0.3, 0.8) + rng.normal(0, 0.15) * x + relief
    below = size / 2 * (z - floor)
    layers = _sediments(rng, below + 0.1 * _layering(rng, size, wavelength), wavelength)
    return np.asarray(np.where(below > 0, layers, 0.0) + 2.5 * _ricker(below, wavelength))


# Salt


def _salt_mask(rng: np.random.Generator, size: int, coverage: float) -> NDArray[np.bool_]:
    """The ``coverage`` highest pixels of a random level-set function; never none, never all."""
    shape = _SHAPES[rng.choice(len(_SHAPES), p=_SHAPE_SHARES)]
    level_set = shape(rng, *_grid(size))
    if shape is not _vertical:
        level_set = level_set + rng.uniform(0.02, 0.15) * _smooth_field(rng, size, size / 3)
        level_set += rng.uniform(0.0, 0.035) * _smooth_field(rng, size, size / 12)
    most = 1 - 1.5 / size  # leaves out a column at least, which may be all of one level
    threshold = np.quantile(level_set, 1 - np.clip(coverage, 0.002, most))
    return np.asarray(level_set >= threshold)


#: Level-set function of a kind of salt body: high inside, from the coordinates x and z.
Shape = Callable[[np.random.Generator, Field, Field], Field]


def _dome(rng: np.random.Generator, x: Field, z: Field) -> Field:
    return z + rng.uniform(0.4, 3.0) * (x - rng.uniform(-0.8, 0.8)) ** 2


def _overhang(rng: np.random.Generator, x: Field, z: Field) -> Field:
    """A round head that leans over a narrower neck."""
    x = x - rng.uniform(-0.8, 0.8) - rng.normal(0, 0.3) * z
    crest, height = rng.uniform(-0.9, 0.3), rng.uniform(0.3, 0.6)
    head = rng.uniform(0.2, 0.7) * np.exp(-(((z - crest - height) / height) ** 2))
    sideways, upwards = head - np.abs(x), 1.5 * (z - crest)
    return np.asarray(-0.2 * np.logaddexp(-sideways / 0.2, -upwards / 0.2))  # a soft minimum


def _flank(rng: np.random.Generator, x: Field, z: Field) -> Field:
    side = rng.choice([-1.0, 1.0])
    return np.asarray(side * x + rng.normal(0, 0.5) * z + rng.normal(0, 0.3) * z**2)


def _top(rng: np.random.Generator, x: Field, z: Field) -> Field:
    return np.asarray(z + rng.normal(0, 0.3) * x + 0.1 * np.sin(rng.uniform(2, 9) * x))


def _base(rng: np.random.Generator, x: Field, z: Field) -> Field:
    return -_top(rng, x, z)


def _vertical(rng: np.random.Generator, x: Field, z: Field) -> Field:
    """All rows alike: salt on one side, or in a band."""
    offset = x - rng.uniform(-0.5, 0.5)
    return np.asarray(rng.choice([-1.0, 1.0]) * x if rng.random() < 0.7 else -np.abs(offset))


_SHAPES: list[Shape] = [_dome, _overhang, _flank, _top, _base, _vertical]
_SHAPE_SHARES = [0.22, 0.16, 0.32, 0.16, 0.09, 0.05]


def _salt_section(rng: np.random.Generator, mask: NDArray[np.bool_], wavelength: float) -> Field:
    """Sediments cut off and bent up by the salt, the salt's own texture, and its surface."""
    size = len(mask)
    inside = _depth_inside(mask)
    drag = rng.normal(0.8, 0.6) * wavelength
    upturn = drag * np.exp(np.minimum(inside, 0) / rng.uniform(8, 25))
    sediments = _sediments(rng, _stratigraphy(rng, size, wavelength) + upturn, wavelength)
    loudness = np.exp(rng.normal(np.log(0.4), 0.4))
    salt = loudness * _salt_texture(rng, size, wavelength)
    weight = np.clip(0.5 + inside / rng.uniform(2, 5), 0, 1)
    surface = _surface_reflection(rng, inside, wavelength)
    return np.asarray((1 - weight) * sediments + weight * salt + surface)


def _depth_inside(mask: NDArray[np.bool_]) -> Field:
    """Distance to the boundary in pixels, positive in salt and negative outside."""
    salt = mask.astype(np.uint8)
    inwards = cv2.distanceTransform(salt, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outwards = cv2.distanceTransform(1 - salt, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    signed = (inwards - outwards).astype(np.float64)
    return np.asarray(cv2.GaussianBlur(signed, (0, 0), 1.2))


def _salt_texture(rng: np.random.Generator, size: int, wavelength: float) -> Field:
    """Disorder without layers: two directions of streaks over a slow undulation."""
    scale = wavelength * rng.uniform(0.7, 1.3)
    angle = rng.normal(np.pi / 2, 0.4) if rng.random() < 0.8 else rng.uniform(0, np.pi)
    streaks = _speckle(rng, size, scale, angle)
    streaks += rng.uniform(0.3, 0.9) * _speckle(rng, size, 0.8 * scale, angle + rng.normal(0, 0.4))
    return _unit(streaks + 0.3 * _smooth_field(rng, size, 3 * wavelength))


def _surface_reflection(rng: np.random.Generator, inside: Field, wavelength: float) -> Field:
    """The wavelet along the boundary: bright where it lies flat, reversed at the base of salt."""
    dz, _ = np.gradient(cv2.GaussianBlur(inside, (0, 0), 2.0))
    brightness = rng.gamma(2.0, 1.1) * (0.15 + 0.85 * np.abs(dz))
    polarity = np.clip(3 * dz + rng.normal(0, 0.5), -1, 1)
    patches = np.exp(0.4 * _smooth_field(rng, len(inside), 3 * wavelength))
    offset = rng.normal(0, 0.1) * wavelength
    return np.asarray(brightness * polarity * patches * _ricker(inside - offset, wavelength))


# From a section to a picture


def _develop(
    rng: np.random.Generator, section: Field, wavelength: float, noisiness: float = 1.0
) -> NDArray[np.uint8]:
    """Add noise and turn amplitudes into grey values with a contrast and tone of its own."""
    size = len(section)
    noise = rng.gamma(2.0, 0.12) * _speckle(rng, size, 0.7 * wavelength, rng.normal(0, 0.5))
    if rng.random() < 0.15:  # steep streaks left over from migration
        noise += rng.uniform(0.1, 0.4) * _speckle(rng, size, wavelength, rng.normal(1.57, 0.25))
    noise += rng.gamma(2.0, 0.04) * rng.standard_normal((size, size))
    trend = rng.normal(0, 5) * _smooth_field(rng, size, size)
    contrast = np.exp(rng.normal(np.log(27), 0.28))
    grey = rng.normal(121, 18) + contrast * _unit(section + noisiness * noise) + trend
    return np.asarray(np.clip(np.rint(grey), 0, 255), dtype=np.uint8)
