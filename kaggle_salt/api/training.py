"""From Kaggle's files to an ensemble, as functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kaggle_salt.api.launching import side_by_side
from kaggle_salt.api.voice import listener_for
from kaggle_salt.pipeline.arguments import (
    AnyPath,
    Folds,
    Place,
    Settings,
    budget_of,
    choose_run,
    folds_text,
    names_of,
    optional_path,
    overrides_of,
    with_shorthands,
    workspace_at,
)

if TYPE_CHECKING:
    import pandas as pd

    from kaggle_salt.competition.check import CheckReport
    from kaggle_salt.competition.folds import By
    from kaggle_salt.config.schema import Config
    from kaggle_salt.learning.fold import FoldSummary
    from kaggle_salt.pipeline.blending.ensemble import EnsembleReport, Weights
    from kaggle_salt.pipeline.choose import Chosen
    from kaggle_salt.pipeline.training.pseudo_label import PseudoReport
    from kaggle_salt.pipeline.workspace import Listener, Workspace
    from kaggle_salt.pseudo_origin import Balance, Teachers


def make_folds(
    data: Place = "data",
    *,
    n_folds: int = 5,
    seed: int = 0,
    by: By = "coverage",
    group_by: AnyPath | None = None,
    overwrite: bool = False,
    verbose: bool = True,
) -> pd.DataFrame:
    """Split the training tiles into folds, alike in coverage or type; ``salt make-folds``.

    Args:
        data: Folder with Kaggle's files, or a workspace.
        n_folds: Number of folds.
        seed: Another seed, another split.
        by: In what the folds are alike: ``coverage``, or ``type`` of the masks.
        group_by: CSV id,group, or what ``salt mosaic`` wrote; a group is never split.
        overwrite: Replace a table that differs.
        verbose: Print how the work goes; without it only warnings.

    Returns:
        One row for each fold: ``fold``, ``tiles``, ``empty_share``, ``mean_coverage``,
        ``mean_depth`` in feet. The table itself is written to ``folds/folds.csv``.

    Raises:
        ConfigError: Another table is there, or the tiles cannot be split so.
        DataError: The data or the group file is not usable.
    """
    from kaggle_salt.pipeline.preparing.prepare import make_fold_table

    return make_fold_table(
        workspace_at(data), n_folds=n_folds, seed=seed, by=by,
        group_file=optional_path(group_by), overwrite=overwrite, listener=listener_for(verbose),
    )  # fmt: skip


def check_data(
    data: Place = "data", *, mask_threshold: int | None = None, verbose: bool = True
) -> CheckReport:
    """Look at every file of a competition and say what is wrong with it; ``salt check``.

    Args:
        data: Folder with Kaggle's files, or a workspace.
        mask_threshold: Remember that grey levels of masks from this on, 1 to 255, are salt.
        verbose: Print how the work goes.

    Raises:
        ConfigError: Another threshold is remembered already.
        DataError: There is nothing to look at.
    """
    from kaggle_salt.pipeline.preparing import prepare

    return prepare.check_data(
        workspace_at(data), mask_threshold=mask_threshold, listener=listener_for(verbose)
    )


def load_preset(name: str, *, set: Settings | None = None) -> Config:
    """A preset's configuration, to look at or to train with: ``train(config=...)``.

    Args:
        name: One of ``salt presets``.
        set: Values by dotted key, as in ``{"stage.bce.epochs": 3}``; ``stage.*`` is every stage.

    Raises:
        ConfigError: There is no such preset or key, or a value is of the wrong kind.
    """
    from kaggle_salt.config.file import load_config
    from kaggle_salt.presets import preset_path

    return load_config(preset_path(name), overrides_of(set))


def train(
    data: Place = "data",
    *,
    preset: str | None = None,
    config: Config | AnyPath | None = None,
    run: str | None = None,
    folds: Folds = 0,
    set: Settings | None = None,
    seed: int | None = None,
    pseudo: AnyPath | None = None,
    minutes: float | None = None,
    epochs: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    jobs: int | str = 1,
    device: str = "auto",
    verbose: bool = True,
) -> list[FoldSummary]:
    """Train folds of a run, one after the other or side by side; ``salt train``.

    Args:
        data: Folder with Kaggle's files, or a workspace.
        preset: One of ``salt presets``; by default the run's own, or what suits the machine.
        config: In place of a preset, a TOML file, or what :func:`load_preset` gave.
        run: Name of the run; by default that of the preset or file.
        folds: ``0``, ``[0, 1]`` or ``"all"``.
        set: Values by dotted key, as in ``{"stage.bce.epochs": 3}``; ``stage.*`` is every stage.
        seed: Seed of weights and batches, the key ``training.seed``.
        pseudo: CSV of pseudo-labels to train on, the key ``pseudo.file``.
        minutes: Fit the stages to so many minutes a fold; a step of each is timed.
        epochs: In place of minutes: fit them to so many epochs in all.
        resume: Go on with half-trained folds.
        overwrite: Train these folds anew.
        jobs: How many at a time, each in a process of its own, or ``"auto"``: one for each GPU.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        verbose: Print a line for each epoch; without it only warnings.

    Returns:
        A summary of each fold asked for, finished before or now.

    Raises:
        SaltError: Before any training, if something asked for cannot be done.
    """
    workspace, listener = workspace_at(data), listener_for(verbose)
    settings, budget = with_shorthands(set, seed=seed, pseudo=pseudo), budget_of(minutes, epochs)
    chosen = choose_run(workspace, run, preset, config, settings, device, listener)
    return _train(workspace, chosen, jobs, listener, folds=folds_text(folds), device=device,
                  budget=budget, resume=resume, overwrite=overwrite)  # fmt: skip


def _train(
    place: Workspace, chosen: Chosen, jobs: int | str, listener: Listener, **how: Any
) -> list[FoldSummary]:
    """Train here, or in processes side by side."""
    from kaggle_salt.launch.folds import train_folds
    from kaggle_salt.pipeline.training import train as pipeline

    run, config, because = chosen
    launched = side_by_side(jobs, how["device"], listener)
    if launched is None:
        return pipeline.train(place, run, config, because=because, listener=listener, **how)
    report = train_folds(place, run, config, *launched, because=because, **how)
    report.refuse_failed()
    return list(report.summaries)


def ensemble(
    data: Place = "data",
    runs: str | Sequence[str] = (),
    *,
    name: str | None = None,
    weights: Weights = None,
    how: str = "mean",
    steps: int = 30,
    post: Sequence[str] | None = None,
    mosaic: AnyPath | None = None,
    require_all: bool = False,
    jobs: int | str = 1,
    device: str = "auto",
    verbose: bool = True,
) -> EnsembleReport:
    """Average folds and runs, choose a rule, predict the test tiles; ``salt ensemble``.

    Args:
        data: Folder with Kaggle's files, or a workspace.
        runs: Name of a run, or of several to blend; by default the one trained last.
        name: Name of the ensemble; by default the runs' names joined by ``+``.
        weights: One positive number for each run, equal by default, or ``"search"``.
        how: ``mean``, ``logits`` or ``vote``: what is averaged.
        steps: Runs that a search of the weights takes at most, counted with repetition.
        post: Steps after threshold and area; by default those that the training tiles bear out.
        mosaic: Table of ``salt mosaic``, so that neighbours' masks decide where they can.
        require_all: Refuse an ensemble that lacks a fold.
        jobs: Processes that predict the test tiles side by side, or ``"auto"``.
        device: Where the test tiles are predicted.
        verbose: Print how the work goes; without it only warnings.

    Raises:
        ConfigError: Unknown run or average, no trained fold, or wrong weights.
        DataError: The runs, or the mosaics, do not belong to this data.
    """
    from kaggle_salt.launch import parts
    from kaggle_salt.pipeline.blending import ensemble as pipeline

    settings: dict[str, Any] = {
        "name": name, "weights": weights, "how": how, "steps": steps, "post": post,
        "mosaic": optional_path(mosaic), "require_all": require_all, "device": device,
    }  # fmt: skip
    place, listener = workspace_at(data), listener_for(verbose)
    if launched := side_by_side(jobs, device, listener):
        return parts.ensemble(place, names_of(runs), *launched, **settings)
    return pipeline.ensemble(place, names_of(runs), listener=listener, **settings)


def pseudo_label(
    data: Place = "data",
    runs: str | Sequence[str] = (),
    *,
    low: float = 0.2,
    high: float = 0.8,
    confidence: float = 0.9,
    limit: int | None = None,
    balance: Balance = "training",
    soft: bool = False,
    teachers: Teachers = "fold",
    out: AnyPath | None = None,
    overwrite: bool = False,
    device: str = "auto",
    verbose: bool = True,
) -> PseudoReport:
    """Label sure test tiles for ``train(pseudo=report.csv)``: it is ``salt pseudo-label``.

    Args:
        data: Folder with Kaggle's files, or a workspace.
        runs: Name of the run that teaches, or of several; their networks count alike.
        low: Pixels below this probability are sure.
        high: Pixels above this probability are sure.
        confidence: Share of a tile's pixels that must be sure.
        limit: Tiles to take at most for a fold.
        balance: ``training`` as the training tiles, or ``1st-place``: splits of that solution.
        soft: Keep what the teachers said, and learn from it in place of masks.
        teachers: ``fold``: fold k's networks teach fold k's student; ``all``: all teach all.
        out: The CSV; by default ``pseudo-labels.csv`` in the first run's folder.
        overwrite: Replace a file made of something else.
        device: Where the test tiles are predicted.
        verbose: Print how the work goes; without it only warnings.

    Raises:
        ConfigError: No run, one that cannot teach, no confident tile, or a file is there already.
        DataError: There are no test tiles, or a run does not belong to this data.
    """
    from kaggle_salt.pipeline.training import pseudo_label as pipeline
    from kaggle_salt.pseudo_origin import Confidence

    wanted = Confidence(low, high, confidence, limit, balance, soft)
    return pipeline.pseudo_label(
        workspace_at(data), names_of(runs), wanted=wanted, teachers=teachers,
        out=optional_path(out), overwrite=overwrite, device=device, listener=listener_for(verbose),
    )  # fmt: skip
