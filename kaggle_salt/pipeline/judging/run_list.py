"""``salt runs``: what lies in the folder of the runs, whole or not; nothing here raises."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kaggle_salt.config.file import differences, load_config, load_run_config
from kaggle_salt.errors import SaltError, reason
from kaggle_salt.learning.fold import read_summary
from kaggle_salt.pipeline.blending.ensemble_document import DOCUMENT
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.predictions import load
from kaggle_salt.presets import list_presets, preset_path
from kaggle_salt.runs import FOREIGN, FoldFolder, RunFolder
from kaggle_salt.storage.files import read_json

#: Keys in which a run differs from its preset without being another recipe.
_NO_CHANGE = ("training.seed:", "input.channels:")


@dataclass(frozen=True)
class RunRow:
    """A run, an ensemble, or what is left of one.

    Args:
        name: As ``salt compare`` takes it.
        preset: That it was made from; ``own`` for a configuration of one's own, ``foreign`` for
            what another tool made, ``ensemble``, or nothing where nothing tells.
        changed: Keys that differ from the preset's.
        folds: Numbers of the finished folds.
        half: Numbers of the folds that were begun and not ended.
        tiles: Out-of-fold tiles that the score is of.
        score: At .5, out of fold, over the tiles of all finished folds; None without any.
        minutes: Training time of the finished folds.
        date: When it was begun, in UTC, as ``2026-11-21 12:48``; nothing where nothing tells.
        trouble: What is damaged or missing; empty where all is well.
    """

    name: str
    preset: str = ""
    changed: int = 0
    folds: tuple[int, ...] = ()
    half: tuple[int, ...] = ()
    tiles: int = 0
    score: float | None = None
    minutes: float | None = None
    date: str = ""
    trouble: str = ""


def list_runs(workspace: Workspace) -> list[RunRow]:
    """All runs and ensembles, by date and name; those without a date come first.

    Args:
        workspace: Where the runs lie; nothing else of it is looked at.
    """
    runs = [
        RunFolder(path)
        for path in sorted(workspace.runs.glob("*"))
        if path.is_dir() and path != workspace.ensembles and not path.name.startswith(".")
    ]
    rows = [_row_of_run(run) for run in runs]
    ensembles = sorted(path.parent for path in workspace.ensembles.glob(f"*/{DOCUMENT}"))
    rows += [_row_of_ensemble(path) for path in ensembles]
    return sorted(rows, key=lambda row: (row.date, row.name))


def _row_of_run(run: RunFolder) -> RunRow:
    told, troubles = _read(run.manifest)
    if told.get("kind") == FOREIGN:
        return _row_of_foreign(run, told)
    preset, changed = "", 0
    try:
        preset, changed = _preset_of(run)
    except SaltError as error:
        troubles.append(_first_line(error))
    summaries = []
    for number in run.finished_folds():
        try:
            summaries.append(read_summary(run.fold(number)))
            _refuse_missing(run.fold(number))
        except SaltError as error:
            troubles.append(_first_line(error))
    tiles = sum(one.tiles for one in summaries)
    score = sum(one.score * one.tiles for one in summaries) / tiles if tiles else None
    return RunRow(
        name=run.name,
        preset=preset,
        changed=changed,
        folds=tuple(one.fold for one in summaries),
        half=tuple(run.unfinished_folds()),
        tiles=tiles,
        score=score,
        minutes=sum(one.seconds for one in summaries) / 60 if summaries else None,
        date=_date(told.get("created")),
        trouble="; ".join(troubles),
    )


def _read(path: Path) -> tuple[dict[str, Any], list[str]]:
    """A manifest, or nothing and what is wrong with it."""
    try:
        return read_json(path), []
    except SaltError as error:
        return {}, [_first_line(error)]


def _refuse_missing(fold: FoldFolder) -> None:
    """Have the out-of-fold predictions read, and see that the weights are there."""
    if not fold.weights.is_file() and not list(fold.path.glob("snapshot*.safetensors")):
        raise SaltError(f"{fold.weights} is missing")
    load(fold.oof)


def _preset_of(run: RunFolder) -> tuple[str, int]:
    """The preset that a run's configuration was made from, and how many keys were changed."""
    config = load_run_config(run.config)
    for preset in list_presets():
        if preset.description == config.description:
            changed = differences(load_config(preset_path(preset.name)), config)
            return preset.name, sum(not one.startswith(_NO_CHANGE) for one in changed)
    return "own", 0


def _row_of_foreign(run: RunFolder, told: dict[str, Any]) -> RunRow:
    trouble, tiles = "", 0
    try:
        tiles = len(load(run.oof))
    except SaltError as error:
        trouble = _first_line(error)
    return RunRow(
        run.name, FOREIGN, tiles=tiles, score=_number(told.get("score_at_half")),
        date=_date(told.get("created")), trouble=trouble,
    )  # fmt: skip


def _row_of_ensemble(folder: Path) -> RunRow:
    name = f"ensemble/{folder.name}"
    told, troubles = _read(folder / DOCUMENT)
    measured = told.get("out_of_fold", {})
    if not isinstance(measured, dict) or not measured:
        return RunRow(name, "ensemble", trouble="; ".join(troubles) or "it has no scores")
    made = datetime.fromtimestamp((folder / DOCUMENT).stat().st_mtime, UTC)
    return RunRow(
        name, "ensemble", tiles=int(_number(measured.get("tiles")) or 0),
        score=_number(measured.get("score_at_half")), date=_date(made.isoformat()),
    )  # fmt: skip


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _date(text: object) -> str:
    """Date and time to the minute."""
    return text[:16].replace("T", " ") if isinstance(text, str) else ""


def _first_line(error: SaltError) -> str:
    return error.found.partition("\n")[0] or reason(error)
