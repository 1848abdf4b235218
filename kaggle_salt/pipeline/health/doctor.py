"""``salt doctor``: is the machine fit for a training, and is a run what was written?

Heavy imports stand inside the function: it is a name of the package's Python face.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaggle_salt.pipeline.arguments import Place, workspace_at

if TYPE_CHECKING:
    from kaggle_salt.pipeline.health.signs import Diagnosis


def diagnose(data: Place = "data", run: str | None = None, *, device: str = "auto") -> Diagnosis:
    """Look at the machine, or at a run; ``salt doctor``. Nothing is written or mended.

    Args:
        data: Folder with Kaggle's files, or a workspace.
        run: Name of a run, every hash of which is then verified: all its files are read.
        device: Where one wants to compute; of the machine alone.

    Returns:
        What was found, with a line of advice wherever something is off.

    Raises:
        ConfigError: There is no such run or device.
    """
    from kaggle_salt.pipeline.health.signs import Diagnosis

    workspace = workspace_at(data)
    if run is None:
        from kaggle_salt.pipeline.health.machine import look_at_machine

        return Diagnosis(None, look_at_machine(workspace, device))
    from kaggle_salt.pipeline.health.run_health import look_at_run

    return Diagnosis(run, look_at_run(workspace, run))
