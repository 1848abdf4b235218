"""Pseudo-labels on disk: what networks said of test tiles, and which networks they were.

Files with one stem. ``<stem>.csv`` has one row for each set of labels and tile, with its mask; a
set is called after the fold whose network may train on it, or ``all``. Soft labels lie beside it
in ``<stem>.npy``, uint8 ``[rows of the CSV, H, W]``, probability = value / 255. ``<stem>.json`` is
the manifest: what the labels were made of, what was selected, and the hash of the other files. It
is written last (see :mod:`kaggle_salt.storage.files`), so its presence says that they are whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from kaggle_salt.errors import ConfigError, DataError, reason, salt_command
from kaggle_salt.predictions import map_array
from kaggle_salt.pseudo_origin import MadeOf, Manifest, Network, Teachers, set_name
from kaggle_salt.storage.csv_files import LARGEST_TABLE, parse_csv
from kaggle_salt.storage.files import differs, files_hash, read_json, vouched
from kaggle_salt.storage.mapped import create_mapped
from kaggle_salt.storage.reading import read_bytes

COLUMNS = ["fold", "id", "confidence", "coverage", "rle_mask"]

#: Decimals of the numbers in the CSV; coverage is as exact as in the fold table.
DECIMALS = 8


@dataclass(frozen=True)
class PseudoLabels:
    """The labels that one fold's student may train on.

    Args:
        ids: Test tiles, each once.
        rle_masks: The run-length string of each.
        teachers: ``all`` says that they have seen the fold's validation tiles.
        content_hash: SHA-256 of the files.
        soft: Probability times 255 of each, uint8 ``[N, H, W]``; None where there are masks only.
    """

    ids: tuple[str, ...]
    rle_masks: tuple[str, ...]
    teachers: Teachers
    content_hash: str
    soft: NDArray[np.uint8] | None = None


def manifest_path(path: Path) -> Path:
    """Where the manifest of the CSV at ``path`` lies."""
    return path.with_suffix(".json")


def data_files(path: Path, made_of: MadeOf) -> tuple[Path, ...]:
    """The files that the manifest of the CSV at ``path`` vouches for."""
    return (path, path.with_suffix(".npy")) if made_of.settings.soft else (path,)


def write_pseudo_labels(
    path: Path,
    table: pd.DataFrame,
    made_of: MadeOf,
    selection: tuple[dict[str, Any], ...],
    soft: Sequence[NDArray[np.uint8]] = (),
    *,
    overwrite: bool = True,
) -> Manifest:
    """Write the labels and then their manifest, each atomically; what was there is replaced.

    Args:
        path: The CSV.
        table: Columns :data:`COLUMNS`; ``fold`` is the name of the set.
        made_of: What the labels were made of.
        selection: Counts for each set and stratum.
        soft: Probability times 255 of the table's rows, in order, uint8 ``[N, H, W]`` in parts;
            if ``made_of`` wants soft labels.
        overwrite: Replace others, too, that no manifest vouches for.

    Returns:
        The manifest as written.

    Raises:
        ConfigError: Others are there and must stay.
    """
    with vouched(manifest_path(path), *data_files(path, made_of)) as draft:
        table[COLUMNS].to_csv(
            draft.paths[0],
            index=False,
            float_format=f"%.{DECIMALS}f",
            lineterminator="\n",
            encoding="utf-8",
        )
        if made_of.settings.soft:
            shape = (len(table), *soft[0].shape[1:])
            out = create_mapped(draft.paths[1], np.uint8, shape)
            np.concatenate(soft, out=out)
            out.flush()
        for new, old in zip(draft.paths, data_files(path, made_of), strict=True):
            if not overwrite and differs(old, new):
                raise labels_taken(old)
        draft.document.update(made_of=made_of.model_dump(mode="json"), selection=list(selection))
    return Manifest.model_validate(draft.document)


def labels_taken(path: Path) -> ConfigError:
    """There are other labels than those that are to be written."""
    return ConfigError(
        f"{path} exists and was made of something else",
        expected="a new name for other labels; runs trained on these would no longer match",
        next_step="--out FILE.csv for a second file, or --overwrite to replace it",
    )


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of the CSV at ``path``.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        return Manifest.model_validate(read_json(manifest_path(path)))
    except DataError as error:
        raise _unusable(path, error.found) from error
    except ValidationError as error:
        raise _unusable(path, f"{manifest_path(path)} cannot be read: {reason(error)}") from error


def read_pseudo_labels(path: Path, fold: int, *, folds_hash: str, test_hash: str) -> PseudoLabels:
    """Read the labels that fold ``fold``'s student may train on, and no others.

    Unless the manifest says that the networks of all folds were the teachers, every label comes
    from networks that were trained without the fold's validation tiles, under this fold table.

    Args:
        path: A CSV written by :func:`write_pseudo_labels`.
        fold: The fold that the student holds out.
        folds_hash: SHA-256 of the present fold table; labels that all teach go with any.
        test_hash: SHA-256 of the present test tiles.

    Raises:
        DataError: A file is missing, damaged or changed; the labels were made with other folds
            or tiles; there are none for the fold; or some come from networks that saw too much.
    """
    manifest = read_manifest(path)
    made_of = manifest.made_of
    table = _read_table(path, manifest)
    _refuse_other_data(path, made_of, folds_hash, test_hash)
    name = set_name(made_of.teachers, fold)
    networks = made_of.networks.get(name, ())
    rows = table[table["fold"] == name]
    if not networks or rows.empty:
        raise DataError(
            f"{path} has no labels for fold {fold}",
            expected=f"labels from networks that hold out fold {fold}",
            next_step=f"train fold {fold} of the teachers, then label anew: "
            + "; ".join([*_train(made_of.runs, fold), made_of.command(path)]),
        )
    if made_of.teachers == "fold":
        _refuse_leak(path, fold, made_of, networks)
    if rows["id"].duplicated().any():
        raise _unusable(path, f"{path} labels a tile twice for fold {fold}")
    return PseudoLabels(
        ids=tuple(rows["id"]),
        rle_masks=tuple(rows["rle_mask"]),
        teachers=made_of.teachers,
        content_hash=manifest.content_hash,
        soft=_read_soft(path, rows) if made_of.settings.soft else None,
    )


def _read_soft(path: Path, rows: pd.DataFrame) -> NDArray[np.uint8]:
    """The soft labels of some rows of the CSV; the others stay on disk."""
    soft = map_array(path.with_suffix(".npy"))
    return np.array(soft[rows.index])


def _read_table(path: Path, manifest: Manifest) -> pd.DataFrame:
    """The CSV as text, if it and what lies beside it are those that the manifest vouches for."""
    try:
        table = parse_csv(read_bytes(path, LARGEST_TABLE))
        content_hash = files_hash(data_files(path, manifest.made_of))
    except (OSError, ValueError) as error:
        raise _unusable(path, f"{path} cannot be read: {reason(error)}") from error
    if content_hash != manifest.content_hash:
        raise _unusable(path, f"{path} has changed since it was written")
    if list(table.columns) != COLUMNS:
        raise _unusable(path, f"{path} has the columns {', '.join(table.columns)}")
    return table


def _refuse_other_data(path: Path, made_of: MadeOf, folds_hash: str, test_hash: str) -> None:
    pairs = {"set of test tiles": (made_of.test_hash, test_hash)}
    if made_of.teachers == "fold":  # no fold is kept from what all teach: any table will do
        pairs["fold table"] = (made_of.folds_hash, folds_hash)
    for name, (then, now) in pairs.items():
        if then != now:
            raise DataError(
                f"{path} was made with another {name} than the present one",
                expected=f"the {name} whose hash stands in its manifest",
                next_step=f"restore it, or make labels anew: {made_of.command(path)}",
            )


def _refuse_leak(path: Path, fold: int, made_of: MadeOf, networks: Sequence[Network]) -> None:
    for network in networks:
        if network.fold != fold:
            raise DataError(
                f"labels for fold {fold} in {path} come from fold {network.fold} of run "
                f"{network.run}, which was trained on fold {fold}'s validation tiles",
                expected=f"networks that hold out fold {fold}",
                next_step=f"make labels anew: {made_of.command(path)}",
            )


def _train(runs: Sequence[str], fold: int) -> list[str]:
    return [salt_command("train", "--run", run, "--fold", fold, "--resume") for run in runs]


def label_anew(path: Path) -> str:
    """How the labels at ``path`` are replaced where it is not known which runs made them."""
    command = salt_command("pseudo-label", "RUN", "--out", path, "--overwrite")
    return f"{command}, or another --pseudo FILE"


def _unusable(path: Path, found: str) -> DataError:
    return DataError(
        found,
        expected=f"{path.name} and {manifest_path(path).name} as salt pseudo-label wrote them",
        next_step=label_anew(path),
    )
