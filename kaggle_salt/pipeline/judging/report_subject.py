"""Whom a report is about: a run, finished or not, or an ensemble with the folds it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import ConfigError, nearest, salt_command
from kaggle_salt.pipeline.blending.ensemble_document import (
    DOCUMENT,
    chosen_rule,
    make_ensemble_again,
    read_ensemble,
)
from kaggle_salt.pipeline.blending.members import Member, as_made, open_members
from kaggle_salt.pipeline.workspace import ENSEMBLE, Listener, Workspace
from kaggle_salt.runs import RunFolder


@dataclass(frozen=True)
class Made:
    """What ``ensemble.json`` says.

    Args:
        document: All of it.
        rule: The rule that was chosen.
        how: The average.
    """

    document: Mapping[str, Any]
    rule: Rule
    how: str


@dataclass(frozen=True)
class Subject:
    """Whom a report is about.

    Args:
        name: Its name.
        folder: Where it lies.
        members: Its runs, each with the finished folds that count; a run may have none.
        made: What is known of an ensemble; None for a run.
        left_out: Runs that the search of an ensemble gave no weight; it was scored on the tiles
            that they predicted too.
    """

    name: str
    folder: Path
    members: tuple[Member, ...]
    made: Made | None = None
    left_out: tuple[Member, ...] = ()

    @property
    def how(self) -> str:
        """The average of its members."""
        return self.made.how if self.made else "mean"


def find_subject(
    workspace: Workspace, name: str | None, competition: Competition, listener: Listener
) -> Subject:
    """Find the run or ensemble that is meant.

    Args:
        workspace: Where the runs lie.
        name: Of a run, or of an ensemble; ``ensemble/`` stands before it where a run has the same.
            None means the run that was worked on last.
        competition: The data that the runs must have been trained on.
        listener: Told of a run chosen for want of a name, and of other fold tables.

    Raises:
        ConfigError: There is none of that name.
        DataError: A run was trained on other data, or an ensemble was made of other networks.
    """
    if name is None:
        name = _last_run(workspace, listener)
    run = RunFolder(workspace.runs / name)
    if run.foreign or run.finished_folds():
        return Subject(name, run.path, _members(workspace, [name], None, competition, listener))
    if run.config.exists():
        return Subject(name, run.path, (Member(run, (), 1.0),))
    folder = workspace.ensembles / name.removeprefix(ENSEMBLE)
    if (folder / DOCUMENT).exists():
        return _ensemble(workspace, folder, competition, listener)
    known = workspace.known_names()
    raise ConfigError(
        f"there is no run or ensemble '{name}' in {workspace.runs}",
        expected=nearest(name, known) if known else "a run made by salt train",
        next_step=salt_command("train", "--run", name, "--fold", 0),
    )


def _members(
    workspace: Workspace,
    runs: list[str],
    weights: list[float] | None,
    competition: Competition,
    listener: Listener,
) -> tuple[Member, ...]:
    return tuple(open_members(workspace, runs, weights, competition, listener))


def _last_run(workspace: Workspace, listener: Listener) -> str:
    """Name of the run with the epoch that was done last."""
    begun = sorted(
        (path.stat().st_mtime, path.parent.parent.name)
        for path in workspace.runs.glob("*/fold*/history.csv")
    )
    if not begun:
        raise ConfigError(
            f"no run in {workspace.runs} has an epoch done",
            expected="one at least",
            next_step=salt_command("train", "--fold", 0),
        )
    name = begun[-1][1]
    if len({run for _, run in begun}) > 1:
        listener.note(f"taking run {name}, worked on last; to take another, name it")
    return name


def _ensemble(
    workspace: Workspace, folder: Path, competition: Competition, listener: Listener
) -> Subject:
    document = read_ensemble(folder)
    made = Made(document, chosen_rule(folder, document), document.get("how", "mean"))
    runs = [one["run"] for one in document["members"]]
    weights = [float(one["weight"]) for one in document["members"]]
    members = _members(workspace, runs, weights, competition, listener)
    then = as_made(members, document["members"], next_step=make_ensemble_again(document))
    search = document.get("search") or {"climb": {"weights": {}}}
    others = [name for name, weight in search["climb"]["weights"].items() if not weight]
    left_out = _members(workspace, others, None, competition, listener) if others else ()
    return Subject(folder.name, folder, then, made, left_out)
