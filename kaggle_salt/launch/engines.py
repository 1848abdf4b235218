"""Which engine a call means."""

from __future__ import annotations

from kaggle_salt.launch.local import LocalEngine, count_jobs
from kaggle_salt.launch.tasks import Engine


def choose_engine(*, jobs: str | None, device: str, retries: int) -> Engine | None:
    """The engine for a call's options; None where this process is to do all itself.

    Args:
        jobs: How many tasks at a time: a number, ``auto``, or None where nothing was said.
        device: As the command line takes it.
        retries: How often a task that failed is begun again.

    Raises:
        ConfigError: That is no number.
    """
    count = count_jobs(jobs, device) if jobs else 1
    return LocalEngine(count, device, retries) if count > 1 else None
