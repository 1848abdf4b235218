"""What leaves the house, as functions: runs as files for other programs.

The second half of :mod:`kaggle_salt.api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaggle_salt.api import _listener
from kaggle_salt.pipeline.arguments import (
    AnyPath,
    Folds,
    Place,
    folds_text,
    optional_path,
    workspace_at,
)

if TYPE_CHECKING:
    from kaggle_salt.pipeline.export import ExportReport


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
    from kaggle_salt.pipeline.export import export_run

    return export_run(
        workspace_at(data), run, to=to, folds=folds_text(folds), out=optional_path(out),
        overwrite=overwrite, listener=_listener(verbose),
    )  # fmt: skip
