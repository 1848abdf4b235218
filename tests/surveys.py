"""Small SEG-Y files, regular and not, in every format that is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import segyio
from numpy.typing import NDArray

from tests.sections import draw_section

#: Inline and crossline of a trace.
Place = tuple[int, int]

IBM, INT32, INT16, IEEE, INT8 = 1, 2, 3, 5, 8


def cube(inlines: Iterable[int], crosslines: Iterable[int]) -> list[Place]:
    """Places of a regular survey, sorted by inline."""
    crosslines = list(crosslines)
    return [(inline, crossline) for inline in inlines for crossline in crosslines]


def amplitudes_at(places: Sequence[Place], samples: int = 40) -> NDArray[np.float32]:
    """Smooth amplitudes around 0, float32 ``[N, samples]``, the same for the same place."""
    lines = {place[0] for place in places}
    sections = {one: draw_section(samples, 120, seed=abs(one) % 1000) for one in lines}
    drawn = [sections[inline][:, crossline % 120] for inline, crossline in places]
    return (np.stack(drawn).astype(np.float32) - 128) * 20


def write_survey(
    path: Path,
    places: Sequence[Place],
    amplitudes: NDArray[np.float32] | None = None,
    *,
    code: int = IEEE,
    at: tuple[int, int] = (189, 193),
    byte_order: str = "big",
) -> NDArray[np.float32]:
    """Write a SEG-Y file; every other number of its headers says something, too.

    Args:
        path: The file.
        places: Of its traces, in the file's order.
        amplitudes: float32 ``[N, samples]``; whole numbers hold them divided by 25 and rounded.
        code: Format of the samples.
        at: First bytes of inline and crossline in the headers.
        byte_order: ``big`` or ``little``.

    Returns:
        The amplitudes.
    """
    written = amplitudes_at(places) if amplitudes is None else amplitudes
    spec = segyio.spec()
    spec.samples, spec.tracecount = np.arange(written.shape[1]) * 4, len(places)
    spec.format, spec.endian, spec.ext_headers = code, byte_order, 1
    path.parent.mkdir(parents=True, exist_ok=True)
    with segyio.create(path, spec) as file:
        file.text[0] = "C01 A SURVEY OF NOTHING".ljust(3200)
        file.bin[segyio.BinField.Interval] = 4000
        for number, ((inline, crossline), trace) in enumerate(zip(places, written, strict=True)):
            file.header[number] = {115: written.shape[1], 1: number + 1, 181: 7 * number, 231: 3}
            file.header[number].update({at[0]: inline, at[1]: crossline})
            whole = np.issubdtype(file.dtype, np.integer)
            file.trace[number] = (np.rint(trace / 25) if whole else trace).astype(file.dtype)
    return written


def read_samples(path: Path) -> NDArray[np.float64]:
    """Samples of a big-endian file of floats, decoded by hand; float64 ``[N, samples]``."""
    data = path.read_bytes()
    samples, code = (int.from_bytes(data[at : at + 2], "big") for at in (3220, 3224))
    start = 3600 + 3200 * int.from_bytes(data[3504:3506], "big")
    traces = np.frombuffer(data[start:], np.uint8).reshape(-1, 240 + 4 * samples)[:, 240:]
    words = np.ascontiguousarray(traces).view(">u4")
    if code == IEEE:
        return words.view(">f4").astype(np.float64)
    sign = np.where(words >> 31, -1.0, 1.0)  # IBM: base 16, an excess of 64, no hidden bit
    exponent = (words >> 24 & 127).astype(np.float64) - 64
    return sign * (words & 0xFFFFFF) / 2**24 * 16.0**exponent


def headers_of(path: Path, width: int = 4) -> list[bytes]:
    """Everything but samples: the file's own headers, and that of each trace."""
    data = path.read_bytes()
    order = "big" if data[3224] == 0 else "little"
    samples = int.from_bytes(data[3220:3222], order)
    start = 3600 + 3200 * int.from_bytes(data[3504:3506], order)
    step = 240 + width * samples
    places = range(start, len(data), step)
    return [data[:start], *(data[at : at + 240] for at in places)]
