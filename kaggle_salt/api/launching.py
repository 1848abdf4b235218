"""``jobs=``: processes side by side, from a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kaggle_salt.launch.following import Watcher
    from kaggle_salt.launch.tasks import Engine
    from kaggle_salt.pipeline.workspace import Listener


def side_by_side(
    jobs: int | str, device: str, listener: Listener, part: str | None = None
) -> tuple[Engine, Watcher] | None:
    """Who runs so many processes of this machine, and who looks at them; None for one.

    Raises:
        ConfigError: ``jobs`` is neither ``"auto"`` nor a number above 0, or there are more than
            one where only a part of the work is to be done.
    """
    from kaggle_salt.launch.engines import choose_engine
    from kaggle_salt.launch.following import Watcher

    engine = choose_engine(None, str(jobs), device, retries=2, part=part)
    return (engine, Watcher(listener)) if engine else None
