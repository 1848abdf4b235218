"""``salt predict`` of a SEG-Y survey: line by line, resumable, and by several machines at once.

Of a survey there is one line in memory, however large it is, and the numbers of its headers. Each
line is a section (:mod:`kaggle_salt.sections.tiling`) whose rows are samples; amplitudes become
levels by limits that are the same for all of it. What is predicted is kept line by line
(:mod:`kaggle_salt.sections.survey_files`) until the last one is there.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_salt.competition.decision import Rule
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.files import bytes_hash, vouched
from kaggle_salt.learning.fold import read_summary
from kaggle_salt.pipeline.finished import (
    FinishedRun,
    deciding_rule,
    followed,
    ready_run,
    tile_predictor,
)
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.sections.segy import (
    LEVELS,
    PERCENTILES,
    Amplitudes,
    LineSection,
    Survey,
    open_survey,
    read_line,
)
from kaggle_salt.sections.survey_files import SurveyFiles, write_probabilities
from kaggle_salt.sections.survey_lines import (
    Along,
    Direction,
    Line,
    Numbers,
    choose_directions,
    part_of,
)
from kaggle_salt.sections.tiling import OVERLAP, Grid, predict_sections

#: First bytes of the numbers of inline and crossline in a trace's header (SEG-Y revision 1).
INLINE_BYTE, CROSSLINE_BYTE = 189, 193

#: Samples that a line may have: it is in memory, a byte for each and another for its probability.
MOST_SAMPLES = 2**30


@dataclass(frozen=True)
class SurveyReport:
    """What ``salt predict`` did with a survey.

    Args:
        survey: The file.
        run: Name of the run, or of the network.
        folds: Whose networks were averaged.
        traces: Of the survey.
        samples: Of each trace.
        along: Directions of the lines: ``inline``, ``crossline``, or ``file`` for a 2-D line
            without numbers.
        low: The amplitude that became the first of :data:`kaggle_salt.sections.segy.LEVELS`.
        high: The amplitude that became the second.
        threshold: What coverage is counted at.
        decided_by: Where the threshold comes from, in words.
        lines: Of the survey, in all directions.
        predicted: Lines that are predicted by now.
        probability: SEG-Y of the probabilities; None if a part was asked for.
        coverage: Share of the samples that are salt; None if a part was asked for.
    """

    survey: Path
    run: str
    folds: tuple[int, ...]
    traces: int
    samples: int
    along: tuple[Direction, ...]
    low: float
    high: float
    threshold: float
    decided_by: str
    lines: int
    predicted: int
    probability: Path | None = None
    coverage: float | None = None


@dataclass(frozen=True, eq=False)
class _Plan:
    """A survey that is open, and how to go through it."""

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

    def missing(self, lines: Sequence[Line]) -> list[Line]:
        return [line for line in lines if not self.files.has(line, self.survey.samples)]


def predict_survey(
    workspace: Workspace,
    path: Path,
    *,
    run: str | None = None,
    model: str | None = None,
    out: Path = Path("predictions"),
    threshold: float | None = None,
    overlap: float = OVERLAP,
    along: Along | None = None,
    inline_byte: int = INLINE_BYTE,
    crossline_byte: int = CROSSLINE_BYTE,
    part: str | None = None,
    overwrite: bool = False,
    device: str = "auto",
    listener: Listener | None = None,
) -> SurveyReport:
    """Write a copy of a SEG-Y survey with the probabilities of salt as its samples.

    Lines that were predicted before with the same settings are not predicted again.

    Args:
        workspace: Where runs lie.
        path: The survey, 3-D after stack, or a 2-D line.
        run: Name of a run; by default the one trained last.
        model: In place of a run, ``shipped`` or a folder that ``salt ship`` wrote.
        out: Folder of the results.
        threshold: In place of the one chosen out of fold, in [0, 1].
        overlap: Share of a tile that the next one sees too, from 0 to below 1.
        along: Which lines are predicted, ``both`` being averaged; by default inlines, or what
            lines there are.
        inline_byte: First byte of the inline number in a trace's header, counted from 1.
        crossline_byte: The same of the crossline number.
        part: ``2/4`` for the second of four blocks of lines: nothing but these is predicted.
        overwrite: Replace a result that is there, and lines that were predicted otherwise.
        device: Where the networks compute.
        listener: Told how the work goes.

    Raises:
        ConfigError: There is no such run, part or line; a result is there; lines were predicted
            with other settings; or segyio is not installed.
        DataError: The survey is missing or damaged, or one of its lines is too long.
    """
    listener = listener or Listener()
    share = _parse_part(part)
    files = SurveyFiles.of(path, out)
    with open_survey(path) as survey:
        files.refuse_result(path, overwrite=overwrite)
        finished = ready_run(workspace, run=run, model=model, listener=listener)
        rule, decided_by = deciding_rule(finished, threshold)
        header_bytes = (inline_byte, crossline_byte)
        plan = _planned(survey, files, finished, along, header_bytes, overlap, listener)
        files.begin(plan.made_of, overwrite=overwrite)
        _predict(plan, part_of(plan.lines, *share), device, listener)
        predicted = len(plan.lines) - len(plan.missing(plan.lines))
        coverage = None if part else _written(plan, rule, listener)
    return SurveyReport(
        path, finished.run.name, finished.folds, plan.survey.traces, plan.survey.samples,
        tuple(plan.directions), plan.amplitudes.low, plan.amplitudes.high, rule.threshold,
        decided_by, len(plan.lines), predicted, None if part else files.probability, coverage,
    )  # fmt: skip


def _planned(
    survey: Survey,
    files: SurveyFiles,
    finished: FinishedRun,
    along: Along | None,
    header_bytes: tuple[int, int],
    overlap: float,
    listener: Listener,
) -> _Plan:
    """Look at a survey, and refuse what cannot be predicted before anything is written."""
    Grid((survey.samples, 1), finished.tile_shape, overlap)  # refuses an overlap that is none
    numbers = Numbers(*map(survey.header_word, header_bytes))
    directions = choose_directions(numbers.directions(), along)
    _tell(survey, numbers, directions, header_bytes, listener)
    lines = {one: list(numbers.lines(one)) for one in directions}
    amplitudes = survey.sample_amplitudes()
    made_of = _made_of(survey, numbers, amplitudes, finished)
    made_of |= {"along": list(directions), "overlap": overlap}
    return _Plan(survey, files, finished, lines, amplitudes, overlap, made_of)


def _parse_part(text: str | None) -> tuple[int, int]:
    """Which block of lines, from 1, and of how many."""
    if text is None:
        return 1, 1
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    part, parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= part <= parts:
        raise ConfigError(
            f"--part {text}",
            expected="a block of lines and how many there are, from 1/4 to 4/4",
            next_step="--part 1/4 on one machine, --part 2/4 on the next, and so on",
        )
    return part, parts


def _tell(
    survey: Survey,
    numbers: Numbers,
    directions: tuple[Direction, ...],
    header_bytes: tuple[int, int],
    listener: Listener,
) -> None:
    """Say what is not as it may seem, and refuse what cannot be in memory."""
    where = "bytes {} and {}".format(*header_bytes)
    if directions == ("file",):
        listener.warn(
            f"{survey.path} has no line numbers at {where} of its traces' headers: its "
            f"{survey.traces} traces are taken for one 2-D line in the file's order; if it is 3-D, "
            "say where they are: --inline-byte and --crossline-byte"
        )
    elif repeated := numbers.repeated():
        listener.warn(
            f"{repeated} traces of {survey.path} have the inline and crossline of another: of "
            "surveys before stack nothing sensible is predicted"
        )
    longest = max(len(line.traces) for one in directions for line in numbers.lines(one))
    if longest * survey.samples > MOST_SAMPLES:
        raise DataError(
            f"{survey.path} has a line of {longest} traces of {survey.samples} samples, by the "
            f"numbers at {where} of their headers",
            expected=f"lines of at most {MOST_SAMPLES} samples",
            next_step="say where the numbers are: --inline-byte and --crossline-byte",
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


def _predict(plan: _Plan, lines: Sequence[Line], device: str, listener: Listener) -> None:
    """Predict those of the lines that are missing."""
    missing = plan.missing(lines)
    if not missing:
        return
    if len(missing) < len(lines):
        listener.note(f"going on: {len(lines) - len(missing)} of {len(lines)} lines are predicted")
    shape = plan.finished.tile_shape
    grids = (Grid((plan.survey.samples, len(one.traces)), shape, plan.overlap) for one in missing)
    levels_of = followed(tile_predictor(plan.finished, device), sum(map(len, grids)), listener)

    def sections() -> Iterator[LineSection]:
        for line in missing:
            yield read_line(plan.survey, line.traces, plan.amplitudes)

    predicted = predict_sections(sections(), shape, levels_of, overlap=plan.overlap)
    for line, (section, levels) in zip(missing, predicted, strict=True):
        levels[:, section.dead] = 0
        plan.files.write_line(line, levels)


def _written(plan: _Plan, rule: Rule, listener: Listener) -> float:
    """Write the SEG-Y, all lines being there, and remove them; tells the share of salt."""
    files = plan.files
    with vouched(files.document, files.probability) as draft:
        coverage = write_probabilities(
            draft.paths[0], plan.survey, files, list(plan.directions.values()), rule.level,
            listener.progress("writing lines"),
        )  # fmt: skip
        draft.document.update(plan.made_of, threshold=rule.threshold, coverage=coverage)
    shutil.rmtree(files.lines)
    return coverage
