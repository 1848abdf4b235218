"""What a report tells of trainings: how each fold went, what it cost, how it was configured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from kaggle_salt.config.file import load_run_config
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import salt_command
from kaggle_salt.learning.fold import read_summary
from kaggle_salt.report.curves import HISTORY_COLUMNS
from kaggle_salt.report.facts import FoldFacts, Missing, Recipe
from kaggle_salt.runs import FoldFolder, RunFolder
from kaggle_salt.storage.files import read_json

#: What is told of a run's manifest, and what to call it.
_TOLD = {
    "created": "begun, UTC", "chosen_because": "chosen because", "seed": "seed",
    "compute": "computed on", "train_hash": "training tiles, SHA-256",
    "folds_hash": "fold table, SHA-256",
    "weights_hash": "starting weights, SHA-256", "pseudo_hash": "pseudo-labels, SHA-256",
}  # fmt: skip


def fold_facts(run: RunFolder, folds: Sequence[int]) -> list[FoldFacts]:
    """Every fold of the fold table, trained or not.

    Args:
        run: A run made by ``salt train``.
        folds: Numbers of all folds, ascending.

    Raises:
        DataError: The summary of a finished fold is damaged.
    """
    planned = sum(stage.epochs for stage in load_run_config(run.config).stage)
    return [_fold_facts(run.fold(fold), planned) for fold in folds]


def _fold_facts(folder: FoldFolder, planned: int) -> FoldFacts:
    history = _history(folder)
    epochs = 0 if history is None else len(history)
    seconds = 0.0 if history is None else float(history["seconds"].sum())
    if not folder.finished:
        begun = folder.path.is_dir()
        return FoldFacts(folder.run, folder.fold, "half done" if begun else "not begun", epochs,
                         planned, seconds, history)  # fmt: skip
    told = read_summary(folder)
    return FoldFacts(folder.run, folder.fold, "finished", told.epochs, planned, told.seconds,
                     history, told.score, told.parameters)  # fmt: skip


def _history(folder: FoldFolder) -> pd.DataFrame | None:
    """The epochs that are done; None where there is no table, or not one that says so."""
    try:
        history = pd.read_csv(folder.history)
    except (OSError, ValueError):
        return None
    usable = {*HISTORY_COLUMNS, "seconds"} <= set(history.columns) and len(history)
    return history if usable else None


def missing_facts(folds: Sequence[FoldFacts]) -> Iterator[Missing]:
    """What the runs lack, and the commands that train the rest."""
    for one in folds:
        if one.state == "half done":
            done = f"epoch {one.epochs} of {one.planned}" if one.epochs else "no epoch done yet"
            again = salt_command("train", "--run", one.run, "--fold", one.fold, "--resume")
            yield Missing(f"Fold {one.fold} of run {one.run} is half done: {done}.", again)
        elif one.history is None and one.state == "finished":
            told = "has no history.csv that can be read: its learning curve is missing."
            yield Missing(f"Fold {one.fold} of run {one.run} {told}")
    for run in dict.fromkeys(one.run for one in folds):
        rest = [one.fold for one in folds if one.run == run and one.state == "not begun"]
        if rest:
            some = ",".join(map(str, rest))
            several = "s" if len(rest) > 1 else ""
            told = f"Fold{several} {', '.join(map(str, rest))} of run {run}: not begun."
            yield Missing(told, salt_command("train", "--run", run, "--fold", some, "--resume"))


def recipe_of(run: RunFolder) -> Recipe:
    """How a run made by ``salt train`` was configured.

    Raises:
        DataError: Its manifest is missing or damaged.
    """
    manifest = read_json(run.manifest)
    config = load_run_config(run.config)
    told = {name: str(manifest[key]) for key, name in _TOLD.items() if key in manifest}
    if begun := told.get("begun, UTC"):
        told["begun, UTC"] = begun[:16].replace("T", " ")
    text = run.config.read_text(encoding="utf-8")
    return Recipe(run.name, text, _stages(config), told, manifest.get("versions", {}))


def _stages(config: Config) -> list[dict[str, object]]:
    return [
        {
            "stage": stage.name,
            "epochs": stage.epochs,
            "loss": stage.loss.name,
            "optimiser": stage.optimizer.name,
            "learning rate": f"{stage.optimizer.lr:g}",
            "schedule": stage.schedule.name,
            "input size": -(-config.input.size // stage.shrink),
            "keeps": stage.keep,
        }
        for stage in config.stage
    ]


def network_words(run: RunFolder) -> list[str]:
    """What a run is, in a few words each: network, input, test-time augmentation, day."""
    config = load_run_config(run.config)
    model, size = config.model, config.input.size
    network = model.architecture if model.weights == "none" else f"{model.architecture}, pretrained"
    created = str(read_json(run.manifest).get("created", ""))[:10]
    tta = config.inference.tta
    words = [
        network,
        f"{size}x{size} {config.input.framing}",
        f"{tta} TTA" if tta != "none" else "",
    ]
    return [word for word in [*words, created] if word]
