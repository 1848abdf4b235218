"""What comes before a training, as a function: a network that has seen all tiles and no mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaggle_salt.api.voice import listener_for
from kaggle_salt.pipeline.arguments import (
    AnyPath,
    Place,
    Settings,
    budget_of,
    optional_path,
    overrides_of,
    with_shorthands,
    workspace_at,
)

if TYPE_CHECKING:
    from kaggle_salt.pipeline.training.pretrain import PretrainingReport


def pretrain(
    data: Place = "data",
    *,
    method: str | None = None,
    preset: str | None = None,
    config: AnyPath | None = None,
    run: str | None = None,
    set: Settings | None = None,
    seed: int | None = None,
    minutes: float | None = None,
    epochs: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    verbose: bool = True,
) -> PretrainingReport:
    """Let a preset's network learn from all tiles, without their masks; ``salt pretrain``.

    Any fold may start from what it learns: ``train(set={"model.weights": report.weights})``.

    Args:
        data: Folder with Kaggle's files, or a workspace.
        method: ``masked`` or ``vicreg``; by default that of the file or run, or ``masked``.
        preset: Whose network it is; by default the run's own, or what suits the machine.
        config: In place of a preset, a TOML file.
        run: Name of the run; by default preset and method, joined by a hyphen.
        set: Values by dotted key, as in ``{"stage.quarter.epochs": 3}``.
        seed: Seed of weights and batches, the key ``training.seed``.
        minutes: Fit the stages to so many minutes; a step of each is timed.
        epochs: In place of minutes: fit them to so many epochs in all.
        resume: Go on with what is half done.
        overwrite: Pretrain anew.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        verbose: Print a line for each epoch; without it only warnings.

    Raises:
        SaltError: Before any training, if something asked for cannot be done.
    """
    from kaggle_salt.pipeline import choose
    from kaggle_salt.pipeline.training import pretrain as pipeline

    workspace = workspace_at(data)
    folder, configuration = choose.choose_pretraining(
        workspace, run=run, preset=preset, config_file=optional_path(config), method=method,
        overrides=overrides_of(with_shorthands(set, seed=seed, pseudo=None)), device=device,
    )  # fmt: skip
    return pipeline.pretrain(
        workspace, folder, configuration, device=device, resume=resume, overwrite=overwrite,
        budget=budget_of(minutes, epochs), listener=listener_for(verbose),
    )  # fmt: skip
