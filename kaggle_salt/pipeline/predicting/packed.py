"""One network packed small, to be carried: ``salt ship``, and test tiles predicted by it.

What is packed is a run of one fold, as any other command reads it: ``config.toml``,
``manifest.json``, ``fold<k>/`` with weights of half the size, the ``ensemble.json`` of the run it
comes from, and a model card. It has no out-of-fold predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_salt import predictions
from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.metric import score
from kaggle_salt.competition.postprocess import TileContext
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config.file import dump_config
from kaggle_salt.config.readers import read_part
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, nearest, salt_command
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.learning.fold import predict_tiles, sound_weights
from kaggle_salt.learning.keeping import halve_weights
from kaggle_salt.pipeline.blending.ensemble_document import (
    DOCUMENT,
    chosen_rule,
    without_neighbours,
)
from kaggle_salt.pipeline.blending.members import open_member
from kaggle_salt.pipeline.predicting.finished import (
    FinishedRun,
    ready_run,
    refuse_other_tiles,
    tile_predictor,
)
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.predictions import blocks
from kaggle_salt.report.model_card import model_card
from kaggle_salt.runs import ORIGIN_KEYS, FoldFolder, RunFolder, open_run
from kaggle_salt.storage.files import files_hash, read_json, write_json, write_text
from kaggle_salt.storage.lease import hold
from kaggle_salt.versions import package_versions

#: What the manifest of a packed network says of its kind.
KIND = "network"

#: What of a run's ensemble.json goes with its network.
_KEPT = ("how", "data_hash", "decision", "out_of_fold")


@dataclass(frozen=True)
class ShipReport:
    """A network that was packed.

    Args:
        folder: Where it lies.
        megabytes: Of its weights; a megabyte is a million bytes.
        tiles: Out-of-fold tiles that it was compared on.
        score: Their score by the rule, by the fold's own weights.
        packed_score: The same, by what was packed.
        changed_pixels: Share of their pixels that become another: salt, or not.
    """

    folder: Path
    megabytes: float
    tiles: int
    score: float
    packed_score: float
    changed_pixels: float


def ship(
    workspace: Workspace,
    run: str,
    out: Path,
    *,
    fold: int = 0,
    teachers: str | None = None,
    overwrite: bool = False,
    device: str = "auto",
    listener: Listener | None = None,
) -> ShipReport:
    """Pack the network of a fold into a folder that ``salt predict --model FOLDER`` takes.

    Args:
        workspace: Where data, runs and ensembles lie.
        run: Name of the run. Its ensemble says how masks are made.
        out: The folder to write; the package carries what lies in ``kaggle_salt/shipped``.
        fold: Whose network.
        teachers: Name of the ensemble that the run learnt from; its score goes on the card.
        overwrite: Replace a network that was packed there.
        device: Where out-of-fold tiles are predicted again, to compare.
        listener: Told how the work goes.

    Raises:
        ConfigError: There is no such run, fold or ensemble, or something lies in the folder.
        DataError: The run was trained on other data.
        TrainingError: A weight is too large to be packed.
    """
    listener = listener or Listener()
    competition = workspace.open(listener)
    open_member(open_run(workspace.runs, run), 1.0, competition)
    finished = ready_run(workspace, run=run, listener=listener)
    finished = replace(finished, config=_without_folders(finished.config))
    made = _refuse_unready(finished, fold)
    rule = without_neighbours(chosen_rule(finished.document.parent, made))
    made = {**made, "decision": {**made["decision"], "rule": rule.as_json()}}
    taught = _teachers(workspace, teachers)
    _clear(out, overwrite=overwrite)
    packed = RunFolder(out)
    weights_hash = _pack_weights(finished.run.fold(fold), packed.fold(fold))
    report = _compared(finished, fold, rule, packed, competition, device)
    member = {"run": packed.name, "weight": 1.0, "folds": {str(fold): weights_hash}}
    kept = {key: made[key] for key in _KEPT if key in made}
    write_json(out / DOCUMENT, {"name": packed.name, "members": [member], **kept})
    manifest = _manifest(finished, fold, packed, report, taught)
    write_text(out / "README.md", model_card(manifest, made, report.megabytes))
    write_text(packed.config, dump_config(finished.config))
    write_json(packed.manifest, manifest)
    return report


def _without_folders(config: Config) -> Config:
    """The configuration with files by name: where they lie is nobody's business elsewhere."""
    model, pseudo = config.model, config.pseudo
    model = model.model_copy(update={"weights": Path(model.weights).name})
    pseudo = pseudo.model_copy(update={"file": Path(pseudo.file).name})
    return config.model_copy(update={"model": model, "pseudo": pseudo})


def _refuse_unready(finished: FinishedRun, fold: int) -> Mapping[str, Any]:
    """What the run's ensemble decided; refused are a fold or a decision that is not there."""
    if fold not in finished.folds:
        raise ConfigError(
            f"fold {fold} of run {finished.run.name} is not trained",
            expected=f"one of {', '.join(map(str, finished.folds))}",
            next_step=f"--fold {finished.folds[0]}",
        )
    if finished.made is None:
        raise ConfigError(
            f"nothing says how the probabilities of run {finished.run.name} become masks",
            expected="an ensemble of this run alone",
            next_step=salt_command("ensemble", finished.run.name),
        )
    return finished.made


def _teachers(workspace: Workspace, name: str | None) -> dict[str, Any] | None:
    if name is None:
        return None
    documents = {path.parent.name: path for path in workspace.ensembles.glob(f"*/{DOCUMENT}")}
    if name not in documents:
        raise ConfigError(
            f"there is no ensemble '{name}'",
            expected=nearest(name, documents),
            next_step="--teachers ENSEMBLE",
        )
    made = read_json(documents[name])
    return {
        "ensemble": name,
        "runs": [member["run"] for member in made["members"]],
        "out_of_fold": made["out_of_fold"],
    }


def _clear(out: Path, *, overwrite: bool) -> None:
    """Make room for a network; only one that was packed there goes, and only if told so."""
    if not out.exists() or not any(out.iterdir()):
        return
    old = RunFolder(out)
    packed = old.manifest.exists() and read_json(old.manifest).get("kind") == KIND
    if not (packed and overwrite):
        raise ConfigError(
            f"{out} holds a packed network" if packed else f"{out} holds something else",
            expected="a new folder, or an empty one",
            next_step="--overwrite to replace it" if packed else "--out FOLDER",
        )
    for fold in old.claimed_folds():
        old.fold(fold).clear()
        old.fold(fold).path.rmdir()
    old.manifest.unlink()


def _pack_weights(source: FoldFolder, target: FoldFolder) -> str:
    """Write the weights, and the summary that vouches for them; gives their hash."""
    for path in sound_weights(source):
        halve_weights(path, target.path / path.name)
    weights_hash = files_hash(target.weight_files)
    write_json(target.summary, {**read_json(source.summary), "weights_hash": weights_hash})
    return weights_hash


def _compared(
    finished: FinishedRun,
    fold: int,
    rule: Rule,
    packed: RunFolder,
    competition: Competition,
    device: str,
) -> ShipReport:
    """Predict the fold's tiles again with what was packed."""
    config, target = finished.config, packed.fold(fold)
    before = predictions.load(finished.run.fold(fold).oof)
    position = {tile: row for row, tile in enumerate(competition.ids)}
    rows = [position[tile] for tile in before.ids]
    training = config.training
    compute = choose_compute(device, training.precision, training.channels_last)
    after = predict_tiles(config, target, competition.images[rows], compute)
    tiles = TileContext(before.ids, competition.images[rows])
    masks = [rule.apply(levels, tiles) for levels in (np.asarray(before.probabilities), after)]
    truth = competition.masks[rows]
    return ShipReport(
        folder=packed.path,
        megabytes=sum(path.stat().st_size for path in target.weight_files) / 1e6,
        tiles=len(rows),
        score=score(truth, masks[0]),
        packed_score=score(truth, masks[1]),
        changed_pixels=float(np.mean(masks[0] != masks[1])),
    )


def _manifest(
    finished: FinishedRun,
    fold: int,
    packed: RunFolder,
    report: ShipReport,
    teachers: Mapping[str, Any] | None,
) -> dict[str, Any]:
    told = read_json(finished.run.manifest)
    compared = {key: value for key, value in asdict(report).items() if key != "folder"}
    return {
        "run": packed.name,
        "kind": KIND,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "packed_from": {"run": finished.run.name, "fold": fold},
        "tile_shape": list(finished.tile_shape),
        **{key: told[key] for key in ORIGIN_KEYS if key in told},
        "teachers": teachers,
        "compared": compared,
        "versions": package_versions(),
        "config": read_part(finished.config),
    }


def predict_test_tiles(
    workspace: Workspace,
    finished: FinishedRun,
    competition: Competition,
    device: str,
    listener: Listener,
) -> str:
    """Let a packed network predict the test tiles, as an ensemble of its name.

    Predictions that it has made of the same tiles are taken as they are.

    Args:
        workspace: Where ensembles lie.
        finished: The network.
        competition: Where the test tiles are.
        device: Where the network computes.
        listener: Told how the work goes.

    Returns:
        The ensemble's name.

    Raises:
        DataError: There are no test tiles, or they have another size than the network knows.
    """
    run, ids, tiles = finished.run, competition.test_ids, competition.test_images
    competition.require_test_tiles("to predict")
    refuse_other_tiles(finished, competition.tile_shape)
    folder = workspace.ensembles / run.name
    made = {**(finished.made or {}), "name": run.name, "data_hash": competition.data_hash}
    manifest = {
        "kind": "test", "members": made["members"],
        "data_hash": competition.test_hash, "tta": finished.config.inference.tta,
    }  # fmt: skip
    with hold(folder):
        if predictions.load_same(folder / "test", ids, manifest, listener.warn) is None:
            levels_of = tile_predictor(finished, device)
            progress = listener.progress(f"{run.name}: test tiles")
            (folder / DOCUMENT).unlink(missing_ok=True)  # it is for other numbers
            with predictions.create(folder / "test", ids, competition.tile_shape, manifest) as out:
                for block in blocks(out, tiles):
                    out[block] = levels_of(tiles[block])
                    progress(min(block.stop, len(ids)), len(ids))
        made["test_hash"] = predictions.stated_hash(folder / "test")
        write_json(folder / DOCUMENT, made)
    return run.name
