"""``salt ensemble``: folds and runs averaged, a rule chosen out of fold, scores to trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from kaggle_salt.competition.fold_files import read_folds
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.ensembling.blending import blend, common_ids, require_average
from kaggle_salt.ensembling.histograms import TileHistograms
from kaggle_salt.ensembling.thresholds import (
    CrossFit,
    Decision,
    best_decision,
    cross_fitted_score,
    curve,
)
from kaggle_salt.ensembling.weight_search import WeightSearch, search_weights
from kaggle_salt.names import require_plain_name
from kaggle_salt.pipeline.blending.caveats import caveats
from kaggle_salt.pipeline.blending.ensemble_document import DOCUMENT
from kaggle_salt.pipeline.blending.members import (
    Member,
    open_members,
    out_of_fold,
    report_missing,
)
from kaggle_salt.pipeline.blending.mosaic_rules import Gain, Mosaic, judge_steps
from kaggle_salt.pipeline.blending.on_test import Helpers, blend_test
from kaggle_salt.pipeline.blending.scores import (
    ScoreRow,
    Truth,
    TypeRow,
    choose_postprocessing,
    missing_folds,
    score_table,
    type_table,
)
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.predictions import stated_hash
from kaggle_salt.report.curves import threshold_curve
from kaggle_salt.report.prediction_pictures import Examples, draw_examples, pick_examples
from kaggle_salt.storage.files import write_json
from kaggle_salt.storage.lease import hold

#: Weights of the runs: given, equal (``None``), or to be found by hill climbing.
Weights = Sequence[float] | Literal["search"] | None


@dataclass(frozen=True)
class EnsembleReport:
    """What ``salt ensemble`` found.

    Args:
        name: Name of the ensemble.
        folder: Where it lies.
        how: The average, one of :data:`kaggle_salt.ensembling.blending.AVERAGES`.
        weights: Weight of each run in the blend; a run that a search left out is not named.
        rows: Scores of each fold, each run and the blend.
        types: Scores of the blend for each type of mask, under the decision.
        decision: The rule chosen on all out-of-fold tiles, and its score there.
        honest: Score of a rule, and of searched weights, chosen without the tiles it is scored
            on: the one to quote.
        caveats: Why even that score is too high, and by how much; a sentence each.
        search: How the weights were found and what each run adds; without a search nothing.
        missing: Folds without a trained network, by run.
        test_tiles: Number of test tiles predicted.
        mosaic: What each step that looks at neighbours adds, and all together; nothing without
            a table of mosaics.
    """

    name: str
    folder: Path
    how: str
    weights: Mapping[str, float]
    rows: tuple[ScoreRow, ...]
    types: tuple[TypeRow, ...]
    decision: Decision
    honest: CrossFit
    caveats: tuple[str, ...]
    search: WeightSearch | None
    missing: Mapping[str, tuple[int, ...]]
    test_tiles: int
    mosaic: tuple[Gain, ...] = ()


def ensemble(
    workspace: Workspace,
    runs: Sequence[str] = (),
    *,
    name: str | None = None,
    weights: Weights = None,
    how: str = "mean",
    steps: int = 30,
    post: Sequence[str] | None = None,
    mosaic: Path | None = None,
    require_all: bool = False,
    device: str = "auto",
    listener: Listener | None = None,
    helpers: Helpers | None = None,
) -> EnsembleReport:
    """Average every trained fold of the runs, on out-of-fold and on test tiles.

    Args:
        workspace: Where data, fold table and runs lie.
        runs: Names of runs; by default the one trained last.
        name: Name of the ensemble; by default the runs' names joined by ``+``.
        weights: One positive number for each run, equal by default, or ``"search"``.
        how: The average, one of :data:`kaggle_salt.ensembling.blending.AVERAGES`.
        steps: Runs that a search of the weights takes at most, counted with repetition.
        post: Of :data:`kaggle_salt.competition.postprocess.STEPS`; else those the tiles bear out.
        mosaic: Table of mosaics, as ``salt mosaic`` writes it, for steps that look at neighbours.
        require_all: Refuse an ensemble that lacks a fold.
        device: Where the test tiles are predicted.
        listener: Told how the work goes.
        helpers: Other processes that predict the test tiles.

    Raises:
        ConfigError: Unknown run, average or step, wrong weights, or folds that must be there.
        DataError: The runs, or the mosaics, do not belong to this data.
    """
    listener, given = listener or Listener(), None if weights == "search" else weights
    require_average(how)
    competition = workspace.open(listener)
    table = read_folds(workspace.folds, competition.ids, competition.masks)
    opened = None if mosaic is None else Mosaic.open(mosaic, competition)
    members = open_members(workspace, runs, given, competition, listener)
    missing = {m.run.name: () if m.foreign else missing_folds(m.folds, table) for m in members}
    report_missing(missing, require_all, listener)
    folder = _folder(workspace, "+".join(missing) if name is None else name)
    truth = Truth.of(competition, table, choose_postprocessing(post, competition, listener, opened))
    with hold(folder):  # of two of one name, one is written whole
        judged = _judge(members, truth, how, steps if weights == "search" else None, listener)
        report = _report(folder, how, judged, missing, competition, opened, listener)
        _write(report, judged, competition, opened, device, helpers, listener)
    return report


def _report(
    folder: Path,
    how: str,
    judged: _Judged,
    missing: Mapping[str, tuple[int, ...]],
    competition: Competition,
    mosaic: Mosaic | None,
    listener: Listener,
) -> EnsembleReport:
    return EnsembleReport(
        name=folder.name,
        folder=folder,
        how=how,
        weights={m.run.name: m.weight for m in judged.members},
        rows=judged.rows,
        types=judged.types,
        decision=judged.decision,
        honest=judged.honest,
        caveats=caveats(judged.members),
        search=judged.search,
        missing=missing,
        test_tiles=len(competition.test_ids),
        mosaic=judge_steps(mosaic, judged.blended, judged.decision.rule, competition, listener),
    )


def _write(
    report: EnsembleReport,
    judged: _Judged,
    competition: Competition,
    mosaic: Mosaic | None,
    device: str,
    helpers: Helpers | None,
    listener: Listener,
) -> None:
    """Draw the pictures, blend the test tiles, and write the document that vouches for all."""
    manifest = report.folder / DOCUMENT
    manifest.unlink(missing_ok=True)  # the old rule is for other numbers
    _draw_curve(judged, report.folder)
    pictures = report.folder / "predictions.png"
    around = mosaic.neighbourhood if mosaic else None
    draw_examples(judged.examples, competition, report.decision.rule, pictures, around)
    stem = report.folder / "test"
    blend_test(judged.members, competition, stem, report.how, device, listener, helpers)
    made = _manifest(report, judged.members, competition)
    test_hash = stated_hash(stem) if competition.test_ids else None
    told = {"mosaic": mosaic.as_json(report.mosaic) if mosaic else None, "test_hash": test_hash}
    write_json(manifest, {**made, **told})


@dataclass(frozen=True, eq=False)
class _Judged:
    """What the out-of-fold tiles say: the runs to blend, their blend, and the report's fields."""

    members: Sequence[Member]
    blended: TileHistograms
    rows: tuple[ScoreRow, ...]
    types: tuple[TypeRow, ...]
    decision: Decision
    honest: CrossFit
    search: WeightSearch | None
    examples: Examples


def _judge(
    members: Sequence[Member], truth: Truth, how: str, climb_steps: int | None, listener: Listener
) -> _Judged:
    """Blend the runs on the tiles that all of them predicted, and choose what is to be chosen.

    But for a few examples the predictions are not returned: they need not stay while test tiles are
    predicted. Without ``climb_steps`` the weights of the members are taken, not searched.
    """
    per_run = {m.run.name: out_of_fold(m, how) for m in members}
    ids = common_ids(list(per_run.values()))
    folds = truth.folds(ids)
    search = None
    if climb_steps is not None:
        listener.note(f"searching the weights of {len(members)} runs on {len(ids)} tiles")
        masks = truth.masks_of(ids)
        search = search_weights(
            per_run, masks, ids, folds, how=how, steps=climb_steps, post=truth.post_of(ids)
        )
        _warn_of_search(search, listener)
        found = search.climb.weights
        members = [replace(m, weight=found[m.run.name]) for m in members if found[m.run.name]]
    parts = [per_run[m.run.name] for m in members]
    predicted = blend(parts, weights=[m.weight for m in members], how=how, ids=ids)
    blended = truth.count(predicted)
    decision = best_decision(blended)
    honest = search.honest if search else cross_fitted_score(blended, folds)
    rows = tuple(score_table(per_run, blended, truth, decision.rule))
    types = type_table(blended, truth.types(ids), decision.rule)
    examples = pick_examples(predicted, blended, decision.rule)
    return _Judged(members, blended, rows, types, decision, honest, search, examples)


def _folder(workspace: Workspace, name: str) -> Path:
    require_plain_name(name, "an ensemble")
    return workspace.ensembles / name


def _warn_of_search(search: WeightSearch, listener: Listener) -> None:
    if search.honest.score <= search.equal.score:
        listener.warn(
            f"searching the weights does not pay: on tiles that did not choose them they score "
            f"{search.honest.score:.4f}, equal weights {search.equal.score:.4f}; "
            "--weights equal is the safer choice"
        )


def _draw_curve(judged: _Judged, folder: Path) -> None:
    threshold_curve(
        curve(judged.blended, judged.decision.rule),
        folder / "threshold-curve.png",
        chosen_threshold=judged.decision.rule.threshold,
        chosen_score=judged.decision.score,
        interval=judged.decision.interval,
        title=f"{folder.name}: out-of-fold score of {len(judged.blended)} tiles",
    )


def _manifest(
    report: EnsembleReport, members: Sequence[Member], competition: Competition
) -> dict[str, Any]:
    return {
        "name": report.name,
        "how": report.how,
        "members": [member.origin() for member in members],
        "search": report.search and asdict(report.search),
        "data_hash": competition.data_hash,
        "decision": asdict(report.decision),
        "out_of_fold": {
            "tiles": report.rows[-1].tiles,
            "score_at_half": report.rows[-1].at_half,
            "score_cross_fitted": report.honest.score,
            "interval_cross_fitted": report.honest.interval,
            "caveats": report.caveats,
        },
        "scores": [asdict(row) for row in report.rows],
        "types": [asdict(row) for row in report.types],
    }
