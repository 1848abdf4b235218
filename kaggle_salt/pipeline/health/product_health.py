"""Whether what was made from a run is as it was written: its ensembles and its submissions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kaggle_salt.competition.decision import Rule
from kaggle_salt.errors import DataError, SaltError, reason, salt_command
from kaggle_salt.learning.fold import read_summary
from kaggle_salt.pipeline.blending.ensemble_document import DOCUMENT, make_ensemble_again
from kaggle_salt.pipeline.health.signs import Sign, artefact_sign
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.runs import FOREIGN, RunFolder
from kaggle_salt.storage.files import read_json


def look_at_products(workspace: Workspace, run: RunFolder) -> Iterator[Sign]:
    """Verify the ensembles and submissions that a run is part of.

    Args:
        workspace: Where ensembles and submissions lie.
        run: The run.
    """
    for document in sorted(workspace.ensembles.glob(f"*/{DOCUMENT}")):
        yield from _ensemble(document, run)
    for document in sorted(workspace.submissions.glob("*.json")):
        yield from _submission(document, run)


def _ensemble(document: Path, run: RunFolder) -> Iterator[Sign]:
    about = f"ensemble {document.parent.name}"
    try:
        made = read_json(document)
        again = make_ensemble_again(made)
        [member] = [one for one in made["members"] if one["run"] == run.name] or [None]
        Rule.from_json(made["decision"]["rule"])
        changed = [] if member is None else _changed(member, run)
    except (SaltError, KeyError, TypeError, ValueError, AttributeError) as error:
        why = error.found if isinstance(error, SaltError) else f"{document}: {reason(error)}"
        advice = f"delete {document.parent} and make the ensemble again"
        yield Sign(about, why, advice, damaged=True)
        return
    if member is None:
        return
    if changed:
        yield Sign(about, f"other now than when it was made: {', '.join(changed)}", again)
    test = document.parent / "test.json"
    if test.exists():
        yield artefact_sign(about, test, again)


def _changed(member: Mapping[str, Any], run: RunFolder) -> list[str]:
    """What of a run is other than an ensemble of it says."""
    if FOREIGN in member:
        same = read_json(run.manifest).get("sources") == member[FOREIGN]
        return [] if same else ["the predictions"]
    before, now = member["folds"], {}
    for fold in run.finished_folds():
        try:
            now[str(fold)] = read_summary(run.fold(fold)).weights_hash
        except DataError:  # the fold's own sign
            continue
    return [f"fold {fold}" for fold in sorted({*before, *now}) if before.get(fold) != now.get(fold)]


def _submission(document: Path, run: RunFolder) -> Iterator[Sign]:
    about = f"submission {document.stem}"
    try:
        told = read_json(document)
    except DataError as error:
        yield Sign(about, error.found, "write the submission again", damaged=True)
        return
    members = told.get("members")
    if not isinstance(members, list) or run.name not in map(_name_of, members):
        return
    again = salt_command(
        "submit", "--ensemble", told.get("ensemble"), "--name", document.stem,
        "--out", document.parent, "--overwrite",
    )  # fmt: skip
    yield artefact_sign(about, document, again)


def _name_of(member: object) -> object:
    return member.get("run") if isinstance(member, dict) else None
