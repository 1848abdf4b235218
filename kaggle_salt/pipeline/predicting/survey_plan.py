"""How a survey will be predicted: what is looked at, and refused, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kaggle_salt.errors import DataError
from kaggle_salt.learning.fold import read_summary
from kaggle_salt.pipeline.parts import part_of
from kaggle_salt.pipeline.predicting.finished import FinishedRun
from kaggle_salt.pipeline.workspace import Listener
from kaggle_salt.sections.segy import LEVELS, PERCENTILES, Amplitudes, Survey
from kaggle_salt.sections.survey_files import SurveyFiles
from kaggle_salt.sections.survey_lines import Along, Direction, Line, Numbers, choose_directions
from kaggle_salt.sections.tiling import Grid
from kaggle_salt.storage.files import bytes_hash

#: First bytes of the numbers of inline and crossline in a trace's header (SEG-Y revision 1).
INLINE_BYTE, CROSSLINE_BYTE = 189, 193

#: Samples that a line may have: it is in memory, a byte for each and another for its probability.
MOST_SAMPLES = 2**30


@dataclass(frozen=True, eq=False)
class SurveyPlan:
    """A survey that is open, and how to go through it.

    Args:
        survey: The survey.
        files: Where the results go.
        finished: Whose networks predict.
        directions: All lines, by their direction.
        amplitudes: Which are dark and which light.
        overlap: Share of a tile that the next one sees too.
        made_of: All that would make the predicted lines others, in JSON values.
    """

    survey: Survey
    files: SurveyFiles
    finished: FinishedRun
    directions: Mapping[Direction, Sequence[Line]]
    amplitudes: Amplitudes
    overlap: float
    made_of: dict[str, Any]

    @property
    def lines(self) -> list[Line]:
        return [line for lines in self.directions.values() for line in lines]

    def part(self, part: int, parts: int) -> list[Line]:
        """A part of the lines; see :func:`kaggle_salt.pipeline.parts.part_of`."""
        lines = self.lines
        return lines[part_of([len(line.traces) for line in lines], part, parts)]

    def missing(self, lines: Sequence[Line]) -> list[Line]:
        return [line for line in lines if not self.files.has(line, self.survey.samples)]


def plan_survey(
    survey: Survey,
    files: SurveyFiles,
    finished: FinishedRun,
    along: Along | None,
    header_bytes: tuple[int, int],
    overlap: float,
    listener: Listener,
) -> SurveyPlan:
    """Look at a survey, and refuse what cannot be predicted before anything is written.

    Args:
        survey: The survey.
        files: Where the results go.
        finished: Whose networks predict.
        along: Lines to predict, ``both`` being averaged; by default those that are there.
        header_bytes: Where inline and crossline numbers are in the headers.
        overlap: Share of a tile that the next one sees too, from 0 to below 1.
        listener: Told what is not as it may seem.

    Raises:
        ConfigError: The overlap is none, no number is there in the headers, or no such lines.
        DataError: A line is too long, or the survey holds no amplitudes.
    """
    Grid((survey.samples, 1), finished.tile_shape, overlap)  # refuses an overlap that is none
    numbers = Numbers(*map(survey.header_word, header_bytes))
    directions = choose_directions(numbers.directions(), along)
    lines = {one: list(numbers.lines(one)) for one in directions}
    _tell(survey, numbers, lines, header_bytes, listener)
    amplitudes = survey.sample_amplitudes()
    made_of = _made_of(survey, numbers, amplitudes, finished)
    made_of |= {"along": list(directions), "overlap": overlap}
    return SurveyPlan(survey, files, finished, lines, amplitudes, overlap, made_of)


def _tell(
    survey: Survey,
    numbers: Numbers,
    directions: Mapping[Direction, Sequence[Line]],
    header_bytes: tuple[int, int],
    listener: Listener,
) -> None:
    """Say what is not as it may seem, and refuse what cannot be in memory."""
    where = "bytes {} and {}".format(*header_bytes)
    if "file" in directions:
        listener.warn(
            f"{survey.path} has no line numbers at {where} of its traces' headers: its "
            f"{survey.traces} traces are taken for one 2-D line in the file's order; if it is 3-D, "
            "say where they are: --inline-byte and --xline-byte"
        )
    elif repeated := numbers.repeated():
        listener.warn(
            f"{repeated} traces of {survey.path} have the inline and crossline of another: of "
            "surveys before stack nothing sensible is predicted"
        )
    longest = max(len(line.traces) for lines in directions.values() for line in lines)
    if longest * survey.samples > MOST_SAMPLES:
        raise DataError(
            f"{survey.path} has a line of {longest} traces of {survey.samples} samples, by the "
            f"numbers at {where} of their headers",
            expected=f"lines of at most {MOST_SAMPLES} samples",
            next_step="say where the numbers are: --inline-byte and --xline-byte",
        )


def _made_of(
    survey: Survey, numbers: Numbers, amplitudes: Amplitudes, finished: FinishedRun
) -> dict[str, Any]:
    """What lines are made of: all that would make them others, in JSON values."""
    path, run = survey.path, finished.run
    with path.open("rb") as file:
        headers = file.read(3600)
    places = numbers.inlines.tobytes() + numbers.crosslines.tobytes()
    return {
        "survey": path.name,
        "bytes": path.stat().st_size,
        "headers_hash": bytes_hash(headers),
        "line_numbers_hash": bytes_hash(places),
        "percentiles": list(PERCENTILES),
        "levels": list(LEVELS),
        "amplitudes": [amplitudes.low, amplitudes.high],
        "run": run.name,
        "weights": {str(k): read_summary(run.fold(k)).weights_hash for k in finished.folds},
        "how": finished.how,
    }
