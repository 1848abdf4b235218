"""``salt ensemble`` and ``salt predict`` with ``--jobs`` or ``--on``: each part a task of its own.

The task is the same command with ``--part``. What it leaves is taken by the command that launched
it, which would predict the rest itself.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kaggle_salt.errors import TrainingError, salt_command
from kaggle_salt.launch.folds import places
from kaggle_salt.launch.following import Watcher, failures, told
from kaggle_salt.launch.tasks import Engine, Task
from kaggle_salt.pipeline.blending import ensemble as ensembles
from kaggle_salt.pipeline.blending.ensemble import EnsembleReport
from kaggle_salt.pipeline.blending.members import Member
from kaggle_salt.pipeline.blending.on_test import Block, Helpers, blocks_in, missing_in
from kaggle_salt.pipeline.predicting import predict_survey as surveys
from kaggle_salt.pipeline.predicting.finished import SHIPPED, SHIPPED_NAME
from kaggle_salt.pipeline.predicting.predict_survey import SurveyReport
from kaggle_salt.pipeline.predicting.survey_plan import SurveyPlan
from kaggle_salt.pipeline.workspace import Workspace

#: Parts where nobody says how many are to run at a time.
PARTS = 8

#: Options of a survey that make its parts what they are, as the command line has them.
OF_SURVEYS = {
    "threshold": "--threshold", "overlap": "--overlap", "along": "--along",
    "inline_byte": "--inline-byte", "crossline_byte": "--xline-byte",
}  # fmt: skip


def ensemble(
    workspace: Workspace,
    runs: Sequence[str],
    engine: Engine,
    watcher: Watcher,
    *,
    device: str = "auto",
    **settings: Any,
) -> EnsembleReport:
    """Make an ensemble whose test tiles other processes predict, blocks of a fold each.

    Args:
        workspace: Where data, fold table and runs lie, for all machines alike.
        runs: See :func:`kaggle_salt.pipeline.blending.ensemble.ensemble`, as the settings.
        engine: Runs the parts.
        watcher: Shows how they go.
        device: Where each process is to compute.
        settings: Of the ensemble.

    Raises:
        TrainingError: Parts failed; the others are there.
        SaltError: As without an engine.
    """
    anywhere = engine.elsewhere and device != "cpu"
    predict = partial(_predict_test, workspace, runs, engine, watcher, device)
    return ensembles.ensemble(
        workspace, runs, device="auto" if anywhere else device, listener=watcher.listener,
        helpers=Helpers(predict, any_format=anywhere), **settings,
    )  # fmt: skip


def _predict_test(
    workspace: Workspace,
    runs: Sequence[str],
    engine: Engine,
    watcher: Watcher,
    device: str,
    members: Sequence[Member],
    blocks: Sequence[Block],
    folder: Path,
) -> None:
    """Have the blocks that are missing predicted; what is given last is what helpers are given."""
    missing = missing_in(blocks)
    parts = _count(blocks, missing, engine.at_once or PARTS)
    left = {part: [one for one in blocks_in(blocks, part, parts) if one in missing]
            for part in range(1, parts + 1)}  # fmt: skip
    last = {part: some[-1] for part, some in left.items() if some}
    done = {part: fold.stem(block).with_suffix(".json") for part, (fold, block) in last.items()}
    names, logs = [member.run.name for member in members], folder / "logs"
    words = ("ensemble", *names, *places(workspace), "--device", device)
    if failed := failures(engine, _tasks(words, done, parts, logs), watcher):
        raise TrainingError(
            told(list(failed.values()), parts, "parts of the test tiles"),
            expected="every part predicted",
            next_step=f"go on with what is there: {salt_command('ensemble', *(runs or names))}",
        )
    shutil.rmtree(logs, ignore_errors=True)


def _count(blocks: Sequence[Block], missing: Sequence[Block], at_once: int) -> int:
    """How many parts: of one fold each, and so many that all have something to do."""
    folds, lacking = ({fold for fold, _ in some} for some in (blocks, missing))
    most = max((len(fold.blocks) for fold in lacking), default=0)
    return len(folds) * min(most, math.ceil(at_once / max(1, len(lacking))))


def predict_survey(
    workspace: Workspace,
    path: Path,
    engine: Engine,
    watcher: Watcher,
    *,
    device: str = "auto",
    **settings: Any,
) -> SurveyReport:
    """Write the probabilities of a survey whose lines other processes predict, a part each.

    Args:
        workspace: Where runs lie, for all machines alike.
        path: See :func:`kaggle_salt.pipeline.predicting.predict_survey.predict_survey`, as
            the settings.
        engine: Runs the parts.
        watcher: Shows how they go.
        device: Where each process is to compute.
        settings: Of the survey.

    Raises:
        TrainingError: Parts failed; the others are there.
        SaltError: As without an engine.
    """
    predict = partial(_predict_lines, workspace, path, engine, watcher, device, settings)
    return surveys.predict_survey(
        workspace, path, device="auto" if engine.elsewhere else device,
        listener=watcher.listener, beforehand=predict, **settings,
    )  # fmt: skip


def _predict_lines(
    workspace: Workspace,
    path: Path,
    engine: Engine,
    watcher: Watcher,
    device: str,
    settings: Mapping[str, Any],
    plan: SurveyPlan,
) -> None:
    """Have the lines that are missing predicted."""
    overwrite = ["--overwrite"] * bool(settings.get("overwrite"))
    parts = min(engine.at_once or PARTS, len(plan.lines))
    left = {part: plan.missing(plan.part(part, parts)) for part in range(1, parts + 1)}
    done = {part: plan.files.line(some[-1]) for part, some in left.items() if some}
    which = _whose(plan, settings.get("model"))
    words = ("predict", path, *which, "--out", plan.files.lines.parent, *overwrite,
             *_options(settings), "--runs", workspace.runs, "--device", device)  # fmt: skip
    tasks = _tasks(words, done, parts, plan.files.lines / "logs")
    if failed := failures(engine, tasks, watcher):
        raise TrainingError(
            told(list(failed.values()), parts, f"parts of {path}"),
            expected="every part predicted",
            next_step="go on with what is there: "
            + salt_command("predict", path, *which, *overwrite),
        )


def _whose(plan: SurveyPlan, model: str | None) -> tuple[str, str]:
    """The network that predicts, named: what is meant without a name may be another by then."""
    run = plan.finished.run
    if model is None and run.path == SHIPPED:
        model = SHIPPED_NAME
    return ("--run", run.name) if model is None else ("--model", model)


def _options(settings: Mapping[str, Any]) -> list[object]:
    """What was given of a survey's options, for a task's command."""
    given = [(flag, settings.get(name)) for name, flag in OF_SURVEYS.items()]
    return [word for flag, value in given if value is not None for word in (flag, value)]


def _tasks(words: Sequence[object], done: Mapping[int, Path], parts: int, logs: Path) -> list[Task]:
    """A task for each part that is not done.

    Args:
        words: The command, but for its part.
        done: The file that each of them writes last.
        parts: How many there are.
        logs: Folder of the logs.
    """
    return [
        Task(
            part,
            f"part {part}/{parts}",
            (*map(str, words), "--part", f"{part}/{parts}"),
            logs / f"part{part}.log",
            last,
            last.parent,
        )
        for part, last in done.items()
    ]
