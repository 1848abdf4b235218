"""What is made to be looked at, as functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaggle_salt.api.voice import listener_for
from kaggle_salt.pipeline.arguments import AnyPath, Place, optional_path, workspace_at

if TYPE_CHECKING:
    from pathlib import Path

    from kaggle_salt.pipeline.judging.report import ReportMade


def make_report(
    data: Place = "data",
    name: str | None = None,
    *,
    out: AnyPath | None = None,
    overwrite: bool = False,
    verbose: bool = True,
) -> ReportMade:
    """Write one HTML page of all that is known of a run or an ensemble; ``salt report``.

    Args:
        data: Folder with Kaggle's files, or a workspace.
        name: Of the run or ensemble; ``ensemble/NAME`` where a run is called the same. By default
            the run that was worked on last.
        out: The page; by default ``report.html`` in the folder of the run or ensemble.
        overwrite: Replace a file that is no page of the same.
        verbose: Print how the work goes; without it only warnings, as of folds that are missing.

    Raises:
        ConfigError: There is no run or ensemble of that name, or another file is in the way.
        DataError: Data, fold table or stored files are not usable.
    """
    from kaggle_salt.pipeline.judging import report as pipeline

    return pipeline.make_report(
        workspace_at(data), name, out=optional_path(out), overwrite=overwrite,
        listener=listener_for(verbose),
    )  # fmt: skip


def look(data: Place = "data", folder: AnyPath = "pictures", *, verbose: bool = True) -> list[Path]:
    """Draw the data before any training; ``salt look``.

    Args:
        data: Folder with Kaggle's files, or a workspace.
        folder: Where the pictures go; those of the same names are replaced.
        verbose: Print how the work goes; without it only warnings.

    Returns:
        The pictures.

    Raises:
        DataError: The data or the fold table are not usable.
    """
    from pathlib import Path

    from kaggle_salt.pipeline.preparing import prepare

    return prepare.look(workspace_at(data), Path(folder), listener=listener_for(verbose))
