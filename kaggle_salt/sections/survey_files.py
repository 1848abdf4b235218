"""What is written of a survey: its predicted lines one by one, and in the end a SEG-Y of them.

Every line is a file of its own, written whole or not at all, in a folder whose document says what
the lines are made of. So whatever is interrupted goes on, and lines may be predicted by several
machines at once. The SEG-Y is a copy of the survey, every header byte kept, in whose traces the
lines' probabilities are written.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.sections.segy import Survey, open_traces
from kaggle_salt.sections.survey_lines import Line
from kaggle_salt.storage.files import atomic_path, read_json, write_json
from kaggle_salt.storage.writing import clear_leftovers

#: In the folder of the lines, what they are made of.
MADE_OF = "made-of.json"

#: Levels less this fit every format of samples, int8 among them, and exactly.
_MIDDLE = 128

#: What probability 1 is in formats of whole numbers: per cent.
PER_CENT = 100


@dataclass(frozen=True)
class SurveyFiles:
    """Where the results of a survey lie.

    Args:
        probability: SEG-Y, the survey with probabilities as samples.
        document: JSON that says what it was made of.
        lines: Folder of the predicted lines; it goes when the SEG-Y is written.
    """

    probability: Path
    document: Path
    lines: Path

    @classmethod
    def of(cls, survey: Path, out: Path) -> Self:
        """Where the results of a survey go."""
        name = f"{survey.stem}-probability"
        return cls(out / f"{name}{survey.suffix}", out / f"{name}.json", out / f"{name}.lines")

    def begin(self, made_of: Mapping[str, Any], *, overwrite: bool) -> None:
        """Start the folder of the lines, or go on with it where it was left.

        Args:
            made_of: What the lines are made of; JSON values.
            overwrite: A SEG-Y that is there will be replaced; remove lines that were made of
                something else.

        Raises:
            ConfigError: There is one, or there are such lines, and they must stay.
        """
        if self.probability.exists() and not overwrite:
            raise ConfigError(
                f"{self.probability} exists already",
                expected="a folder without a result of this survey",
                next_step="--out FOLDER, or --overwrite to replace it",
            )
        clear_leftovers(self.lines)
        document = self.lines / MADE_OF
        if self.lines.exists():
            if (found := _told(document)) == made_of:
                return
            if not overwrite:
                differing = [key for key in made_of if found.get(key) != made_of[key]]
                raise ConfigError(
                    f"{self.lines} holds lines that were predicted with other settings: "
                    + ", ".join(differing),
                    expected="the same settings, to go on where it stopped",
                    next_step="give them again, or --out FOLDER; --overwrite removes these lines",
                )
            shutil.rmtree(self.lines)
        write_json(document, made_of)

    def line(self, line: Line) -> Path:
        """The file of a line: a byte for each sample, probability = level / 255, trace by trace."""
        return self.lines / f"{line.name}.u8"

    def has(self, line: Line, samples: int) -> bool:
        """Whether a line is predicted."""
        path = self.line(line)
        return path.exists() and path.stat().st_size == len(line.traces) * samples

    def write_line(self, line: Line, levels: NDArray[np.uint8]) -> None:
        """Write the probabilities of a line, uint8 ``[samples, N]``."""
        with atomic_path(self.line(line), tidy=False) as temporary:  # one of many
            np.ascontiguousarray(levels.T).tofile(temporary)

    def read_line(self, line: Line) -> NDArray[np.uint8]:
        """Read the probabilities of a line, uint8 ``[N, samples]``."""
        return np.fromfile(self.line(line), dtype=np.uint8).reshape(len(line.traces), -1)


def _told(document: Path) -> dict[str, Any]:
    try:
        return read_json(document)
    except DataError:
        return {}  # missing or damaged: it vouches for nothing


def write_probabilities(
    path: Path,
    survey: Survey,
    files: SurveyFiles,
    directions: Sequence[Sequence[Line]],
    level: int,
    progress: Callable[[int, int], None],
) -> float:
    """Copy a survey, and write the probabilities of its lines into the copy's traces.

    Floats hold the probability, whole numbers per cent. Of two directions it is the mean.

    Args:
        path: The copy.
        survey: The survey.
        files: Where the lines are.
        directions: All lines of one direction, or of two.
        level: A sample is salt where 255 times its probability is above it.
        progress: Called with (lines written, all lines).

    Returns:
        Share of the samples that are salt.
    """
    shutil.copyfile(survey.path, path)
    salt, done, total = 0, 0, sum(map(len, directions))
    with open_traces(path, "r+", survey.byte_order) as file:
        for passed, lines in enumerate(directions):
            last = passed == len(directions) - 1
            for line in lines:
                levels = files.read_line(line).astype(np.float32)
                if passed:
                    levels = (levels + _read(file, line) + _MIDDLE) / 2
                salt += int(np.count_nonzero(levels > level)) if last else 0
                _write(file, line, _as_samples(levels, file.dtype) if last else levels - _MIDDLE)
                done += 1
                progress(done, total)
    return salt / (survey.traces * survey.samples)


def _as_samples(levels: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    if np.issubdtype(dtype, np.integer):
        return np.asarray(np.rint(levels * (PER_CENT / 255)))
    return levels / 255


def _read(file: Any, line: Line) -> NDArray[Any]:
    return np.stack([file.trace.raw[int(trace)] for trace in line.traces])


def _write(file: Any, line: Line, samples: NDArray[Any]) -> None:
    """Write traces, from a copy: segyio rounds in place what it writes as IBM floats."""
    for trace, values in zip(line.traces, samples.astype(file.dtype), strict=True):
        file.trace[int(trace)] = values
