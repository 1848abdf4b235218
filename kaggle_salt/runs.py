"""Files that outlive a crash: atomic writes, hashes, and the folder of a run."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from kaggle_salt.errors import ConfigError, DataError, salt_command

#: Packages whose version can change a number; recorded in every manifest.
RECORDED_PACKAGES = (
    "kaggle-salt", "torch", "timm", "segmentation-models-pytorch", "albumentations",
    "opencv-python-headless", "numpy", "pandas", "scikit-learn",
)  # fmt: skip


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; flush and rename it when the block ends well.

    A reader sees the old file or the new one, never half of either.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON document atomically, indented, with a final newline."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DataError: The file is missing or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: {error}",
            expected="a JSON file",
            next_step="run the command that writes it again",
        ) from error
    if not isinstance(value, dict):
        raise DataError(
            f"{path} holds a {type(value).__name__}",
            expected="a JSON object",
            next_step="run the command that writes it again",
        )
    return value


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_hash(paths: Sequence[Path]) -> str:
    """SHA-256 over the hashes of several files; that of one file is its own."""
    hashes = [file_hash(path) for path in paths]
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


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
    def learning_curve(self) -> Path:
        return self.path / "learning-curve.png"

    @property
    def summary(self) -> Path:
        return self.path / "fold.json"

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


def open_run(runs: Path, name: str) -> RunFolder:
    """Find the run called ``name`` under the folder ``runs``.

    Raises:
        ConfigError: There is no such run; the message lists those there are.
    """
    run = RunFolder(runs / name)
    if not run.config.exists():
        known = sorted(path.parent.name for path in runs.glob("*/config.toml"))
        raise ConfigError(
            f"there is no run '{name}' in {runs}",
            expected="one of " + ", ".join(known) if known else "a run made by salt train",
            next_step=salt_command("train", "--run", name, "--fold", 0),
        )
    return run
