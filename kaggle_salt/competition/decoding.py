"""Many picture files into arrays of pixels, on every core, with every bad file named."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.archive import GET_ANEW, ROLES, Role
from kaggle_salt.competition.faults import Fault, Sort
from kaggle_salt.competition.pixels import (
    METADATA,
    Picture,
    Pixels,
    is_coloured,
    largest_file,
    open_picture,
    stated_shape,
    to_coloured_tile,
    to_mask,
    to_tile,
)
from kaggle_salt.competition.source import Source
from kaggle_salt.errors import DataError
from kaggle_salt.predictions import release

#: Called with the number of files decoded so far and the number there are.
Progress = Callable[[int, int], None]

#: Files that a thread decodes in one go: enough to make handing them out cost nothing.
BLOCK = 64

#: Files of each role that are looked at before the others, to guess what all are like.
SAMPLE = 8


@dataclass(frozen=True)
class Form:
    """What all tiles of a competition are like.

    Args:
        shape: Height and width in pixels.
        coloured: Red, green and blue differ somewhere; else tiles are grey.
        example: Name of a file of this size, for messages.
    """

    shape: tuple[int, int]
    coloured: bool
    example: str

    @property
    def tile_shape(self) -> tuple[int, ...]:
        """Shape of a tile's pixels: ``(H, W)``, or ``(H, W, 3)``."""
        return (*self.shape, 3) if self.coloured else self.shape


@dataclass
class Decoded:
    """What was met while files were decoded.

    Args:
        modes: Picture modes and how many files have each, by role.
        mask_levels: The highest level of a mask and how many masks have it; nothing where a
            threshold tells what salt is.
        coloured: Number of images, training and test, that are not grey.
        sizes: Number of such images of each size.
        examples: Name of the first file of each size.
        lost: Ids whose row holds no pixels, by role.
        faults: Why.
    """

    modes: dict[Role, Counter[str]] = field(default_factory=lambda: {r: Counter() for r in ROLES})
    mask_levels: Counter[int] = field(default_factory=Counter)
    coloured: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    examples: dict[tuple[int, int], str] = field(default_factory=dict)
    lost: dict[Role, set[str]] = field(default_factory=lambda: {role: set() for role in ROLES})
    faults: list[Fault] = field(default_factory=list)

    def add(self, other: Decoded) -> None:
        """Take in what was met in another block of files."""
        for role in ROLES:
            self.modes[role] += other.modes[role]
            self.lost[role] |= other.lost[role]
        self.mask_levels += other.mask_levels
        self.coloured += other.coloured
        self.sizes += other.sizes
        self.examples = other.examples | self.examples
        self.faults += other.faults

    def add_size(self, shape: tuple[int, int] | None, name: str) -> None:
        """Take note of an image's size, where there is one."""
        if shape is not None:
            self.sizes[shape] += 1
            self.examples.setdefault(shape, name)

    @property
    def form(self) -> Form:
        """The size of most images, and whether one of them is coloured."""
        shape = max(self.sizes, key=self.sizes.__getitem__) if self.sizes else (1, 1)
        return Form(shape, self.coloured > 0, self.examples.get(shape, ""))


def guess_form(source: Source) -> Form:
    """What tiles are like, from a few of them, spread over all.

    Their size is read from their headers; only those that have the size of most are unpacked.
    """
    sample: list[tuple[Role, str]] = [
        (role, tile)
        for role in ROLES if role != "masks"
        for tile in source.ids[role][:: max(1, len(source.ids[role]) // SAMPLE)]
    ]  # fmt: skip
    stated, met = Decoded(), Decoded()
    for role, tile in sample:
        files = source.files[role]
        name = files.name(tile)
        with suppress(DataError):  # told when all are decoded
            stated.add_size(stated_shape(files.read(tile, METADATA), name), name)
    for role, tile in sample:
        _decode_file(source, role, tile, stated.form, met)
    return replace(stated.form, coloured=met.coloured > 0)


def decode(
    source: Source, form: Form, arrays: Mapping[Role, NDArray[Any]], progress: Progress
) -> Decoded:
    """Decode every file into its row; stop at once when a coloured tile does not fit in.

    OpenCV and zlib work without the interpreter's lock, so threads share the work.

    Args:
        source: The files.
        form: What tiles are thought to be like; :attr:`Decoded.form` says what they are.
        arrays: ``[N, *form.tile_shape]`` for images and test, ``[N, H, W]`` for masks.
        progress: Told after every block of files.
    """
    met = Decoded()
    done, total = 0, sum(map(len, source.ids.values()))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for role in ROLES:
            rows = range(len(source.ids[role]))
            blocks = [rows[start : start + BLOCK] for start in rows[::BLOCK]]
            work = partial(_decode_block, source, role, form, arrays[role])
            for block, of_block in zip(blocks, pool.map(work, blocks), strict=True):
                met.add(of_block)
                done += len(block)
                release(arrays[role])
                if met.coloured and not form.coloured:
                    pool.shutdown(cancel_futures=True)
                    return met
                progress(done, total)
    return met


def _decode_block(
    source: Source, role: Role, form: Form, out: NDArray[Any], rows: range
) -> Decoded:
    met = Decoded()
    for row in rows:
        values = _decode_file(source, role, source.ids[role][row], form, met)
        if values is not None:
            out[row] = values
    return met


def _decode_file(
    source: Source, role: Role, tile: str, form: Form, met: Decoded
) -> NDArray[Any] | None:
    """One row of an array, or None; ``met`` is told what was met."""
    name = source.files[role].name(tile)
    try:
        picture = _open(source, role, tile, form)
        if role != "masks":
            met.add_size(picture.shape, name)
        if picture.shape != form.shape:  # not unpacked: it may be of any size
            met.faults.append(_odd_size(tile, name, picture.shape, form))
            met.lost[role].add(tile)
            return None
        pixels = picture.decode()
    except DataError as error:
        met.faults.append(Fault.of(Sort.UNREADABLE, tile, error))
        met.lost[role].add(tile)
        return None
    met.modes[role][picture.mode] += 1
    if role == "masks":
        return _mask(source, tile, pixels, picture.mode, met)
    met.coloured += is_coloured(pixels)
    return to_coloured_tile(pixels) if form.coloured else to_tile(pixels)


def _open(source: Source, role: Role, tile: str, form: Form) -> Picture:
    """A tile's file, of which no more is read than a tile can take."""
    files, limit = source.files[role], largest_file(form.shape)
    data = files.read(tile, limit + 1)
    if len(data) <= limit:
        return open_picture(data, files.name(tile))
    shape = stated_shape(data, files.name(tile))
    if shape is None or shape == form.shape:
        raise DataError(
            f"{files.name(tile)} has more than {limit} bytes",
            expected=f"a tile of {form.shape[0]}x{form.shape[1]} pixels",
            next_step=GET_ANEW,
        )
    return Picture(data, files.name(tile), "", shape)  # its size is all that will be asked


def _mask(
    source: Source, tile: str, pixels: Pixels, mode: str, met: Decoded
) -> NDArray[np.bool_] | None:
    name = source.files["masks"].name(tile)
    lossy = mode.startswith("JPEG")
    try:
        mask = to_mask(pixels, name, threshold=source.threshold, lossy=lossy)
    except DataError as error:
        met.faults.append(Fault.of(Sort.MASK_LEVELS, tile, error))
        met.lost["masks"].add(tile)
        return None
    if source.threshold is None:
        met.mask_levels[int(pixels.max())] += 1
    return mask


def _odd_size(tile: str, name: str, shape: tuple[int, int], form: Form) -> Fault:
    return Fault(
        Sort.SIZE, (tile,), f"{name} has {shape[0]}x{shape[1]} pixels",
        f"{form.shape[0]}x{form.shape[1]} pixels, as {form.example}",
    )  # fmt: skip
