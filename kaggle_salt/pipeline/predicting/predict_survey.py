"""``salt predict`` of a SEG-Y survey: line by line, resumable, and by several machines at once.

Of a survey there is one line in memory, however large it is, and the numbers of its headers. Each
line is a section (:mod:`kaggle_salt.sections.tiling`) whose rows are samples; amplitudes become
levels by limits that are the same for all of it. What is predicted is kept line by line
(:mod:`kaggle_salt.sections.survey_files`) until the last one is there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kaggle_salt.competition.decision import Rule
from kaggle_salt.pipeline.parts import parse_part
from kaggle_salt.pipeline.predicting.finished import (
    deciding_rule,
    followed,
    ready_run,
    tile_predictor,
)
from kaggle_salt.pipeline.predicting.survey_plan import (
    CROSSLINE_BYTE,
    INLINE_BYTE,
    SurveyPlan,
    plan_survey,
)
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.sections.segy import LineSection, open_survey, read_line
from kaggle_salt.sections.survey_files import SurveyFiles, write_probabilities
from kaggle_salt.sections.survey_lines import Along, Direction, Line
from kaggle_salt.sections.tiling import OVERLAP, Grid, predict_sections
from kaggle_salt.storage.files import vouched


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
    beforehand: Callable[[SurveyPlan], None] = lambda plan: None,
) -> SurveyReport:
    """Write a copy of a SEG-Y survey with the probabilities of salt as its samples.

    Args:
        workspace: Where runs lie.
        path: The survey, 3-D after stack, or a 2-D line.
        run: Name of a run; by default the one trained last.
        model: In place of a run, ``shipped`` or a folder that ``salt ship`` wrote.
        out: Folder of the results.
        threshold: In place of the one chosen out of fold, in [0, 1].
        overlap: Share of a tile that the next one sees too, from 0 to below 1.
        along: Lines to predict, ``both`` being averaged; by default those that are there.
        inline_byte: First byte of the inline number in a trace's header, counted from 1.
        crossline_byte: The same of the crossline number.
        part: ``2/4`` for the second of four parts of the lines: nothing more is predicted.
        overwrite: Replace a result that is there, and lines that were predicted otherwise.
        device: Where the networks compute.
        listener: Told how the work goes.
        beforehand: Called when all is set up: it may have lines predicted by other processes.

    Raises:
        ConfigError: No such run, part or line; a result or other lines are there; or no segyio.
        DataError: The survey is missing or damaged, or one of its lines is too long.
    """
    listener, share, files = listener or Listener(), parse_part(part), SurveyFiles.of(path, out)
    with open_survey(path) as survey:
        finished = ready_run(workspace, run=run, model=model, listener=listener)
        judged, header_bytes = deciding_rule(finished, threshold), (inline_byte, crossline_byte)
        plan = plan_survey(survey, files, finished, along, header_bytes, overlap, listener)
        files.begin(plan.made_of, overwrite=overwrite)
        beforehand(plan)
        _predict(plan, plan.part(*share), device, listener)
        return _reported(plan, *judged, whole=part is None, listener=listener)


def _predict(plan: SurveyPlan, lines: Sequence[Line], device: str, listener: Listener) -> None:
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


def _reported(
    plan: SurveyPlan, rule: Rule, decided_by: str, *, whole: bool, listener: Listener
) -> SurveyReport:
    """Tell what was done; of the whole survey, once its SEG-Y is written."""
    predicted = len(plan.lines) - len(plan.missing(plan.lines))
    coverage = _write(plan, rule, listener) if whole else None
    return SurveyReport(
        survey=plan.survey.path,
        run=plan.finished.run.name,
        folds=plan.finished.folds,
        traces=plan.survey.traces,
        samples=plan.survey.samples,
        along=tuple(plan.directions),
        low=plan.amplitudes.low,
        high=plan.amplitudes.high,
        threshold=rule.threshold,
        decided_by=decided_by,
        lines=len(plan.lines),
        predicted=predicted,
        probability=plan.files.probability if whole else None,
        coverage=coverage,
    )


def _write(plan: SurveyPlan, rule: Rule, listener: Listener) -> float:
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
