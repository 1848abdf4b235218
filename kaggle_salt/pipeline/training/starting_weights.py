"""What a fold starts from: which tiles its weights have seen, and whether they will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.learning.fold import read_summary, sound_weights
from kaggle_salt.learning.keeping import read_origin
from kaggle_salt.learning.pretraining import sound_pretraining
from kaggle_salt.pipeline.workspace import Listener
from kaggle_salt.runs import PRETRAINING, FoldFolder, RunFolder
from kaggle_salt.runs_pretraining import PretrainingFolder
from kaggle_salt.storage.files import file_hash, files_hash

#: What a manifest says of weights of which nothing is known.
UNKNOWN = "unknown"


def examine_weights(
    config: Config, folds: Sequence[int], hashes: Mapping[str, str], listener: Listener
) -> dict[str, Any]:
    """Refuse weights that may have learnt from the tiles that a fold is validated on.

    Weights that a run wrote say which fold of which fold table they have not seen; they may
    start that fold and no other. Pretrained ones have seen no mask and may start every fold. Of
    others nothing is known, and they are taken with a note.

    Args:
        config: The run's configuration.
        folds: The folds that will start from ``model.weights``.
        hashes: ``train_hash`` and ``folds_hash`` of the tiles and the fold table.
        listener: Told what is not known.

    Returns:
        What the run's manifest says of the weights; nothing where they are no file.

    Raises:
        ConfigError: A fold's validation tiles may be among those that the weights have seen.
        TrainingError: The weights have changed since a run wrote them.
    """
    file = Path(config.model.weights)
    if config.model.weights in ("none", "imagenet") or not folds or not file.is_file():
        return {}  # a file that is missing is refused where the network is built
    _refuse_changed(file.absolute())
    origin = origin_of_weights(file)
    told: dict[str, Any] = {"weights_hash": file_hash(file), "weights_origin": origin or UNKNOWN}
    if not origin or origin.get("kind") == PRETRAINING:
        listener.note(_without_masks(file, origin))
        return told
    if origin.get("train_hash") != hashes["train_hash"]:
        listener.warn(
            f"{file} was trained on other tiles than these. If some of these were among them, "
            "the out-of-fold score is too high"
        )
    else:
        _refuse_leak(file, origin, folds, hashes["folds_hash"])
    if origin.get("pseudo_teachers") == "all":
        listener.warn(
            f"{file} has learnt from networks of all folds, which have seen the tiles to validate "
            "on: the out-of-fold score will be too high (by about .005)"
        )
        told["pseudo_teachers"] = "all"
    return told


def warn_of_slow_start(config: Config, listener: Listener) -> None:
    """Say that a loss which fine-tunes well may not move a network that knows nothing yet.

    The Lovász hinge of an empty tile is that of its worst pixel alone, that of a tile full of salt
    of all its pixels: the network learns to see salt everywhere. Measured in docs/results.md.
    """
    first = config.stage[0]
    if config.model.weights == "none" and first.loss.name == "lovasz" and not first.loss.symmetric:
        listener.warn(
            f"stage '{first.name}' begins from scratch with a Lovász loss that is not symmetric, "
            "which may learn nothing for many epochs; a stage of BCE before it helps, or "
            f"--set stage.{first.name}.loss.symmetric=true"
        )


def _without_masks(file: Path, origin: Mapping[str, Any]) -> str:
    """What is to be said of pretrained weights, and of those of no run."""
    if origin and origin.get("weights_origin") != UNKNOWN:
        return f"{file} is pretrained and has seen no mask: every fold may start from it"
    comes = "was pretrained from a file that no run wrote" if origin else "was written by no run"
    return (
        f"{file} {comes}: nothing is known about the tiles that it has seen. "
        "If these are tiles to validate on, the out-of-fold score is too high"
    )


def examine_for_pretraining(config: Config, listener: Listener) -> dict[str, Any]:
    """Refuse to pretrain weights that have seen masks: what comes of it would not say so.

    Args:
        config: The run's configuration.
        listener: Told what is not known.

    Returns:
        What the run's manifest says of the weights; nothing where they are no file.

    Raises:
        ConfigError: The weights of a fold.
        TrainingError: The weights have changed since a run wrote them.
    """
    file = Path(config.model.weights)
    if config.model.weights in ("none", "imagenet") or not file.is_file():
        return {}
    _refuse_changed(file.absolute())
    origin = origin_of_weights(file)
    if origin and origin.get("kind") != PRETRAINING:
        raise ConfigError(
            f"{file} is of fold {origin.get('fold')} of a run, and has learnt from masks",
            expected="weights that have seen none, so that every fold may start from the result",
            next_step="--set model.weights=none, or pretrained weights",
        )
    if not origin:
        listener.note(f"{file} was written by no run: nothing is known about what it has seen")
    known = origin.get("weights_origin", PRETRAINING) if origin else UNKNOWN
    return {"weights_hash": file_hash(file), "weights_origin": known}


def _refuse_changed(file: Path) -> None:
    """Refuse weights that are other than the training wrote in whose folder they lie."""
    fold, pretraining = FoldFolder(file.parent, 0), PretrainingFolder(file.parent)
    if fold.finished and file in fold.weight_files:
        sound_weights(fold)
    elif pretraining.finished and file == pretraining.weights:
        sound_pretraining(pretraining)


def _refuse_leak(
    file: Path, origin: Mapping[str, Any], folds: Sequence[int], folds_hash: str
) -> None:
    if origin.get("folds_hash") != folds_hash:
        raise ConfigError(
            f"{file} was trained under another fold table, and may have seen tiles that fold "
            f"{folds[0]} is validated on",
            expected="weights of the same fold under the present table, or of no run",
            next_step="--set model.weights=none, or restore the fold table it was trained under",
        )
    seen = [fold for fold in folds if fold != origin.get("fold")]
    if seen:
        raise ConfigError(
            f"{file} is of fold {origin.get('fold')}, and has learnt from the tiles that fold "
            f"{seen[0]} is validated on",
            expected=f"weights of fold {seen[0]}, or of no run",
            next_step=f"--fold {origin.get('fold')}, or --set model.weights=none",
        )


def origin_of_weights(file: Path) -> dict[str, Any]:
    """Where weights come from: ``fold``, ``train_hash``, ``folds_hash``, maybe ``pseudo_teachers``.

    The file itself says so, wherever it was copied to. For one that an older version wrote, the
    fold's folder around it does, as long as its summary vouches for the file.

    Returns:
        Nothing if no run wrote the file.
    """
    return read_origin(file) or _origin_by_folder(file.absolute())


def _origin_by_folder(file: Path) -> dict[str, Any]:
    run, number = RunFolder(file.parent.parent), file.parent.name.removeprefix("fold")
    if not number.isdecimal():
        return {}
    folder: FoldFolder = run.fold(int(number))
    try:
        files = folder.weight_files
        vouched = file in files and files_hash(files) == read_summary(folder).weights_hash
        return folder.origin() if vouched else {}
    except (DataError, OSError):
        return {}


def refuse_to_delete(file: str, folders: Sequence[Path]) -> None:
    """Refuse to start anew what holds the weights to start from.

    Raises:
        ConfigError: The file lies in one of the folders that are about to be removed.
    """
    for folder in folders:
        if Path(file).is_file() and Path(file).resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"--overwrite would remove {file}, the weights to start from",
                expected="weights that lie elsewhere",
                next_step="--run NEW_NAME, or copy the file and name the copy in model.weights",
            )
