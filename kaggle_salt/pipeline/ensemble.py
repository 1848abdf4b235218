"""``salt ensemble``: folds and runs averaged, a decision chosen out of fold, scores to trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_salt import predictions
from kaggle_salt.competition.folds import read_folds
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config import Config
from kaggle_salt.config_file import load_config
from kaggle_salt.ensembling.blending import blend, common_ids, join
from kaggle_salt.ensembling.histograms import TileHistograms
from kaggle_salt.ensembling.thresholds import (
    CrossFit,
    Decision,
    best_decision,
    cross_fitted_score,
    curve,
)
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.learning.fold import predict_test
from kaggle_salt.pipeline.scores import ScoreRow, Truth, missing_folds, score_table
from kaggle_salt.pipeline.workspace import Listener, Workspace, require_plain_name
from kaggle_salt.predictions import Predictions
from kaggle_salt.report.curves import threshold_curve
from kaggle_salt.runs import RunFolder, file_hash, open_run, read_json, write_json


@dataclass(frozen=True)
class Member:
    """A run in the ensemble: its finished folds, and the weight of their mean."""

    run: RunFolder
    config: Config
    folds: tuple[int, ...]
    weight: float


@dataclass(frozen=True)
class EnsembleReport:
    """What ``salt ensemble`` found.

    Args:
        name: Name of the ensemble.
        folder: Where it lies.
        rows: Scores of each fold, each run and the blend.
        decision: Threshold and minimum area chosen on all out-of-fold tiles, and their score
            there.
        honest: Score of a decision chosen without the tiles it is scored on: the one to quote.
        missing: Folds without a trained network, by run.
        test_tiles: Number of test tiles predicted.
    """

    name: str
    folder: Path
    rows: tuple[ScoreRow, ...]
    decision: Decision
    honest: CrossFit
    missing: Mapping[str, tuple[int, ...]]
    test_tiles: int


def ensemble(
    workspace: Workspace,
    runs: Sequence[str] = (),
    *,
    name: str | None = None,
    weights: Sequence[float] | None = None,
    require_all: bool = False,
    device: str = "auto",
    listener: Listener | None = None,
) -> EnsembleReport:
    """Average every trained fold of the runs, on out-of-fold and on test tiles.

    Args:
        workspace: Where data, fold table and runs lie.
        runs: Names of runs; by default the one trained last.
        name: Name of the ensemble; by default the runs' names joined by ``+``.
        weights: One positive number for each run; equal by default.
        require_all: Refuse an ensemble that lacks a fold.
        device: Where the test tiles are predicted.
        listener: Told how the work goes.

    Raises:
        ConfigError: Unknown run, no trained fold, wrong weights, or a fold is missing and
            ``require_all`` is set.
        DataError: The runs do not belong to this data.
    """
    listener = listener or Listener()
    competition = workspace.open(listener)
    table = read_folds(workspace.folds, competition.ids, competition.masks)
    members = _members(workspace, runs, weights, competition, listener)
    missing = {m.run.name: missing_folds(m.folds, table) for m in members}
    _report_missing(missing, require_all, listener)
    folder = _folder(workspace, "+".join(missing) if name is None else name)
    per_run = {
        m.run.name: join([predictions.load(m.run.fold(fold).oof) for fold in m.folds])
        for m in members
    }
    blended = _blend_runs(members, per_run)
    truth = Truth.of(competition, table)
    histograms = truth.count(blended)
    decision = best_decision(histograms)
    honest = cross_fitted_score(histograms, truth.folds(blended))
    rows = tuple(score_table(per_run, histograms, truth, decision))
    (folder / "ensemble.json").unlink(missing_ok=True)  # the old decision is for other numbers
    _draw_curve(histograms, decision, folder)
    _predict_test(members, competition, folder, device, listener)
    test_tiles = len(competition.test_ids)
    report = EnsembleReport(folder.name, folder, rows, decision, honest, missing, test_tiles)
    write_json(folder / "ensemble.json", _manifest(report, members, competition))
    return report


def _members(
    workspace: Workspace,
    runs: Sequence[str],
    weights: Sequence[float] | None,
    competition: Competition,
    listener: Listener,
) -> list[Member]:
    names = list(runs) or [_last_run(workspace, listener)]
    members = [
        _member(open_run(workspace.runs, name), weight, competition)
        for name, weight in zip(names, _run_weights(names, weights), strict=True)
    ]
    _warn_of_other_folds(members, file_hash(workspace.folds), listener)
    return members


def _folder(workspace: Workspace, name: str) -> Path:
    require_plain_name(name, "an ensemble")
    return workspace.ensembles / name


def _draw_curve(histograms: TileHistograms, decision: Decision, folder: Path) -> None:
    threshold_curve(
        curve(histograms, decision.min_area),
        folder / "threshold-curve.png",
        chosen_threshold=decision.threshold,
        chosen_score=decision.score,
        interval=decision.interval,
        title=f"{folder.name}: out-of-fold score of {len(histograms)} tiles",
    )


def _last_run(workspace: Workspace, listener: Listener) -> str:
    """Name of the run whose fold was finished last."""
    finished = sorted(
        (summary.stat().st_mtime, summary.parent.parent.name)
        for summary in workspace.runs.glob("*/fold*/fold.json")
    )
    if not finished:
        raise ConfigError(
            f"no run in {workspace.runs} has a trained fold",
            expected="at least one",
            next_step="salt train --fold 0",
        )
    names = {name for _, name in finished}
    last = finished[-1][1]
    if len(names) > 1:
        listener.note(
            f"taking run {last}, trained last; to blend runs, name them: "
            f"salt ensemble {' '.join(sorted(names))}"
        )
    return last


def _run_weights(names: Sequence[str], weights: Sequence[float] | None) -> list[float]:
    if len(set(names)) < len(names):
        raise ConfigError(
            f"a run is named twice: {' '.join(names)}",
            expected="each run once",
            next_step=f"salt ensemble {' '.join(dict.fromkeys(names))}",
        )
    if weights is None:
        return [1.0] * len(names)
    if len(weights) != len(names) or not all(np.isfinite(w) and w > 0 for w in weights):
        raise ConfigError(
            f"weights {', '.join(f'{w:g}' for w in weights)} for {len(names)} runs",
            expected="one positive number for each run, in their order",
            next_step="--weights 2,1 or --weights equal",
        )
    return list(weights)


def _member(run: RunFolder, weight: float, competition: Competition) -> Member:
    folds = tuple(run.finished_folds())
    if not folds:
        half = run.unfinished_folds()
        raise ConfigError(
            f"run {run.name} has no trained fold"
            + (f" (fold {half[0]} is half trained)" if half else ""),
            expected="at least one",
            next_step=f"salt train --run {run.name} --fold 0" + (" --resume" if half else ""),
        )
    if read_json(run.manifest).get("train_hash") != competition.train_hash:
        raise DataError(
            f"run {run.name} was trained on other tiles than those in {competition.path}",
            expected="the data it was trained on",
            next_step="--data FOLDER, or train again under another --run NAME",
        )
    return Member(run, load_config(run.config), folds, weight)


def _warn_of_other_folds(members: Sequence[Member], folds_hash: str, listener: Listener) -> None:
    for member in members:
        if read_json(member.run.manifest).get("folds_hash") != folds_hash:
            listener.warn(
                f"run {member.run.name} was trained on another fold table than the present one: "
                "its predictions are out of fold all the same, but the table's folds are not its"
            )


def _report_missing(
    missing: Mapping[str, tuple[int, ...]], require_all: bool, listener: Listener
) -> None:
    for run, folds in missing.items():
        if not folds:
            continue
        text = f"run {run} lacks fold {', '.join(map(str, folds))}"
        command = f"salt train --run {run} --fold {','.join(map(str, folds))} --resume"
        if require_all:
            raise ConfigError(text, expected="every fold (--require-all)", next_step=command)
        listener.warn(f"{text}: left out. To train the rest: {command}")


def _blend_runs(members: Sequence[Member], per_run: Mapping[str, Predictions]) -> Predictions:
    """The blend of the runs on the tiles that all of them predicted."""
    parts = list(per_run.values())
    if len(parts) == 1:
        return parts[0]
    return blend(parts, weights=[member.weight for member in members], ids=common_ids(parts))


def _predict_test(
    members: Sequence[Member],
    competition: Competition,
    folder: Path,
    device: str,
    listener: Listener,
) -> None:
    if not competition.test_ids:
        listener.warn("there are no test tiles: the ensemble can be scored but not submitted")
        return
    parts, weights = [], []
    for member in members:
        training = member.config.training
        compute = choose_compute(device, training.precision, training.channels_last)
        for fold in member.folds:
            part = predict_test(
                member.config,
                member.run.fold(fold),
                competition.test_ids,
                competition.test_images,
                data_hash=competition.test_hash,
                compute=compute,
                progress=listener.progress(f"{member.run.name} fold {fold}: test tiles"),
            )
            parts.append(part)
            weights.append(member.weight / len(member.folds))
    blend(parts, weights=weights, stem=folder / "test")


def _manifest(
    report: EnsembleReport, members: Sequence[Member], competition: Competition
) -> dict[str, Any]:
    return {
        "name": report.name,
        "members": [
            {
                "run": member.run.name,
                "weight": member.weight,
                "folds": {
                    str(fold): read_json(member.run.fold(fold).summary)["weights_hash"]
                    for fold in member.folds
                },
            }
            for member in members
        ],
        "data_hash": competition.data_hash,
        "decision": asdict(report.decision),
        "out_of_fold": {
            "tiles": report.rows[-1].tiles,
            "score_at_half": report.rows[-1].at_half,
            "score_cross_fitted": report.honest.score,
            "interval_cross_fitted": report.honest.interval,
        },
        "scores": [asdict(row) for row in report.rows],
    }
