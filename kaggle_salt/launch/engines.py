"""Which engine a call means."""

from __future__ import annotations

from collections.abc import Sequence

from kaggle_salt.errors import ConfigError, nearest
from kaggle_salt.launch.local import LocalEngine, count_jobs
from kaggle_salt.launch.tasks import Engine

#: Where else than on this machine tasks can run.
ENGINES = ("ray", "slurm")


def choose_engine(
    on: str | None,
    jobs: str | None,
    device: str,
    retries: int,
    *,
    address: str | None = None,
    sbatch: Sequence[str] | None = None,
    part: str | None = None,
) -> Engine | None:
    """The engine for a call's options; None where this process is to do all itself.

    Args:
        on: One of :data:`ENGINES`; None for this machine.
        jobs: How many tasks at a time: a number, ``auto``, or None where nothing was said.
        device: As the command line takes it.
        retries: How often a task that failed is begun again.
        address: Of a Ray cluster.
        sbatch: Options of SLURM's ``sbatch``, each ``KEY=VALUE`` or ``KEY``.
        part: Of the work, where no more than this is to be done.

    Raises:
        ConfigError: There is no such engine, an option is for another, or a part is asked for
            that an engine would make itself.
    """
    _refuse_option("--address", address, "ray", on)
    _refuse_option("--sbatch", sbatch, "slurm", on)
    count = count_jobs(jobs, device) if on is None and jobs else 1
    if part and (on or count > 1):
        given = f"--on {on}" if on else f"--jobs {jobs}"
        raise ConfigError(
            f"--part {part} beside {given}",
            expected="one of the two: with the second all parts are predicted",
            next_step=f"leave out --part, or {given}",
        )
    if on is None:
        return LocalEngine(count, device, retries) if count > 1 else None
    if on not in ENGINES:
        raise ConfigError(f"--on {on}", expected=nearest(on, ENGINES), next_step="--on ray")
    at_once = None if jobs in (None, "auto") else count_jobs(jobs or "", device)
    if on == "ray":
        from kaggle_salt.launch.ray_engine import RayEngine

        return RayEngine(address, at_once, device, retries)
    from kaggle_salt.launch.slurm import SlurmEngine

    return SlurmEngine(sbatch or (), at_once, device, retries)


def _refuse_option(option: str, given: object, belongs_to: str, on: str | None) -> None:
    if given and on != belongs_to:
        raise ConfigError(
            f"{option} without --on {belongs_to}",
            expected=f"{option} for {belongs_to} alone",
            next_step=f"--on {belongs_to}, or leave out {option}",
        )
