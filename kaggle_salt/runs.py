"""The folders of runs and of their trainings."""

from __future__ import annotations

import shlex
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from kaggle_salt.errors import ConfigError, DataError, nearest, salt_command
from kaggle_salt.names import require_plain_name
from kaggle_salt.storage.files import read_json
from kaggle_salt.storage.lease import is_lease, owner

#: What the manifest says of its kind: of a run of imported predictions, and of a pretraining.
FOREIGN, PRETRAINING = "foreign", "pretraining"

#: What of a run's manifest travels with the weights of its folds.
ORIGIN_KEYS = ("train_hash", "folds_hash", "pseudo_teachers")


@dataclass(frozen=True)
class TrainingFolder(ABC):
    """What one training leaves behind, a fold's or a pretraining's.

    It is finished once its summary is there, which is written last.
    """

    SUMMARY: ClassVar[str]

    path: Path
    fold: int

    @property
    def history(self) -> Path:
        return self.path / "history.csv"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def weights(self) -> Path:
        return self.path / "weights.safetensors"

    def snapshot(self, number: int) -> Path:
        """Weights at the end of a cycle, counted from 1."""
        return self.path / f"snapshot{number}.safetensors"

    @property
    def summary(self) -> Path:
        return self.path / self.SUMMARY

    @property
    def finished(self) -> bool:
        return self.summary.exists()

    @property
    def started(self) -> bool:
        return self.checkpoint.exists() or self.history.exists() or self.finished

    def clear(self) -> None:
        """Remove what the training left, but for what is the run's, and the lease.

        The summary goes first, so that at no instant it vouches for what is gone, and the
        history last: as long as anything is left the training counts as begun.
        """
        run = RunFolder(self.path)  # a pretraining's is its own
        ordered = {self.summary, self.checkpoint, self.history}
        rest = set(self.path.glob("*")) - ordered - {run.config, run.manifest}
        others = sorted(path for path in rest if not is_lease(path))
        for path in (self.summary, self.checkpoint, *others, self.history):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @abstractmethod
    def origin(self) -> dict[str, Any]:
        """What the weights say of their training, wherever they are copied to."""

    @property
    @abstractmethod
    def anew(self) -> str:
        """The command that does this training anew, and touches no other."""

    @property
    def resumed(self) -> str:
        """The command that goes on with this training."""
        return shlex.join([*shlex.split(self.anew)[:-1], "--resume"])

    @abstractmethod
    def variation(self, name: str, *settings: object) -> str:
        """The command for the same training with other settings, in the run ``<run>-<name>``."""


@dataclass(frozen=True)
class FoldFolder(TrainingFolder):
    """``runs/<run>/fold<k>``: what one fold leaves behind.

    Its summary, ``fold.json``, is written after the weights and the out-of-fold probabilities,
    and holds their hashes.
    """

    SUMMARY = "fold.json"

    @property
    def weight_files(self) -> list[Path]:
        """The networks whose predictions are averaged: the snapshots, or the one file."""
        snapshots = sorted(self.path.glob("snapshot*.safetensors"), key=_number)
        return snapshots or [self.weights]

    @property
    def oof(self) -> Path:
        """Stem of the out-of-fold predictions (see :mod:`kaggle_salt.predictions`)."""
        return self.path / "oof"

    @property
    def test(self) -> Path:
        """Stem of the predictions of the test tiles, written by ``salt ensemble``."""
        return self.path / "test"

    @property
    def run(self) -> str:
        """Name of the run that the fold belongs to."""
        return self.path.parent.name

    @property
    def learning_curve(self) -> Path:
        return self.path / "learning-curve.png"

    @property
    def pictures(self) -> Path:
        """Tiles out of fold and tiles trained on, side by side."""
        return self.path / "predictions.png"

    @property
    def tidy(self) -> bool:
        """Whether a finished fold has its pictures, and nothing that is of no use any more."""
        drawn = self.learning_curve.exists() and self.pictures.exists()
        return not self.checkpoint.exists() and (drawn or not self.history.exists())

    def origin(self) -> dict[str, Any]:
        """What tells which tiles the fold's weights have not seen; nothing without a manifest.

        The run's name is not in it: weights of the same training are the same, to the byte.
        """
        told = manifest_part(self.path.parent, ORIGIN_KEYS)
        return {"fold": self.fold, **told} if told else {}

    @property
    def anew(self) -> str:
        return train_anew(self.path)

    def variation(self, name: str, *settings: object) -> str:
        return salt_command(
            "train", "--config", self.path.parent / "config.toml",
            "--run", f"{self.run}-{name}", "--fold", self.fold, *settings,
        )  # fmt: skip


@dataclass(frozen=True)
class RunFolder:
    """``runs/<run>``: the configuration and the folds of one experiment."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def oof(self) -> Path:
        """Stem of the out-of-fold predictions of a foreign run, of all folds at once."""
        return self.path / "oof"

    @property
    def test(self) -> Path:
        """Stem of the test predictions of a foreign run."""
        return self.path / "test"

    @property
    def foreign(self) -> bool:
        """Whether another tool made the predictions: there is no network and no fold then."""
        return not self.config.exists() and self.kind == FOREIGN

    @property
    def pretraining(self) -> bool:
        """Whether it holds pretrained weights: there is no fold then."""
        return self.kind == PRETRAINING

    @property
    def kind(self) -> str:
        """What the manifest says; empty for a run of folds, and where there is no manifest."""
        try:
            return str(read_json(self.manifest).get("kind", "")) if self.manifest.exists() else ""
        except DataError:
            return ""

    def fold(self, fold: int) -> FoldFolder:
        return FoldFolder(self.path / f"fold{fold}", fold)

    def log(self, fold: int) -> Path:
        """What the process said that trained a fold beside others."""
        return self.path / "logs" / f"fold{fold}.log"

    def finished_folds(self) -> list[int]:
        """Numbers of the folds that were trained to the end, ascending."""
        return [fold for fold in self.claimed_folds() if self.fold(fold).finished]

    def unfinished_folds(self) -> list[int]:
        """Numbers of the folds that were begun but not ended, ascending."""
        return [
            fold for fold in self.claimed_folds()
            if self.fold(fold).started and not self.fold(fold).finished
        ]  # fmt: skip

    def claimed_folds(self) -> list[int]:
        """Numbers of the folds that were begun, or whose first epoch is going on; ascending.

        What a process left that was killed in its first epoch claims nothing.
        """
        return [n for n in self.folders() if self.fold(n).started or owner(self.fold(n).path)]

    def folders(self) -> list[int]:
        """Numbers of the folds that have a folder, whatever is in it; ascending."""
        names = (child.name for child in self.path.glob("fold*") if child.is_dir())
        return sorted({int(name[4:]) for name in names if name[4:].isdecimal()})


def manifest_part(run: Path, keys: Sequence[str]) -> dict[str, Any]:
    """What the manifest in a run's folder says under some keys; nothing without one."""
    manifest = RunFolder(run).manifest
    told = read_json(manifest) if manifest.exists() else {}
    return {key: told[key] for key in keys if key in told}


def train_anew(folder: Path) -> str:
    """The command that trains the fold in ``runs/<run>/fold<k>`` anew, and touches no other."""
    fold = folder.name.removeprefix("fold")
    return salt_command("train", "--run", folder.parent.name, "--fold", fold, "--overwrite")


def _number(path: Path) -> int:
    """The number in a file's name, for an order in which 10 comes after 9."""
    return int("".join(filter(str.isdecimal, path.stem)) or 0)


def find_run(runs: Path, name: str) -> RunFolder:
    """The folder of the run called ``name``, whether it is there or not.

    Raises:
        ConfigError: No run can be called so.
    """
    require_plain_name(name, "a run")
    return RunFolder(runs / name)


def open_run(runs: Path, name: str) -> RunFolder:
    """Find the run called ``name`` under the folder ``runs``.

    Raises:
        ConfigError: There is no such run; the message offers the nearest, or lists them all.
    """
    run = find_run(runs, name)
    if run.foreign:
        raise ConfigError(
            f"run {name} holds predictions that another tool made, and no network",
            expected="a run made by salt train",
            next_step=salt_command("ensemble", name),
        )
    if run.pretraining:
        raise ConfigError(
            f"run {name} holds pretrained weights, and no fold",
            expected="a run made by salt train",
            next_step=f"the run that started from {run.path / 'weights.safetensors'}",
        )
    if not run.config.exists():
        known = sorted(path.parent.name for path in runs.glob("*/config.toml"))
        raise ConfigError(
            f"there is no run '{name}' in {runs}",
            expected=nearest(name, known) if known else "a run made by salt train",
            next_step=salt_command("train", "--run", name, "--fold", 0),
        )
    return run
