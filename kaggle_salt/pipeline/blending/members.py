"""The runs of an ensemble: found, and checked against the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_salt.competition.tiles import Competition
from kaggle_salt.ensembling.blending import blend, join
from kaggle_salt.errors import ConfigError, DataError, salt_command
from kaggle_salt.learning.fold import read_summary
from kaggle_salt.pipeline.blending.foreign import import_again, import_beside
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.predictions import Predictions, load
from kaggle_salt.runs import FOREIGN, RunFolder, find_run, open_run
from kaggle_salt.storage.files import file_hash, read_json


@dataclass(frozen=True)
class Member:
    """A run in the ensemble: its finished folds, and its weight.

    A foreign one has no folds: its predictions are in two files.
    """

    run: RunFolder
    folds: tuple[int, ...]
    weight: float
    foreign: bool = False

    @property
    def oof(self) -> list[Path]:
        """Stems of the out-of-fold predictions."""
        if self.foreign:
            return [self.run.oof]
        return [self.run.fold(fold).oof for fold in self.folds]

    def origin(self) -> dict[str, Any]:
        """Which networks it is, or which files another tool wrote, by their hashes."""
        if self.foreign:
            files = {FOREIGN: read_json(self.run.manifest)["sources"]}
        else:
            hashes = {k: read_summary(self.run.fold(k)).weights_hash for k in self.folds}
            files = {"folds": {str(fold): known for fold, known in hashes.items()}}
        return {"run": self.run.name, "weight": self.weight, **files}


def open_members(
    workspace: Workspace,
    runs: Sequence[str],
    weights: Sequence[float] | None,
    competition: Competition,
    listener: Listener,
) -> list[Member]:
    """Open the runs of an ensemble.

    Args:
        workspace: Where fold table and runs lie.
        runs: Names of runs; none means the one trained last.
        weights: One positive number for each run; equal by default.
        competition: The data that they must have been trained on.
        listener: Told of a run chosen for want of a name, and of other fold tables.

    Raises:
        ConfigError: Unknown run, no trained fold, or wrong weights.
        DataError: A run was trained on other data.
    """
    names = list(runs) or [_last_run(workspace, listener)]
    members = [
        _open_any(workspace.runs, name, weight, competition)
        for name, weight in zip(names, _run_weights(names, weights), strict=True)
    ]
    _warn_of_tables(members, file_hash(workspace.folds), listener)
    return members


def as_made(
    members: Sequence[Member], told: Sequence[Mapping[str, Any]], *, next_step: str
) -> tuple[Member, ...]:
    """The members of an ensemble with the folds that it was made of, and no later ones.

    Args:
        members: Its runs as they are now.
        told: What its document says of each.
        next_step: How to make it again.

    Raises:
        DataError: A fold is gone, or is another network by now.
    """
    then = []
    for member, one in zip(members, told, strict=True):
        hashes = one.get("folds", {})
        for fold, known in hashes.items():
            there = int(fold) in member.folds
            if not there or read_summary(member.run.fold(int(fold))).weights_hash != known:
                raise DataError(
                    f"fold {fold} of run {member.run.name} is not the network of the ensemble",
                    expected="the folds whose hashes stand in its ensemble.json",
                    next_step=next_step,
                )
        then.append(replace(member, folds=tuple(sorted(map(int, hashes)))))
    return tuple(then)


def out_of_fold(member: Member, how: str) -> Predictions:
    """What a member says of the tiles that its networks have not seen, in memory.

    Args:
        member: A run with finished folds, or predictions that another tool made.
        how: The average that it will be blended by: a vote is yes or no; else all stays as it is.

    Raises:
        DataError: A file is damaged, or a tile comes twice.
    """
    again = import_again(member.run) if member.foreign else ""
    return blend([join([load(stem, next_step=again) for stem in member.oof])], how=how)


def report_missing(
    missing: Mapping[str, tuple[int, ...]], require_all: bool, listener: Listener
) -> None:
    """Warn of folds that are not trained, or refuse to go on without them.

    Args:
        missing: Folds without a trained network, by run.
        require_all: Refuse.
        listener: Told what is left out.

    Raises:
        ConfigError: A fold is missing and ``require_all`` is set.
    """
    for run, folds in missing.items():
        if not folds:
            continue
        text = f"run {run} lacks fold {', '.join(map(str, folds))}"
        some = ",".join(map(str, folds))
        command = salt_command("train", "--run", run, "--fold", some, "--resume")
        if require_all:
            raise ConfigError(text, expected="every fold (--require-all)", next_step=command)
        listener.warn(f"{text}: left out. To train the rest: {command}")


def _last_run(workspace: Workspace, listener: Listener) -> str:
    """Name of the run whose fold was finished last."""
    finished = workspace.trained_runs()
    if not finished:
        raise ConfigError(
            f"no run in {workspace.runs} has a trained fold",
            expected="at least one",
            next_step="salt train --fold 0",
        )
    last = finished[-1]
    if len(finished) > 1:
        listener.note(
            f"taking run {last}, trained last; to blend runs, name them: "
            + salt_command("ensemble", *sorted(finished))
        )
    return last


def _run_weights(names: Sequence[str], weights: Sequence[float] | None) -> list[float]:
    if len(set(names)) < len(names):
        raise ConfigError(
            f"a run is named twice: {' '.join(names)}",
            expected="each run once",
            next_step=salt_command("ensemble", *dict.fromkeys(names)),
        )
    if weights is None:
        return [1.0] * len(names)
    if len(weights) != len(names) or not all(np.isfinite(w) and w > 0 for w in weights):
        raise ConfigError(
            f"weights {', '.join(f'{w:g}' for w in weights)} for {len(names)} runs",
            expected="one positive number for each run, in their order",
            next_step="--weights 2,1 or --weights equal",
        )
    return list(weights)


def _open_any(runs: Path, name: str, weight: float, competition: Competition) -> Member:
    """Open a run, or predictions that another tool made."""
    run = find_run(runs, name)
    if not run.foreign:
        return open_member(open_run(runs, name), weight, competition)
    manifest = read_json(run.manifest)
    hashes = {"train_hash": competition.train_hash, "test_hash": competition.test_hash}
    if any(manifest.get(key) != value for key, value in hashes.items()):
        raise DataError(
            f"the predictions {name} were imported for other tiles than those in "
            f"{competition.path}",
            expected="the data they were imported for",
            next_step="--data FOLDER, or import those for these tiles: "
            + import_beside(name, competition),
        )
    return Member(run, (), weight, foreign=True)


def open_member(run: RunFolder, weight: float, competition: Competition) -> Member:
    """Look which folds of a run are finished, and whether it belongs to the data.

    Raises:
        ConfigError: No fold is finished.
        DataError: The run was trained on other data.
    """
    folds = trained_folds(run)
    if read_json(run.manifest).get("train_hash") != competition.train_hash:
        raise DataError(
            f"run {run.name} was trained on other tiles than those in {competition.path}",
            expected="the data it was trained on",
            next_step="--data FOLDER, or train again under another --run NAME",
        )
    return Member(run, folds, weight)


def trained_folds(run: RunFolder) -> tuple[int, ...]:
    """The finished folds of a run.

    Raises:
        ConfigError: There is none.
    """
    folds = tuple(run.finished_folds())
    if not folds:
        half = run.unfinished_folds()
        raise ConfigError(
            f"run {run.name} has no trained fold"
            + (f" (fold {half[0]} is half trained)" if half else ""),
            expected="at least one",
            next_step=salt_command(
                "train", "--run", run.name, "--fold", *([half[0], "--resume"] if half else [0])
            ),
        )
    return folds


def _warn_of_tables(members: Sequence[Member], folds_hash: str, listener: Listener) -> None:
    for member in members:
        if not member.foreign and read_json(member.run.manifest).get("folds_hash") != folds_hash:
            listener.warn(
                f"run {member.run.name} was trained on another fold table than the present one: "
                "its predictions are out of fold all the same, but the table's folds are not its"
            )
