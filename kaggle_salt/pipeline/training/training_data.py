"""What a training is given: tiles, folds, and maybe pseudo-labels, each fold its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kaggle_salt.competition import rle
from kaggle_salt.competition.archive import shortlist
from kaggle_salt.competition.fold_files import read_folds
from kaggle_salt.competition.folds import fold_rows
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.learning.batches import TrainingTiles
from kaggle_salt.learning.channels import describe, settle_channels
from kaggle_salt.pipeline.choose import parse_folds
from kaggle_salt.pipeline.training.claims import refuse_pretext
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.pseudo_labels import PseudoLabels, label_anew, read_pseudo_labels
from kaggle_salt.storage.files import file_hash


@dataclass(frozen=True)
class TrainingData:
    """The data of some folds of a run.

    Args:
        competition: Tiles, masks and test tiles.
        table: The fold table.
        folds: The folds asked for, ascending.
        labels: Pseudo-labels of each of them; nothing where the configuration wants none.
        hashes: What the run's manifest says of the data: ``train_hash``, ``folds_hash``, and
            with pseudo-labels ``pseudo_hash`` and ``pseudo_teachers`` (``fold`` or ``all``).
    """

    competition: Competition
    table: pd.DataFrame
    folds: Sequence[int]
    labels: Mapping[int, PseudoLabels]
    hashes: Mapping[str, str]

    @classmethod
    def open(cls, workspace: Workspace, config: Config, folds: str, listener: Listener) -> Self:
        """Open all that the folds need.

        Args:
            workspace: Where data and fold table lie.
            config: The run's configuration.
            folds: ``0``, ``0,2`` or ``all``.
            listener: Told of labels that make the out-of-fold score too high.

        Raises:
            ConfigError: There is no such fold, a stage lacks its pseudo-labels, or the stages
                learn from no mask.
            DataError: Something is missing, damaged, or does not belong together.
        """
        refuse_pretext(config)
        competition = workspace.open(listener)
        table = read_folds(workspace.folds, competition.ids, competition.masks)
        numbers = parse_folds(folds, sorted(set(table["fold"].tolist())))
        hashes = {"train_hash": competition.train_hash, "folds_hash": file_hash(workspace.folds)}
        _refuse_no_test_tiles(config, competition)
        labels = _read_labels(config, numbers, competition, hashes["folds_hash"])
        for one in labels.values():  # all from one file
            hashes |= {"pseudo_hash": one.content_hash, "pseudo_teachers": one.teachers}
        if hashes.get("pseudo_teachers") == "all":
            listener.warn(
                "the pseudo-labels come from networks of all folds, which have seen the tiles to "
                "validate on: the out-of-fold score will be too high (by about .005)"
            )
        return cls(competition, table, numbers, labels, hashes)

    def tiles_to_train_on(self, fold: int) -> int:
        """How many tiles with true masks a fold trains on."""
        return int((self.table["fold"] != fold).sum())

    def tiles(self, fold: int) -> TrainingTiles:
        """The tiles of a fold; those with pseudo-labels come after the competition's own."""
        own = self.competition
        rows = fold_rows(self.table, own.ids, fold)
        if fold not in self.labels:
            return TrainingTiles(own.images, own.masks, *rows, unlabelled=own.test_images)
        labels = self.labels[fold]
        test_row = {tile: row for row, tile in enumerate(own.test_ids)}
        images = own.test_images[[test_row[tile] for tile in labels.ids]]
        return TrainingTiles(
            np.concatenate([own.images, images]),
            own.masks,
            *rows,
            pseudo_rows=np.arange(len(own.ids), len(own.ids) + len(images)),
            labels=_levels(labels, own.tile_shape),
            unlabelled=own.test_images,
        )


def _levels(labels: PseudoLabels, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Probability times 255, uint8 ``[N, H, W]``: 0 and 255 where the labels are masks."""
    if labels.soft is not None:
        return labels.soft
    return np.stack([rle.decode(text, shape) for text in labels.rle_masks]).view(np.uint8) * 255


def settle_for(competition: Competition, config: Config, listener: Listener) -> Config:
    """The configuration with what ``auto`` stands for with these tiles.

    Args:
        competition: The tiles.
        config: A configuration.
        listener: Told what the network will see, where that is not plain.
    """
    coloured = competition.images.ndim == 4
    settled = settle_channels(config, coloured=coloured)
    channels = settled.input.channels
    if config.input.channels == "auto" or channels == "grey+depth":
        listener.note(f"input.channels = {channels}: {describe(channels)}")
    elif coloured and channels != "rgb":
        listener.note(
            f"the tiles are in colour, and input.channels = {channels} sees their luminance alone; "
            "to see the colours: --set input.channels=rgb"
        )
    return settled


def _refuse_no_test_tiles(config: Config, competition: Competition) -> None:
    learners = [stage.name for stage in config.stage if stage.consistency.weight]
    if learners:
        competition.require_test_tiles(f"for stage '{learners[0]}' to learn from")


def _read_labels(
    config: Config, folds: Sequence[int], competition: Competition, folds_hash: str
) -> dict[int, PseudoLabels]:
    """The pseudo-labels of each fold, if the configuration names a file of them."""
    if not config.pseudo.file:
        if wanting := config.pseudo_stages:
            raise ConfigError(
                f"stage '{wanting[0]}' trains on pseudo-labelled tiles, and there are none",
                expected="a file of pseudo-labels, made by runs that are trained already",
                next_step="salt pseudo-label RUN, then --pseudo FILE",
            )
        return {}
    file = Path(config.pseudo.file)
    hashes = {"folds_hash": folds_hash, "test_hash": competition.test_hash}
    labels = {fold: read_pseudo_labels(file, fold, **hashes) for fold in folds}
    unlabelled = set(competition.test_ids) - set(competition.ids)
    for one in labels.values():
        if strangers := sorted(set(one.ids) - unlabelled):
            raise DataError(
                f"{file} labels tiles that are no test tiles: {shortlist(strangers)}",
                expected="test tiles, none of which has a mask",
                next_step=label_anew(file),
            )
    return labels
