"""SEG-Y files, read trace by trace: what their headers say, and amplitudes as levels.

The layout is that of SEG-Y revision 1 (SEG Technical Standards Committee, 2002): 3200 bytes of
text, 400 of binary header, and traces of 240 bytes of header each and samples of one format. Bytes
of headers are counted from 1, those of the binary header from the file's beginning.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.errors import ConfigError, DataError, reason

#: Endings of the files that are taken for surveys.
SUFFIXES = (".sgy", ".segy")

#: Formats of samples by their code, in bytes 3225-3226.
FORMATS = {
    1: "IBM float", 2: "int32", 3: "int16", 5: "IEEE float", 8: "int8",
}  # fmt: skip

#: Traces, evenly spread over the file, whose amplitudes are looked at to tell dark from light.
SAMPLED_TRACES = 1000

#: These percentiles of the sampled amplitudes become these levels: what they are in the tiles of
#: the challenge (measured on 800 of its training tiles, without what is black).
PERCENTILES = (0.5, 99.5)
LEVELS = (28, 227)

#: Traces that are in memory as amplitudes, at most.
_TRACES_AT_ONCE = 256

_HEADERS = 3600
_WHOLE_FILE = "copy the file again, or save it as SEG-Y of revision 1"

ByteOrder = Literal["big", "little"]


@dataclass(frozen=True)
class Amplitudes:
    """Which amplitudes are dark and which light, the same for a whole survey.

    Args:
        low: Becomes the first of :data:`LEVELS`.
        high: Becomes the second; those between and beyond go evenly, and are cut off at 0 and 255.
    """

    low: float
    high: float

    def levels(self, amplitudes: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Amplitudes as uint8, of the same shape."""
        dark, light = LEVELS
        slope = (light - dark) / (self.high - self.low)
        # in float64: the difference of two large amplitudes may not be held by float32
        levels = dark + (amplitudes.astype(np.float64) - self.low) * slope
        return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Survey:
    """An open SEG-Y file. Nothing is known of its geometry: it is a number of traces.

    Args:
        path: The file.
        byte_order: Of its numbers.
        traces: How many there are.
        samples: Of each trace.
        file: segyio's.
    """

    path: Path
    byte_order: ByteOrder
    traces: int
    samples: int
    file: Any

    def header_word(self, byte: int) -> NDArray[np.int32]:
        """A number of every trace's header.

        Args:
            byte: Its first byte, counted from 1.

        Returns:
            int32 ``[traces]``.

        Raises:
            ConfigError: The standard has no number that begins there.
        """
        from segyio import TraceField

        known = {int(field) for field in TraceField.enums()}
        if byte not in known:
            raise ConfigError(
                f"no number of a trace's header begins at byte {byte}",
                expected="the first byte of one, as 189 and 193, 9 and 21, or 233 and 237",
                next_step="--inline-byte and --xline-byte, as the survey's text header says",
            )
        words: NDArray[np.int32] = self.file.attributes(byte)[:].astype(np.int32)
        return words

    def amplitudes(self, traces: NDArray[np.int64]) -> NDArray[np.float32]:
        """Amplitudes of some traces; what is no number is 0.

        Args:
            traces: Places in the file, ``[N]``, counted from 0.

        Returns:
            float32 ``[N, samples]``.

        Raises:
            DataError: They cannot be read.
        """
        read = np.empty((len(traces), self.samples), dtype=np.float32)
        try:
            for row, trace in zip(read, traces, strict=True):
                row[:] = self.file.trace.raw[int(trace)]
        except (OSError, RuntimeError) as error:
            raise _damaged(self.path, reason(error)) from error
        return np.nan_to_num(read, copy=False, nan=0.0, posinf=0.0, neginf=0.0)

    def sample_amplitudes(self) -> Amplitudes:
        """Look at some traces of the whole survey, without what is exactly 0: that is padding.

        Raises:
            DataError: No amplitude differs from 0, or all of them are alike.
        """
        count = min(self.traces, SAMPLED_TRACES)
        places = np.linspace(0, self.traces - 1, count).round().astype(np.int64)
        parts = np.array_split(places, -(-count // _TRACES_AT_ONCE))
        sampled = [part[part != 0] for part in map(self.amplitudes, parts)]
        seen = np.concatenate(sampled)
        low, high = np.percentile(seen, PERCENTILES) if len(seen) else (0.0, 0.0)
        if not high > low:
            raise DataError(
                f"{self.path} holds no amplitudes: {count} of its {self.traces} traces are "
                + ("empty" if not len(seen) else f"{low:g} throughout"),
                expected="a survey whose amplitudes differ",
                next_step="choose another file",
            )
        return Amplitudes(float(low), float(high))


@dataclass(frozen=True, eq=False)
class LineSection:
    """A line of a survey as a picture: time or depth runs downwards, its traces side by side.

    Args:
        levels: uint8 ``[samples, N]``.
        dead: bool ``[N]``: traces that hold nothing but zeros and what is no number.
    """

    levels: NDArray[np.uint8]
    dead: NDArray[np.bool_]

    coloured = False

    @property
    def height(self) -> int:
        return int(self.levels.shape[0])

    @property
    def width(self) -> int:
        return int(self.levels.shape[1])

    def rows(self, start: int, stop: int) -> NDArray[np.uint8]:
        return self.levels[start:stop]


def read_line(survey: Survey, traces: NDArray[np.int64], amplitudes: Amplitudes) -> LineSection:
    """Read the traces of one line, in this order; see :meth:`Survey.amplitudes`."""
    levels = np.empty((survey.samples, len(traces)), dtype=np.uint8)
    dead = np.empty(len(traces), dtype=np.bool_)
    for start in range(0, len(traces), _TRACES_AT_ONCE):
        part = slice(start, start + _TRACES_AT_ONCE)
        read = survey.amplitudes(traces[part])
        levels[:, part] = amplitudes.levels(read).T
        dead[part] = ~read.any(axis=1)
    return LineSection(levels, dead)


def require_segyio() -> None:
    """Refuse to go on without the extra.

    Raises:
        ConfigError: segyio is not installed.
    """
    if find_spec("segyio") is None:
        raise ConfigError(
            "segyio is not installed",
            expected="the package that reads SEG-Y",
            next_step="pip install 'kaggle-salt[segy]'",
        )


@contextmanager
def open_survey(path: Path) -> Iterator[Survey]:
    """Open a SEG-Y file to read, whatever order its traces are in.

    Raises:
        ConfigError: segyio is not installed.
        DataError: The file is missing, no SEG-Y, of another format than :data:`FORMATS`, or
            truncated.
    """
    require_segyio()
    order = _checked_order(path)
    with open_traces(path, "r", order) as file:
        yield Survey(path, order, file.tracecount, len(file.samples), file)


@contextmanager
def open_traces(path: Path, mode: Literal["r", "r+"], byte_order: ByteOrder) -> Iterator[Any]:
    """Open a file without geometry: segyio knows that of regular and sorted surveys only.

    Raises:
        DataError: segyio refuses it.
    """
    import segyio

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            file = segyio.open(path, mode, ignore_geometry=True, endian=byte_order)
        except (RuntimeError, OSError, ValueError, IndexError, UserWarning) as error:
            raise _damaged(path, reason(error)) from error
    with file:
        yield file


def _checked_order(path: Path) -> ByteOrder:
    """The byte order of a file whose binary header makes sense.

    Raises:
        DataError: It does not, or there is none.
    """
    if not path.is_file():
        raise DataError(
            f"there is no file {path}",
            expected=f"a SEG-Y file, which ends with {' or '.join(SUFFIXES)}",
            next_step="correct the path",
        )
    with path.open("rb") as file:
        header = file.read(_HEADERS)
    if len(header) < _HEADERS:
        raise _damaged(path, f"it has {len(header)} bytes, its headers alone would have {_HEADERS}")
    orders: tuple[ByteOrder, ByteOrder] = ("big", "little")
    codes = [int.from_bytes(header[3224:3226], order) for order in orders]
    found = [order for order, code in zip(orders, codes, strict=True) if code in FORMATS]
    if not found:
        raise DataError(
            f"{path} is no SEG-Y, or of a format that cannot be read (code {codes[0]} in bytes "
            "3225-3226)",
            expected=", ".join(f"{code} ({name})" for code, name in FORMATS.items()),
            next_step="save it as SEG-Y of IEEE floats",
        )
    if not int.from_bytes(header[3220:3222], found[0]):
        raise _damaged(path, "bytes 3221-3222 say that its traces have no samples")
    return found[0]


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"{path} ({path.stat().st_size} bytes) is truncated or damaged: {why}",
        expected="headers of 3600 bytes and whole traces, all of the same length",
        next_step=_WHOLE_FILE,
    )
