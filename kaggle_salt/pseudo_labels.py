"""Pseudo-labels on disk: masks that networks gave to test tiles, and which networks they were.

Two files with one stem. ``<stem>.csv`` has one row for each set of labels and tile; a set is
called after the fold whose network may train on it, or ``all``. ``<stem>.json`` is the manifest:
what the labels were made of, what was selected, and the hash of the CSV. It is written last (see
:mod:`kaggle_salt.files`), so its presence says that the CSV is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from kaggle_salt.csv_files import LARGEST_TABLE, parse_csv
from kaggle_salt.errors import ConfigError, DataError, reason, salt_command
from kaggle_salt.files import bytes_hash, read_bytes, vouched

COLUMNS = ["fold", "id", "confidence", "coverage", "rle_mask"]

#: Decimals of the numbers in the CSV; coverage is as exact as in the fold table.
DECIMALS = 8

#: Whose predictions label the tiles of fold k's student: the networks of fold k, which never
#: saw its validation tiles, or those of all folds.
Teachers = Literal["fold", "all"]

#: How the tiles taken are balanced over coverage: :mod:`kaggle_salt.ensembling.confidence`.
Balance = Literal["training", "1st-place"]


@dataclass(frozen=True)
class Confidence:
    """When a tile is confident, and how many are wanted.

    Args:
        low: A pixel below this probability is sure to be none of salt.
        high: A pixel above this probability is sure to be salt.
        confidence: Smallest share of sure pixels of a confident tile.
        limit: Tiles to take at most; None for as many as there are.
        balance: ``training``, or ``1st-place``, which asks for a confidence of .97 at least.

    Raises:
        ConfigError: A value is out of range.
    """

    low: float = 0.2
    high: float = 0.8
    confidence: float = 0.9
    limit: int | None = None
    balance: Balance = "training"

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise ConfigError(
                f"pixels below {self.low:g} or above {self.high:g} as the sure ones",
                expected="probabilities from 0 to 1, --low not above --high",
                next_step="--low 0.2 --high 0.8",
            )
        if not 0 <= self.confidence <= 1:
            raise ConfigError(
                f"a confidence of {self.confidence:g}",
                expected="a share of a tile's pixels, from 0 to 1",
                next_step="--confidence 0.9",
            )
        if self.limit is not None and self.limit < 1:
            raise ConfigError(
                f"a limit of {self.limit} tiles", expected="1 or more", next_step="--limit 10000"
            )
        if self.balance not in get_args(Balance):
            raise ConfigError(
                f"a balance after '{self.balance}'",
                expected=" or ".join(get_args(Balance)),
                next_step="--balance 1st-place",
            )


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Network(_Part):
    """A trained network: the fold it holds out is ``fold``."""

    run: str
    fold: int
    weights_hash: str


class MadeOf(_Part):
    """What decides which labels come out; equal values give equal files.

    Args:
        teachers: ``fold`` or ``all``.
        networks: The teachers of each set, by its name.
        settings: Which tiles were wanted.
        folds_hash: SHA-256 of the fold table.
        test_hash: SHA-256 of the test tiles.
    """

    teachers: Teachers
    networks: dict[str, tuple[Network, ...]]
    settings: Confidence
    folds_hash: str
    test_hash: str

    @property
    def runs(self) -> list[str]:
        """The runs that teach, each once."""
        networks = (one for some in self.networks.values() for one in some)
        return list(dict.fromkeys(one.run for one in networks))

    def command(self, path: Path) -> str:
        """The command that makes such labels anew, in the same file and with the same settings."""
        usual, words = Confidence(), ["--teachers", "all"] if self.teachers == "all" else []
        for name, value in asdict(self.settings).items():
            if value != getattr(usual, name):
                words += [f"--{name}", value if isinstance(value, str) else f"{value:g}"]
        return salt_command("pseudo-label", *self.runs, *words, "--out", path, "--overwrite")


class Manifest(_Part):
    """What ``<stem>.json`` says.

    Args:
        made_of: What decides which labels come out.
        selection: Counts for each set and stratum of coverage.
        content_hash: SHA-256 of the CSV.
    """

    made_of: MadeOf
    selection: tuple[dict[str, Any], ...]
    content_hash: str


class PseudoLabels(_Part):
    """The labels that one fold's student may train on.

    Args:
        ids: Test tiles, each once.
        rle_masks: The run-length string of each.
        teachers: ``all`` says that they have seen the fold's validation tiles.
        csv_hash: SHA-256 of the CSV.
    """

    ids: tuple[str, ...]
    rle_masks: tuple[str, ...]
    teachers: Teachers
    csv_hash: str


def set_name(teachers: Teachers, fold: int) -> str:
    """Name of the set of labels that fold ``fold``'s student may train on."""
    return "all" if teachers == "all" else str(fold)


def manifest_path(path: Path) -> Path:
    """Where the manifest of the CSV at ``path`` lies."""
    return path.with_suffix(".json")


def write_pseudo_labels(
    path: Path, table: pd.DataFrame, made_of: MadeOf, selection: tuple[dict[str, Any], ...]
) -> Manifest:
    """Write ``<stem>.csv`` and then ``<stem>.json``, each atomically; what was there is replaced.

    Args:
        path: The CSV.
        table: Columns :data:`COLUMNS`; ``fold`` is the name of the set.
        made_of: What the labels were made of.
        selection: Counts for each set and stratum.

    Returns:
        The manifest as written.
    """
    with vouched(manifest_path(path), path) as draft:
        table[COLUMNS].to_csv(
            draft.paths[0],
            index=False,
            float_format=f"%.{DECIMALS}f",
            lineterminator="\n",
            encoding="utf-8",
        )
        draft.document.update(made_of=made_of.model_dump(mode="json"), selection=list(selection))
    return Manifest.model_validate(draft.document)


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of the CSV at ``path``.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        return Manifest.model_validate_json(read_bytes(manifest_path(path)))
    except (OSError, ValidationError) as error:
        raise _unusable(path, f"{manifest_path(path)} cannot be read: {reason(error)}") from error


def read_pseudo_labels(path: Path, fold: int, *, folds_hash: str, test_hash: str) -> PseudoLabels:
    """Read the labels that fold ``fold``'s student may train on, and no others.

    Unless the manifest says that the networks of all folds were the teachers, every label comes
    from networks that were trained without the fold's validation tiles, under this fold table.

    Args:
        path: A CSV written by :func:`write_pseudo_labels`.
        fold: The fold that the student holds out.
        folds_hash: SHA-256 of the present fold table.
        test_hash: SHA-256 of the present test tiles.

    Raises:
        DataError: A file is missing, damaged or changed; the labels were made with other folds
            or tiles; there are none for the fold; or some come from networks that saw too much.
    """
    manifest = read_manifest(path)
    made_of = manifest.made_of
    table = _read_table(path, manifest.content_hash)
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
        csv_hash=manifest.content_hash,
    )


def _read_table(path: Path, content_hash: str) -> pd.DataFrame:
    """The CSV as text, if it is the one with this hash."""
    try:
        content = read_bytes(path, LARGEST_TABLE)
        table = parse_csv(content)
    except (OSError, ValueError) as error:
        raise _unusable(path, f"{path} cannot be read: {reason(error)}") from error
    if bytes_hash(content) != content_hash:
        raise _unusable(path, f"{path} has changed since it was written")
    if list(table.columns) != COLUMNS:
        raise _unusable(path, f"{path} has the columns {', '.join(table.columns)}")
    return table


def _refuse_other_data(path: Path, made_of: MadeOf, folds_hash: str, test_hash: str) -> None:
    pairs = {
        "fold table": (made_of.folds_hash, folds_hash),
        "set of test tiles": (made_of.test_hash, test_hash),
    }
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
