"""Many PNG files into arrays of pixels, on every core, with every bad file named."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import NDArray

from kaggle_salt.competition.archive import GET_ANEW, Archive, Kind
from kaggle_salt.competition.png import Grey, read_grey
from kaggle_salt.errors import DataError
from kaggle_salt.predictions import release

#: Called with the number of files decoded so far and the number there are.
Progress = Callable[[int, int], None]

#: Files that a thread decodes in one go: enough to make handing them out cost nothing.
BLOCK = 64
MAX_FAULTS_SHOWN = 10


@dataclass(frozen=True)
class Stack:
    """An array to fill: from which files, and what becomes of their grey levels.

    Args:
        archive: Where the files are.
        kind: Images or masks.
        ids: Tiles, one per row of ``out``.
        convert: From grey levels uint8 or uint16 ``[H, W]`` and a file name to a row.
        out: ``[N, H, W]``, filled by :func:`decode`.
    """

    archive: Archive
    kind: Kind
    ids: Sequence[str]
    convert: Callable[[Grey, str], NDArray[Any]]
    out: NDArray[Any]


def decode(stacks: Mapping[str, Stack], first: str, progress: Progress) -> dict[str, Counter[str]]:
    """Fill the arrays of all stacks.

    OpenCV and zlib work without the interpreter's lock, so threads share the work.

    Args:
        stacks: What to fill, by name.
        first: Name of the file that set the size of a tile, for messages.
        progress: Told after every block of files.

    Returns:
        PNG modes and how many files have each, by name of the stack.

    Raises:
        DataError: Files are damaged or do not fit; they are named together.
    """
    modes = {name: Counter[str]() for name in stacks}
    faults: list[DataError] = []
    done, total = 0, sum(len(stack.ids) for stack in stacks.values())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, stack in stacks.items():
            rows = range(len(stack.ids))
            blocks = [rows[start : start + BLOCK] for start in rows[::BLOCK]]
            results = pool.map(partial(_decode_block, stack, first), blocks)
            for block, (block_modes, block_faults) in zip(blocks, results, strict=True):
                modes[name] += block_modes
                faults += block_faults
                done += len(block)
                release(stack.out)
                progress(done, total)
    _refuse(faults)
    return modes


def _decode_block(stack: Stack, first: str, rows: range) -> tuple[Counter[str], list[DataError]]:
    """Fill some rows of an array; give the PNG modes met and what was wrong."""
    modes: Counter[str] = Counter()
    faults = []
    for row in rows:
        tile = stack.ids[row]
        name = stack.archive.name(stack.kind, tile)
        try:
            grey, mode = read_grey(stack.archive.read(stack.kind, tile), name)
            _require_shape(grey, name, stack.out.shape[1:], first)
            stack.out[row] = stack.convert(grey, name)
            modes[mode] += 1
        except DataError as fault:
            faults.append(fault)
    return modes, faults


def _require_shape(grey: Grey, name: str, shape: tuple[int, ...], first: str) -> None:
    if grey.shape != shape:
        raise DataError(
            f"{name} has {grey.shape[0]}x{grey.shape[1]} pixels",
            expected=f"{shape[0]}x{shape[1]} pixels, as {first}",
            next_step=GET_ANEW,
        )


def _refuse(faults: Sequence[DataError]) -> None:
    """Raise the faults, if there are any, as one error."""
    if len(faults) == 1:
        raise faults[0]
    if faults:
        shown = [fault.found for fault in faults[:MAX_FAULTS_SHOWN]]
        if len(faults) > MAX_FAULTS_SHOWN:
            shown.append(f"and {len(faults) - MAX_FAULTS_SHOWN} more files")
        expected = "; ".join(dict.fromkeys(fault.expected for fault in faults))
        raise DataError("\n".join(shown), expected=expected, next_step=GET_ANEW)
