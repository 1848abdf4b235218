"""Run-length strings as Kaggle reads them.

A mask becomes pairs ``start length`` separated by spaces. Pixels are numbered from 1 down
the columns, the leftmost column first; an empty mask is the empty string.

Source: https://www.kaggle.com/c/tgs-salt-identification-challenge/overview/evaluation
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.masks import Masks, as_bool
from kaggle_salt.errors import RleError
from kaggle_salt.predictions import blocks

#: Masks are encoded this many pixels at a time, which bounds the working memory; larger
#: blocks fall out of the cache and are slower.
BLOCK_PIXELS = 1 << 20

#: Tiles of more pixels have their numbers written one by one: a table would be too large.
LARGEST_TABLE = 1 << 16

#: ``int()`` would also take "1_0", other scripts' digits, and give up beyond 4300 digits.
_INTEGER = re.compile(r"-?[0-9]{1,18}")


def encode(mask: Masks) -> str:
    """Turn one mask into its run-length string.

    Args:
        mask: bool ``[H, W]``, True is salt; or uint8, 1 is salt and 0 is not.

    Returns:
        The runs, ``""`` for an empty mask.

    Raises:
        RleError: The mask is no such array of two dimensions.
    """
    return encode_batch(mask[np.newaxis])[0]


def encode_batch(masks: Masks) -> list[str]:
    """Turn many masks into run-length strings, all pixels of a block at once.

    Args:
        masks: bool ``[N, H, W]``, or uint8 of 0 and 1, as for :func:`encode`. May be
            memory-mapped.

    Returns:
        One string per mask, in order.

    Raises:
        RleError: The masks are no such array of three dimensions.
    """
    masks = as_bool(masks, "masks to encode", error=RleError)
    texts: list[str] = []
    for block in blocks(masks, pixels=BLOCK_PIXELS):
        texts += _encode_block(masks[block])
    return texts


def _encode_block(masks: NDArray[np.bool_]) -> list[str]:
    count, height, width = masks.shape
    pixels = height * width
    if not pixels:
        return [""] * count
    # rows of pixels are compared whole, as they lie in memory; turning masks takes longer
    edges = np.empty_like(masks)  # where a pixel differs from the one before it
    np.not_equal(masks[:, 1:], masks[:, :-1], out=edges[:, 1:])
    np.not_equal(masks[:, 0, 1:], masks[:, -1, :-1], out=edges[:, 0, 1:])
    edges[:, 0, 0] = masks[:, 0, 0]
    tile, place = np.divmod(np.flatnonzero(edges), pixels)
    row, column = np.divmod(place, width)

    period = pixels + 1  # one more background pixel after each mask, which ends its last run
    last = np.flatnonzero(masks[:, -1, -1])
    ends = np.concatenate([tile * period + column * height + row, last * period + pixels])
    ends.sort()  # starts and ends of the runs, in turn
    tile_of_run, offset = np.divmod(ends[::2], period)
    numbers = np.stack([offset + 1, ends[1::2] - ends[::2]], axis=1).ravel()

    known = pixels < LARGEST_TABLE
    words = (_numerals(pixels + 1)[numbers] if known else numbers.astype(str)).tolist()
    first_run = np.searchsorted(tile_of_run, np.arange(count + 1))
    return [" ".join(words[a:b]) for a, b in pairwise((2 * first_run).tolist())]


@functools.cache
def _numerals(count: int) -> NDArray[np.object_]:
    """The numbers below ``count`` as text: to look one up is faster than to write it."""
    return np.array([str(number) for number in range(count)], dtype=object)


def decode(text: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Turn a run-length string back into its mask.

    Args:
        text: Pairs ``start length``, or ``""``.
        shape: ``(H, W)`` of the mask.

    Returns:
        bool ``[H, W]``.

    Raises:
        RleError: The string has an odd number of words, a word that is no integer, a run of
            zero or negative length, runs that overlap or go backwards, or a run outside the
            tile. The message numbers the run from 1.
    """
    height, width = shape
    pixels = np.zeros(height * width, dtype=np.bool_)
    free = 0  # where the next run may begin, counted from 0
    for run, (start, length) in enumerate(_runs(text, pixels.size), start=1):
        first, end = start - 1, start - 1 + length
        if length <= 0:
            raise _bad_run(run, f"has length {length}", "a length of at least 1")
        if first < 0 or end > pixels.size:
            raise _bad_run(
                run, f"covers pixels {start} to {end}", f"pixels 1 to {height * width} of the tile"
            )
        if first < free:
            raise _bad_run(
                run,
                f"starts at pixel {start}, the run before it ends at pixel {free}",
                "runs in ascending order that do not overlap",
            )
        pixels[first:end] = True
        free = end
    return pixels.reshape(width, height).T.copy()  # column-major, hence the swapped axes


def _runs(text: str, most: int) -> Iterator[tuple[int, int]]:
    """Pairs ``(start, length)`` of a run-length string, which has at most so many of them."""
    if not isinstance(text, str):
        raise RleError(
            f"a run-length string is {text!r}",
            expected="text, empty for an empty mask",
            next_step="read the CSV with keep_default_na=False",
        )
    words = text.split(maxsplit=2 * most)
    if len(words) > 2 * most:
        raise _bad_run(most + 1, "is one more than there are pixels", f"at most {most} runs")
    for place, word in enumerate(words):
        if not _INTEGER.fullmatch(word):
            raise _bad_run(place // 2 + 1, f"holds '{word[:40]}'", "whole numbers")
    if len(words) % 2:
        raise _bad_run(
            len(words) // 2 + 1, f"has a start, {words[-1]}, but no length", "pairs 'start length'"
        )
    numbers = map(int, words)
    return zip(numbers, numbers, strict=True)


def _bad_run(run: int, found: str, expected: str) -> RleError:
    return RleError(f"run {run} of a run-length string {found}", expected=expected)
