"""The folder of a pretraining: a run that has weights and no folds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_salt.errors import salt_command
from kaggle_salt.runs import RunFolder, TrainingFolder, manifest_part

#: What a pretraining, which has no folds, has in place of a fold's number.
NO_FOLD = 999

#: What of its manifest travels with the weights: the kind tells that they have seen no mask.
ORIGIN_KEYS = ("kind", "data_hash", "weights_origin")


@dataclass(frozen=True)
class PretrainingFolder(TrainingFolder):
    """``runs/<run>``, where ``salt pretrain`` made it: weights that have seen no mask."""

    SUMMARY = "pretraining.json"

    fold: int = NO_FOLD

    @property
    def picture(self) -> Path:
        """Tiles, and what the network makes of them."""
        return self.path / "pretraining.png"

    @property
    def tidy(self) -> bool:
        """Whether a finished pretraining has its picture, and nothing that is of no more use."""
        return self.picture.exists() and not self.checkpoint.exists()

    def origin(self) -> dict[str, Any]:
        """The same in every fold: no tile's mask was seen."""
        return manifest_part(self.path, ORIGIN_KEYS)

    @property
    def anew(self) -> str:
        return salt_command("pretrain", "--run", self.path.name, "--overwrite")

    def variation(self, name: str, *settings: object) -> str:
        config, run = self.path / "config.toml", f"{self.path.name}-{name}"
        return salt_command("pretrain", "--config", config, "--run", run, *settings)


@dataclass(frozen=True)
class PretrainingRun(RunFolder):
    """``runs/<run>`` of a pretraining, whose only training lies in the folder itself."""

    @property
    def training(self) -> PretrainingFolder:
        return PretrainingFolder(self.path)

    def claimed_folds(self) -> list[int]:
        """:data:`NO_FOLD` once there is something to lose; no number before."""
        return [NO_FOLD] if self.training.started else []
