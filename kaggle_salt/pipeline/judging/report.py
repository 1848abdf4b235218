"""``salt report``: everything known of a run or an ensemble, as one page that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kaggle_salt.competition.fold_files import read_folds
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.blending.caveats import caveats
from kaggle_salt.pipeline.blending.scores import Truth, choose_postprocessing
from kaggle_salt.pipeline.judging.report_judging import judge
from kaggle_salt.pipeline.judging.report_subject import Subject, find_subject
from kaggle_salt.pipeline.judging.report_training import (
    fold_facts,
    missing_facts,
    network_words,
    recipe_of,
)
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.report.facts import Facts, Judged, MemberFacts
from kaggle_salt.report.page import made_for, render
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage.files import write_text

#: Its name in the folder of the run or ensemble.
FILE = "report.html"


@dataclass(frozen=True)
class ReportMade:
    """What ``salt report`` wrote.

    Args:
        html: The page.
        facts: What it tells.
        size: Of the page, in bytes.
    """

    html: Path
    facts: Facts
    size: int


def make_report(
    workspace: Workspace,
    name: str | None = None,
    *,
    out: Path | None = None,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> ReportMade:
    """Write the page of a run or an ensemble; of a run half done it shows what there is.

    Args:
        workspace: Where data, fold table and runs lie.
        name: Of the run or ensemble; ``ensemble/NAME`` where a run is called the same. By default
            the run that was worked on last.
        out: The page; by default ``report.html`` in the folder of the run or ensemble. An earlier
            page of the same is replaced.
        overwrite: Replace whatever is there.
        listener: Told how the work goes, and what is missing.

    Raises:
        ConfigError: There is no run or ensemble of that name, or another file is in the way.
        DataError: Data, fold table or stored files are not usable.
    """
    listener = listener or Listener()
    competition = workspace.open(listener)
    table = read_folds(workspace.folds, competition.ids, competition.masks)
    subject = find_subject(workspace, name, competition, listener)
    path = out or subject.folder / FILE
    if not overwrite:
        _refuse_others(path, subject)
    facts = _facts(subject, competition, table, listener)
    for one in facts.missing:
        listener.warn(f"{one.text} {one.command}".rstrip())
    text = render(facts)
    write_text(path, text)
    return ReportMade(path, facts, len(text.encode()))


def _refuse_others(path: Path, subject: Subject) -> None:
    if not path.exists():
        return
    there = "" if path.is_dir() else path.read_text(encoding="utf-8", errors="replace")
    if made_for(there) != (_kind(subject), subject.name):
        raise ConfigError(
            f"{path} is there, and is no report of {_kind(subject)} {subject.name}",
            expected="an earlier page of the same, which is replaced, or no file",
            next_step="--out FILE for another place, or --overwrite",
        )


def _kind(subject: Subject) -> str:
    return "ensemble" if subject.made else "run"


def _facts(
    subject: Subject, competition: Competition, table: pd.DataFrame, listener: Listener
) -> Facts:
    trained = [member.run for member in subject.members if not member.foreign]
    numbers = sorted(set(table["fold"].tolist()))
    folds = [one for run in trained for one in fold_facts(run, numbers)]
    judged: Judged | None = None
    members: list[MemberFacts] = []
    if any(member.oof for member in subject.members):
        steps = subject.made.rule.steps if subject.made else None
        post = choose_postprocessing(steps, competition, listener)
        judged, members = judge(subject, Truth.of(competition, table, post), competition)
    return Facts(
        name=subject.name,
        kind="ensemble" if subject.made else "run",
        about=_about(subject, trained),
        missing=list(missing_facts(folds)),
        caveats=caveats(subject.members) if judged else (),
        folds=folds,
        judged=judged,
        members=members,
        recipes=[recipe_of(run) for run in trained],
    )


def _about(subject: Subject, trained: Sequence[RunFolder]) -> list[str]:
    if subject.made:
        runs = " + ".join(member.run.name for member in subject.members)
        several = "s" if len(subject.members) > 1 else ""
        return [runs, f"{subject.made.how} of {len(subject.members)} run{several}"]
    return network_words(trained[0]) if trained else ["made by another tool"]
