"""The folder of a run, and the versions that a manifest records."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from kaggle_salt.errors import ConfigError, DataError, nearest, salt_command, shortened
from kaggle_salt.files import read_json

#: What the manifest of a run of imported predictions says of its kind.
FOREIGN = "foreign"

#: Packages whose version can change a number; recorded in every manifest.
RECORDED_PACKAGES = (
    "kaggle-salt", "torch", "timm", "segmentation-models-pytorch", "albumentations",
    "opencv-python-headless", "numpy", "pandas", "scikit-learn",
)  # fmt: skip

#: Bytes of the longest name of a run: file systems take 255, and there are endings to add.
LONGEST_NAME = 200

#: What of a run's manifest travels with the weights of its folds.
ORIGIN_KEYS = ("train_hash", "folds_hash", "pseudo_teachers")


def package_versions() -> dict[str, str]:
    """Installed version of each of :data:`RECORDED_PACKAGES`; a missing one is left out."""
    versions = {}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@dataclass(frozen=True)
class FoldFolder:
    """``runs/<run>/fold<k>``: what one fold leaves behind.

    A fold is *finished* once ``fold.json`` is there: it is written last, after the weights
    and the out-of-fold probabilities, and holds their hashes.
    """

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
    def summary(self) -> Path:
        return self.path / "fold.json"

    def origin(self) -> dict[str, Any]:
        """What tells which tiles the fold's weights have not seen; nothing without a manifest.

        The run's name is not in it: weights of the same training are the same, to the byte.
        """
        manifest = RunFolder(self.path.parent).manifest
        if not manifest.exists():
            return {}
        told = read_json(manifest)
        return {"fold": self.fold, **{key: told[key] for key in ORIGIN_KEYS if key in told}}

    @property
    def finished(self) -> bool:
        return self.summary.exists()

    @property
    def started(self) -> bool:
        return self.checkpoint.exists() or self.history.exists() or self.finished


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
        if self.config.exists() or not self.manifest.exists():
            return False
        try:
            return read_json(self.manifest).get("kind") == FOREIGN
        except DataError:
            return False

    def fold(self, fold: int) -> FoldFolder:
        return FoldFolder(self.path / f"fold{fold}", fold)

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
        """Numbers of the folds that have a folder, even if their first epoch is still going on."""
        names = (child.name for child in self.path.glob("fold*") if child.is_dir())
        return sorted({int(name[4:]) for name in names if name[4:].isdecimal()})


def train_anew(folder: Path) -> str:
    """The command that trains the fold in ``runs/<run>/fold<k>`` anew, and touches no other."""
    fold = folder.name.removeprefix("fold")
    return salt_command("train", "--run", folder.parent.name, "--fold", fold, "--overwrite")


def _number(path: Path) -> int:
    """The number in a file's name, for an order in which 10 comes after 9."""
    return int("".join(filter(str.isdecimal, path.stem)) or 0)


def require_plain_name(name: str, what: str) -> None:
    """Refuse a name that would not be one folder or file of its own.

    Args:
        name: Name of a run, an ensemble or a submission.
        what: Which of them, with its article, for the message.

    Raises:
        ConfigError: The name is empty, hidden, a path, too long, or has what no line can show.
    """
    fits = len(name.encode(errors="replace")) <= LONGEST_NAME and name.isprintable()
    if not name or name.startswith(".") or "/" in name or "\\" in name or not fits:
        raise ConfigError(
            f"{what} cannot be called {shortened(repr(name))}",
            expected="a plain name, without slashes and without a dot in front, "
            f"of {LONGEST_NAME} bytes at most",
            next_step="choose another name",
        )


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
    if not run.config.exists():
        known = sorted(path.parent.name for path in runs.glob("*/config.toml"))
        raise ConfigError(
            f"there is no run '{name}' in {runs}",
            expected=nearest(name, known) if known else "a run made by salt train",
            next_step=salt_command("train", "--run", name, "--fold", 0),
        )
    return run
