"""What looks at several runs, as functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kaggle_salt.api.launching import side_by_side
from kaggle_salt.api.voice import listener_for
from kaggle_salt.pipeline.arguments import AnyPath, Place, optional_path, workspace_at

if TYPE_CHECKING:
    import pandas as pd

    from kaggle_salt.ensembling.comparison import Comparison
    from kaggle_salt.pipeline.training.sweep import SweepReport


def compare(
    data: Place = "data",
    runs: Sequence[str] = (),
    *,
    at_half: bool = False,
    html: AnyPath | None = None,
    verbose: bool = True,
) -> Comparison:
    """Compare runs with the first, on the same out-of-fold tiles; ``salt compare``.

    Args:
        data: Folder with Kaggle's files, or a workspace.
        runs: Two or more: runs, folds of runs (``"quick/fold0"``), ensembles, or runs to average
            (``"quick+unet"``).
        at_half: Judge all at .5, not each by its own decision.
        html: Where to write a page with pictures of the tiles that changed most.
        verbose: Print how the work goes; without it only warnings.

    Raises:
        ConfigError: Nothing of that name, or ``html`` is some other file.
        DataError: They share no tile, or do not belong to this data.
    """
    from kaggle_salt.pipeline.judging import compare as pipeline

    return pipeline.compare(
        workspace_at(data), runs, at_half=at_half, html=optional_path(html),
        listener=listener_for(verbose),
    )  # fmt: skip


def list_runs(data: Place = "data") -> pd.DataFrame:
    """The runs and ensembles there are, one row each; ``salt runs``.

    Args:
        data: A workspace, where runs lie elsewhere than in ``runs``; no tiles are read.
    """
    import pandas as pd

    from kaggle_salt.pipeline.judging.run_list import RunRow
    from kaggle_salt.pipeline.judging.run_list import list_runs as rows_of

    return pd.DataFrame(rows_of(workspace_at(data)), columns=list(RunRow.__dataclass_fields__))


def sweep(
    file: AnyPath,
    data: Place = "data",
    *,
    jobs: int | str = 1,
    device: str = "auto",
    html: AnyPath | None = None,
    verbose: bool = True,
) -> SweepReport:
    """Train one run for each variant and seed, and compare all with the base; ``salt sweep``.

    Args:
        file: TOML; see :class:`kaggle_salt.pipeline.training.sweep_file.SweepFile`.
        data: Folder with Kaggle's files, or a workspace.
        jobs: Folds, of all runs, that are trained side by side, or ``"auto"``: one for each GPU.
        device: Where to compute.
        html: Where to write the page of the comparison.
        verbose: Print a line for each epoch; without it only warnings.

    Raises:
        ConfigError: The file is no sweep. What fails in a run is in the report.
    """
    from pathlib import Path

    from kaggle_salt.launch import sweep as launch
    from kaggle_salt.pipeline.training import sweep as pipeline

    place, listener = workspace_at(data), listener_for(verbose)
    settings: dict[str, Any] = {"device": device, "html": optional_path(html)}
    if launched := side_by_side(jobs, device, listener):
        return launch.sweep(place, Path(file), *launched, **settings)
    return pipeline.sweep(place, Path(file), listener=listener, **settings)
