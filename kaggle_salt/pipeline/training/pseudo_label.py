"""``salt pseudo-label``: test tiles labelled by trained networks, for others to learn from.

Fold k's student is taught by the fold-k networks of the runs alone, none of which has seen a
mask of fold k's validation tiles; so its out-of-fold score stays as honest as theirs.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kaggle_salt.competition import rle
from kaggle_salt.competition.decision import PLAIN_RULE
from kaggle_salt.competition.fold_files import read_folds
from kaggle_salt.competition.tiles import Competition, is_blank
from kaggle_salt.ensembling.blending import blend
from kaggle_salt.ensembling.confidence import FIRST_PLACE, Selection, select_tiles
from kaggle_salt.errors import ConfigError, DataError, salt_command
from kaggle_salt.learning.fold import read_summary
from kaggle_salt.pipeline.blending.on_test import predict_fold
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.predictions import Predictions
from kaggle_salt.pseudo_labels import (
    data_files,
    labels_taken,
    manifest_path,
    read_manifest,
    write_pseudo_labels,
)
from kaggle_salt.pseudo_origin import Confidence, MadeOf, Manifest, Network, Teachers, set_name
from kaggle_salt.runs import RunFolder, open_run
from kaggle_salt.storage.files import file_hash, read_json, vouched_for


@dataclass(frozen=True)
class PseudoReport:
    """Pseudo-labels on disk: their CSV and what its manifest says."""

    csv: Path
    manifest: Manifest
    existed: bool


def pseudo_label(
    workspace: Workspace,
    runs: Sequence[str],
    *,
    wanted: Confidence | None = None,
    teachers: Teachers = "fold",
    out: Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    listener: Listener | None = None,
) -> PseudoReport:
    """Label the confident test tiles with the mean prediction of trained networks.

    Args:
        workspace: Where data, fold table and runs lie.
        runs: Names of runs; their networks count alike.
        wanted: What counts as confident, and how the tiles taken are balanced.
        teachers: ``fold``: a set of labels for each fold trained in all the runs, made by
            these folds' networks. ``all``: one set for every student, made by all networks.
        out: The CSV to write; by default ``pseudo-labels.csv`` in the first run's folder.
        overwrite: Replace a file made of something else.
        device: Where the test tiles are predicted.
        listener: Told how the work goes.

    Raises:
        ConfigError: A run that cannot teach, no confident tile, or a file is there already.
        DataError: There are no test tiles, or a run does not belong to this data.
    """
    listener = listener or Listener()
    competition = workspace.open(listener)
    table = read_folds(workspace.folds, competition.ids, competition.masks)
    members = _open_teachers(workspace, runs, teachers, competition)
    made_of = MadeOf(
        teachers=teachers,
        networks=_networks(members, teachers, listener),
        settings=wanted or Confidence(),
        folds_hash=file_hash(workspace.folds),
        test_hash=competition.test_hash,
    )
    csv = out or members[0].path / "pseudo-labels.csv"
    same = _same_labels(csv, made_of, overwrite=overwrite)
    if same is not None:
        return PseudoReport(csv, same, existed=True)
    labels, soft, counts = _make_labels(workspace, made_of, competition, table, device, listener)
    manifest = write_pseudo_labels(csv, labels, made_of, tuple(counts), soft, overwrite=overwrite)
    return PseudoReport(csv, manifest, existed=False)


def _make_labels(
    workspace: Workspace,
    made_of: MadeOf,
    competition: Competition,
    table: pd.DataFrame,
    device: str,
    listener: Listener,
) -> tuple[pd.DataFrame, list[NDArray[np.uint8]], list[dict[str, Any]]]:
    """Rows of the CSV, what was predicted for them (if wanted), the counts of the manifest."""
    wanted = made_of.settings
    blank = is_blank(competition.test_images)
    labels, soft, counts = [], [], []
    for name, networks in made_of.networks.items():
        predicted = _predict(workspace, networks, competition, device, listener)
        training = table[table["fold"].astype(str) != name]  # where all teach, every tile
        selection = select_tiles(predicted, blank, training, wanted)
        _refuse_nothing(selection, name, wanted)
        taken = predicted.probabilities[selection.tiles["row"].to_numpy()]
        masks = PLAIN_RULE.apply(taken)
        soft += [taken] if wanted.soft else []
        labels.append(selection.tiles.assign(fold=name, rle_mask=rle.encode_batch(masks)))
        counts += [{"fold": name, **stratum} for stratum in selection.strata]
    return pd.concat(labels), soft, counts


def _open_teachers(
    workspace: Workspace, names: Sequence[str], teachers: Teachers, competition: Competition
) -> list[RunFolder]:
    """The runs, if they were trained on these tiles and folds."""
    competition.require_test_tiles("to label")
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"the teachers are named {' '.join(names) or 'nowhere'}",
            expected="one run or more, each once",
            next_step=salt_command("pseudo-label", *(dict.fromkeys(names) or ["RUN"])),
        )
    hashes = {"train_hash": competition.train_hash, "folds_hash": file_hash(workspace.folds)}
    members = [open_run(workspace.runs, name) for name in names]
    for run in members:
        manifest = read_json(run.manifest)
        if any(manifest.get(key) != value for key, value in hashes.items()):
            raise DataError(
                f"run {run.name} was trained on other tiles or another fold table",
                expected="teachers trained under the present one: others may have seen the tiles "
                "that the student is validated on",
                next_step="restore them, or train teachers anew under another --run NAME",
            )
        if teachers == "fold" and manifest.get("pseudo_teachers") == "all":
            raise ConfigError(
                f"run {run.name} has learnt from networks of all folds, and so from the tiles "
                "that its student would be validated on",
                expected="teachers that learnt from their own fold's networks only",
                next_step="name other runs, or --teachers all and an inflated out-of-fold score",
            )
    return members


def _networks(
    members: Sequence[RunFolder], teachers: Teachers, listener: Listener
) -> dict[str, tuple[Network, ...]]:
    """The networks that teach each set of labels, by the set's name."""
    trained = {run.name: set(run.finished_folds()) for run in members}
    some, every = set.union(*trained.values()), set.intersection(*trained.values())
    if not (every if teachers == "fold" else some):
        raise ConfigError(
            f"there is no fold that {' and '.join(trained)} have trained to the end",
            expected="at least one",
            next_step="; ".join(_train_in_common(trained)),
        )
    networks = [
        Network(run=run.name, fold=fold, weights_hash=read_summary(run.fold(fold)).weights_hash)
        for run in members
        for fold in run.finished_folds()
    ]
    if teachers == "all":
        return {"all": tuple(networks)}
    if lacking := sorted(some - every):
        listener.warn(f"no labels for fold {', '.join(map(str, lacking))}: not every run has it")
    return {
        set_name(teachers, fold): tuple(one for one in networks if one.fold == fold)
        for fold in sorted(every)
    }


def _train_in_common(trained: Mapping[str, set[int]]) -> list[str]:
    """The commands after which all runs have one fold: the one that most of them have."""
    counts = Counter(fold for folds in trained.values() for fold in folds)
    fold = min(counts, key=lambda one: (-counts[one], one), default=0)
    return [
        salt_command("train", "--run", run, "--fold", fold, "--resume")
        for run, folds in trained.items()
        if fold not in folds
    ]


def _same_labels(csv: Path, made_of: MadeOf, *, overwrite: bool) -> Manifest | None:
    """Manifest of the labels at ``csv`` if they are whole and were made of the same."""
    if csv.suffix != ".csv":
        raise ConfigError(
            f"pseudo-labels cannot be called {csv.name}",
            expected="a name in .csv; the manifest has the same in .json",
            next_step="--out FILE.csv",
        )
    files = data_files(csv, made_of)
    if vouched_for(manifest_path(csv), *files, wanted={}, check_hash=True) is not None:
        with contextlib.suppress(DataError):  # its counts may be damaged
            # as read: settings that were not there yet have the values they had without a name
            there = read_manifest(csv)
            if there.made_of == made_of:
                return there
    if manifest_path(csv).exists() and not overwrite:
        raise labels_taken(csv)
    return None


def _predict(
    workspace: Workspace,
    networks: Sequence[Network],
    competition: Competition,
    device: str,
    listener: Listener,
) -> Predictions:
    """Mean prediction of the test tiles; every run counts alike."""
    networks_of = Counter(network.run for network in networks)
    parts = [
        predict_fold(open_run(workspace.runs, one.run), one.fold, competition, device, listener)
        for one in networks
    ]
    return blend(parts, weights=[1 / networks_of[one.run] for one in networks])


def _refuse_nothing(selection: Selection, name: str, wanted: Confidence) -> None:
    if selection.tiles.empty:
        confident = sum(stratum["confident"] for stratum in selection.strata)
        by_hand = wanted.balance == "1st-place"
        least = max(wanted.confidence, FIRST_PLACE[0].confidence if by_hand else 0)
        raise ConfigError(
            f"no test tile can be labelled for fold {name}: {confident} are confident enough",
            expected=f"more with {least:g} of their pixels below {wanted.low:g} "
            f"or above {wanted.high:g}",
            next_step="--balance training, or better teachers"
            if by_hand
            else "a smaller --confidence, or better teachers",
        )
