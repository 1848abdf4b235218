"""Whether a run is what was written: every hash that its documents hold is taken again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kaggle_salt import predictions
from kaggle_salt.competition import cache
from kaggle_salt.competition.mask_threshold import read_threshold
from kaggle_salt.competition.tiles import ARRAYS
from kaggle_salt.config.file import load_run_config
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, DataError, salt_command
from kaggle_salt.learning.checkpoint import damage
from kaggle_salt.learning.fold import read_summary
from kaggle_salt.pipeline.blending.foreign import import_again
from kaggle_salt.pipeline.health.product_health import look_at_products
from kaggle_salt.pipeline.health.signs import Sign, artefact_sign
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.runs import FoldFolder, RunFolder, find_run, open_run, train_anew
from kaggle_salt.storage.files import HASH_KEY, file_hash, files_hash, read_json, vouched_for
from kaggle_salt.storage.writing import leftovers


def look_at_run(workspace: Workspace, name: str) -> list[Sign]:
    """Verify a run, and the ensembles and submissions that it is part of.

    Args:
        workspace: Where data, fold table, runs and submissions lie.
        name: Name of the run, trained or imported.

    Raises:
        ConfigError: There is no such run.
    """
    run = find_run(workspace.runs, name)
    if not run.manifest.exists() and not run.claimed_folds():
        open_run(workspace.runs, name)  # says that there is none
    signs = list(_foreign(run) if run.foreign else _trained(run, workspace))
    # a trained run's manifest vouches for its configuration, which is looked at by what it says
    seen = set() if run.foreign else {run.manifest}
    for document in sorted(set(run.path.rglob("*.json")) - seen):
        signs += _vouched(run, document)
    signs += look_at_products(workspace, run)
    signs += _leftovers(run.path, workspace.ensembles, *cache.roots(workspace.data))
    return signs


def _foreign(run: RunFolder) -> Iterator[Sign]:
    sources = read_json(run.manifest).get("sources")
    for stem in (run.oof, run.test):
        if isinstance(sources, dict) and stem.name in sources and not predictions.exists(stem):
            yield Sign(stem.name, f"{stem}.json is gone", import_again(run), damaged=True)


def _trained(run: RunFolder, workspace: Workspace) -> Iterator[Sign]:
    manifest: dict[str, Any] = {}
    try:
        manifest = read_json(run.manifest)
    except DataError as error:
        advice = "restore it from a copy: without it nothing says what the folds were trained on"
        yield Sign("manifest", error.found, advice, damaged=True)
    try:
        config = load_run_config(run.config)
    except ConfigError as error:
        yield Sign("config", error.found, _as_told(run), damaged=True)
    except DataError:
        pass  # the manifest's own sign
    else:
        compared = "as in the manifest" if "config" in manifest else "nothing to compare it with"
        yield Sign("config", compared)
        yield from _origins(run, config, manifest, workspace)
    for number in run.claimed_folds():
        fold = run.fold(number)
        yield from _finished(fold) if fold.finished else [_unfinished(fold)]


def _as_told(run: RunFolder) -> str:
    return f"write {run.config} as the config in {run.manifest} says"


def _origins(
    run: RunFolder, config: Config, manifest: Mapping[str, Any], workspace: Workspace
) -> Iterator[Sign]:
    """What the run was made from. It may change afterwards: the run itself is whole then."""
    yield from _tiles(workspace.data, manifest)
    restore = "restore it before another fold is trained"
    for about, key, path, advice in (
        ("fold table", "folds_hash", workspace.folds, f"{restore}, or name it with --folds FILE"),
        ("starting weights", "weights_hash", Path(config.model.weights), restore),
    ):
        if key not in manifest:
            continue
        if not path.is_file():
            yield Sign(about, f"{path} is not there", advice)
        elif file_hash(path) != manifest[key]:
            yield Sign(about, f"{path} is not the one that run {run.name} was begun with", advice)
        else:
            yield Sign(about, f"{path} is the one that it was begun with")


def _tiles(data: Path, manifest: Mapping[str, Any]) -> Iterator[Sign]:
    """The decoded tiles, where there are some; nothing is decoded for this."""
    if not data.is_dir():
        return
    for root in cache.roots(data):
        folder = root / cache.fingerprint(data, read_threshold(data))
        arrays = cache.array_paths(folder, ARRAYS)
        index = vouched_for(folder / cache.INDEX, *arrays, wanted={}, check_hash=False)
        if index is None:
            continue
        if index.get(HASH_KEY) != files_hash(arrays):
            advice = f"delete {folder}: what next opens the tiles decodes them again"
            found = f"{folder} has changed since it was decoded"
            yield Sign("tiles", found, advice, damaged=True)
        elif index.get("train_hash") != manifest.get("train_hash"):
            found = f"those in {data} are not those that the run was trained on"
            yield Sign("tiles", found, "name the others with --data FOLDER")
        else:
            yield Sign("tiles", "as decoded, and those that it was trained on")


def _finished(fold: FoldFolder) -> Iterator[Sign]:
    """Weights against the summary, and the predictions' documents against the weights."""
    about, anew = f"fold {fold.fold}", f"train the fold anew: {train_anew(fold.path)}"
    try:
        summary = read_summary(fold)
    except DataError as error:
        yield Sign(about, error.found, anew, damaged=True)
        return
    files = fold.weight_files
    names = ", ".join(path.name for path in files)
    if not all(path.is_file() for path in files):
        yield Sign(about, f"{fold.path / names} is gone", anew, damaged=True)
    elif files_hash(files) != summary.weights_hash:
        found = f"{fold.path / names} has changed since the fold was trained"
        yield Sign(about, found, anew, damaged=True)
    else:
        yield Sign(about, f"{names} as written")
    oof = fold.oof.with_suffix(".json")
    if not oof.exists():
        yield Sign(about, f"{oof} is gone", anew, damaged=True)
    elif _weights_of(oof) not in (None, summary.weights_hash):
        yield Sign(about, f"{oof} is of other weights", anew, damaged=True)
    test = fold.test.with_suffix(".json")
    if test.exists() and _weights_of(test) not in (None, summary.weights_hash):
        yield Sign(about, f"{test} is of other weights", salt_command("ensemble", fold.run))
    if fold.checkpoint.exists():
        yield Sign(about, f"{fold.checkpoint} is of no use any more", "delete it")


def _weights_of(document: Path) -> object:
    """The hash of the weights that predictions are of; None in a document that cannot be read."""
    try:
        return read_json(document)["manifest"]["weights_hash"]
    except (DataError, KeyError, TypeError):
        return None


def _unfinished(fold: FoldFolder) -> Sign:
    about = f"fold {fold.fold}"
    resume = fold.resumed
    if not fold.started:
        return Sign(about, "begun, no epoch is finished", f"unless one is at it: {resume}")
    damaged = damage(fold.checkpoint) if fold.checkpoint.exists() else ""
    if damaged:
        anew = f"train the fold anew: {train_anew(fold.path)}"
        return Sign(about, f"{fold.checkpoint} is damaged: {damaged}", anew, damaged=True)
    epochs = 0
    if fold.history.exists():
        epochs = len(fold.history.read_bytes().splitlines()) - 1
    return Sign(about, f"half trained, {epochs} epochs", f"unless one is at it: {resume}")


def _vouched(run: RunFolder, document: Path) -> Iterator[Sign]:
    """A document's data, if it vouches for some."""
    about = document.relative_to(run.path).with_suffix("").as_posix()
    fold = FoldFolder(document.parent, 0)
    if run.foreign:
        remedy = import_again(run)
    elif document.with_suffix("") == fold.oof:
        remedy = f"train the fold anew: {train_anew(fold.path)}"
    elif document.with_suffix("") == fold.test:
        remedy = f"delete {document}, then {salt_command('ensemble', run.name)}"
    else:
        remedy = f"make it again with the settings that {document} holds"
    try:
        vouches = HASH_KEY in read_json(document)
    except DataError as error:
        if document != fold.summary:  # looked at already
            yield Sign(about, error.found, remedy, damaged=True)
        return
    if vouches:
        yield artefact_sign(about, document, remedy)
    elif document.with_suffix("") in (fold.oof, fold.test):
        yield Sign(about, "holds no hash to verify: written by an earlier version")


def _leftovers(*folders: Path) -> Iterator[Sign]:
    found = [path for folder in folders for path in leftovers(folder)]
    if found:
        size = sum(path.stat().st_size for path in found)
        names = ", ".join(map(str, found))
        yield Sign(
            "leftovers",
            f"{size / 2**20:.1f} MiB of processes that were killed: {names}",
            "what next writes there clears them, if it runs on the same machine; or delete them",
        )
