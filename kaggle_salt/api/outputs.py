"""What leaves the house, as functions: submissions, masks of any image, runs for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaggle_salt.api.launching import side_by_side
from kaggle_salt.api.voice import listener_for
from kaggle_salt.pipeline.arguments import (
    AnyPath,
    Folds,
    Place,
    folds_text,
    optional_path,
    paths_of,
    workspace_at,
)

if TYPE_CHECKING:
    from kaggle_salt.pipeline.predicting.export import ExportReport
    from kaggle_salt.pipeline.predicting.predict import PredictReport
    from kaggle_salt.pipeline.predicting.predict_survey import SurveyReport
    from kaggle_salt.pipeline.submitting.submit import SubmissionReport
    from kaggle_salt.pipeline.workspace import Listener, Workspace
    from kaggle_salt.sections.survey_lines import Along


def submit(
    data: Place = "data",
    *,
    ensemble: str | None = None,
    model: str | None = None,
    name: str | None = None,
    threshold: float | None = None,
    min_area: int | None = None,
    overwrite: bool = False,
    device: str = "auto",
    verbose: bool = True,
) -> SubmissionReport:
    """Write the submission CSV, read it back and compare it with the masks; ``salt submit``.

    Args:
        data: Folder with Kaggle's files, or a workspace.
        ensemble: Name of an ensemble; by default the one made last.
        model: ``"shipped"``, or a folder that ``salt ship`` wrote, to predict the test tiles with.
        name: Name of the submission; by default the ensemble's.
        threshold: In place of the one chosen out of fold, in [0, 1].
        min_area: In place of the one chosen out of fold, in pixels.
        overwrite: Replace a submission of that name made of something else.
        device: Where a model computes.
        verbose: Print how the work goes; without it only warnings.

    Raises:
        ConfigError: There is no ensemble or model, or another submission has the name.
        DataError: The ids are not those of the sample submission.
    """
    from kaggle_salt.pipeline.submitting import submit as pipeline

    return pipeline.submit(
        workspace_at(data), ensemble=ensemble, model=model, name=name, threshold=threshold,
        min_area=min_area, overwrite=overwrite, device=device, listener=listener_for(verbose),
    )  # fmt: skip


def predict(
    images: AnyPath | Sequence[AnyPath],
    data: Place = "data",
    *,
    run: str | None = None,
    model: str | None = None,
    out: AnyPath = "predictions",
    threshold: float | None = None,
    overlap: float = 0.5,
    stretch: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    verbose: bool = True,
) -> PredictReport:
    """Find salt in images of any size: mask, probabilities and overlay of each; ``salt predict``.

    Args:
        images: PNG, JPEG or TIFF files, folders or globs; one, or several.
        data: A workspace, where runs lie elsewhere than in ``runs``; no tiles are read.
        run: Name of a run; by default the one trained last.
        model: In place of a run, ``"shipped"`` or a folder that ``salt ship`` wrote.
        out: Folder of the results.
        threshold: In place of the one chosen out of fold, in [0, 1].
        overlap: Share of a tile that the next one sees too, from 0 to below 1.
        stretch: Spread each image's levels between its percentiles .5 and 99.5.
        overwrite: Replace results that are there.
        device: Where the networks compute.
        verbose: Print how the work goes; without it only warnings.

    Raises:
        ConfigError: There is no such run, or results would replace each other or what is there.
        DataError: An image is missing or cannot be read.
    """
    from kaggle_salt.pipeline.predicting import predict as pipeline

    return pipeline.predict(
        workspace_at(data), paths_of(images), run=run, model=model, out=Path(out),
        threshold=threshold, overlap=overlap, stretch=stretch, overwrite=overwrite,
        device=device, listener=listener_for(verbose),
    )  # fmt: skip


def predict_survey(
    survey: AnyPath,
    data: Place = "data",
    *,
    run: str | None = None,
    model: str | None = None,
    out: AnyPath = "predictions",
    threshold: float | None = None,
    overlap: float = 0.5,
    along: Along | None = None,
    inline_byte: int = 189,
    crossline_byte: int = 193,
    part: str | None = None,
    overwrite: bool = False,
    jobs: int | str = 1,
    device: str = "auto",
    verbose: bool = True,
) -> SurveyReport:
    """Find salt in a SEG-Y survey: a copy with probabilities as samples; ``salt predict``.

    Lines that were predicted before with the same settings are not predicted again.

    Args:
        survey: The SEG-Y file, 3-D after stack or a 2-D line.
        data: A workspace, where runs lie elsewhere than in ``runs``; no tiles are read.
        run: Name of a run; by default the one trained last.
        model: In place of a run, ``"shipped"`` or a folder that ``salt ship`` wrote.
        out: Folder of the results.
        threshold: In place of the one chosen out of fold, in [0, 1].
        overlap: Share of a tile that the next one sees too, from 0 to below 1.
        along: ``"inline"``, ``"crossline"``, or their mean, ``"both"``; by default the first.
        inline_byte: First byte of the inline number in a trace's header, counted from 1.
        crossline_byte: The same of the crossline number.
        part: ``"2/4"`` for the second of four parts of the lines: nothing more is predicted.
        overwrite: Replace a result that is there, and lines that were predicted otherwise.
        jobs: Processes side by side, or ``"auto"``: one for each GPU. They make the parts.
        device: Where the networks compute.
        verbose: Print how the work goes; without it only warnings.

    Raises:
        ConfigError: There is no such run, part or line; a result is there; lines were predicted
            with other settings; or the extra ``segy`` is not installed.
        DataError: The survey is missing or damaged, or one of its lines is too long.
    """
    return _predict_survey(
        workspace_at(data), Path(survey), jobs, part, listener_for(verbose), run=run, model=model,
        out=Path(out), threshold=threshold, overlap=overlap, along=along, inline_byte=inline_byte,
        crossline_byte=crossline_byte, overwrite=overwrite, device=device,
    )  # fmt: skip


def _predict_survey(
    place: Workspace,
    survey: Path,
    jobs: int | str,
    part: str | None,
    listener: Listener,
    **how: Any,
) -> SurveyReport:
    """Predict here, or in processes side by side."""
    from kaggle_salt.launch import parts
    from kaggle_salt.pipeline.predicting import predict_survey as pipeline

    if launched := side_by_side(jobs, how["device"], listener, part):
        return parts.predict_survey(place, survey, *launched, **how)
    return pipeline.predict_survey(place, survey, listener=listener, part=part, **how)


def export(
    run: str,
    data: Place = "data",
    *,
    to: str = "onnx",
    folds: Folds = "all",
    out: AnyPath | None = None,
    overwrite: bool = False,
    verbose: bool = True,
) -> ExportReport:
    """Write a run as one file: tiles in, the mean probabilities of its folds out; ``salt export``.

    Args:
        run: Name of a run.
        data: A workspace, where runs lie elsewhere than in ``runs``; no tiles are read.
        to: Kind of file; there is one, ``onnx``.
        folds: Of the finished ones: ``"all"``, ``0`` or ``[0, 1]``.
        out: The file; by default ``<run>.onnx`` in the run's folder.
        overwrite: Replace a file that is there.
        verbose: Print how the work goes; without it only warnings.

    Raises:
        ConfigError: Unknown run or kind, no finished fold, a file that is there, weights too many
            for one file, or the extra ``onnx`` is not installed.
        TrainingError: The weights have changed, or the file would say something else than torch.
    """
    from kaggle_salt.pipeline.predicting.export import export_run

    return export_run(
        workspace_at(data), run, to=to, folds=folds_text(folds), out=optional_path(out),
        overwrite=overwrite, listener=listener_for(verbose),
    )  # fmt: skip
