"""A fold's history as TensorBoard's events: the same names, the same numbers, epoch by epoch."""

from __future__ import annotations

import shutil
from typing import Any

import pandas as pd

from kaggle_salt.errors import ConfigError
from kaggle_salt.runs import FoldFolder

#: Folder of the events, within the fold's.
EVENTS = "tensorboard"


def require_tensorboard() -> Any:
    """The class that writes events.

    Raises:
        ConfigError: The extra is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "--log tensorboard, and TensorBoard is not installed",
            expected="the extra tensorboard",
            next_step="pip install 'kaggle-salt[tensorboard]'",
        ) from error
    return SummaryWriter


class EventLog:
    """The events of one fold, always as its ``history.csv`` has them.

    Old events are replaced: after a resume there is each epoch once, whatever was cut short.

    Args:
        folder: The fold's.

    Raises:
        ConfigError: The extra is not installed.
    """

    def __init__(self, folder: FoldFolder) -> None:
        self._history, self._done = folder.history, 0
        events = folder.path / EVENTS
        shutil.rmtree(events, ignore_errors=True)
        self._writer = require_tensorboard()(str(events))

    def update(self) -> None:
        """Write the epochs that the history has and the events have not."""
        rows = pd.read_csv(self._history).to_dict("records")
        for row in rows[self._done :]:
            for key, value in row.items():
                if key != "epoch" and isinstance(value, int | float):
                    self._writer.add_scalar(str(key), value, int(row["epoch"]))
        self._done = len(rows)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left, and let go of the file."""
        self._writer.close()
