"""What a report tells of out-of-fold tiles, by the very functions that ``salt ensemble`` uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kaggle_salt.competition.decision import LEVELS, Rule
from kaggle_salt.competition.mask_types import TYPES, edges_cut
from kaggle_salt.competition.postprocess import TileContext
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.ensembling.blending import blend, common_ids
from kaggle_salt.ensembling.calibration import calibration
from kaggle_salt.ensembling.histograms import TileHistograms
from kaggle_salt.ensembling.thresholds import (
    best_decision,
    cross_fitted_score,
    curve,
    score_at,
    tile_scores,
)
from kaggle_salt.errors import DataError
from kaggle_salt.pipeline.blending.ensemble_document import make_ensemble_again
from kaggle_salt.pipeline.blending.members import Member, out_of_fold
from kaggle_salt.pipeline.blending.scores import Truth, score_table, type_table
from kaggle_salt.pipeline.judging.report_subject import Subject
from kaggle_salt.predictions import Predictions
from kaggle_salt.report.data_sheets import CLASS_NAMES, classes_of
from kaggle_salt.report.facts import (
    AreaMap,
    Breakdown,
    Gallery,
    Judged,
    MemberFacts,
    Scored,
    rules_of,
)

#: Minimum areas on the map, from 0 to this share of a tile.
MAP_AREAS, LARGEST_AREA = 24, 0.1

DEPTH_GROUPS = 5  # of equal numbers of tiles

#: A tile is borderline where a threshold this much higher or lower changes its score so much.
BORDERLINE_LEVELS, BORDERLINE_CHANGE = 13, 0.25

#: Tiles in the gallery; of more, every so-manieth by score. A page must stay openable.
GALLERY_TILES = 4000

EDGE_NAMES = ("no salt", "whole in the tile", "cut by 1 edge", "cut by 2 edges",
              "cut by 3 edges", "cut by all 4")  # fmt: skip


def judge(
    subject: Subject, truth: Truth, competition: Competition
) -> tuple[Judged, list[MemberFacts]]:
    """Score a run or an ensemble in every way that its report shows.

    Args:
        subject: With one finished fold at least.
        truth: Masks, folds, and the steps that follow.
        competition: The training tiles.

    Raises:
        DataError: Stored predictions are damaged, or not those that an ensemble was scored on.
    """
    how, members = subject.how, subject.members
    per_run = {m.run.name: out_of_fold(m, how) for m in (*members, *subject.left_out)}
    ids = common_ids(list(per_run.values()))
    _refuse_other_tiles(subject, len(ids))
    parts, weights = [per_run[m.run.name] for m in members], [m.weight for m in members]
    predicted = blend(parts, weights=weights, how=how, ids=ids)
    blended = truth.count(predicted)
    told = _told_scores(subject, blended, truth.folds(ids))
    rule = told["decision"].rule
    judged = Judged(
        tiles=len(ids),
        rows=[
            Scored(row.name, row.tiles, row.at_half, row.interval, row.at_decision)
            for row in score_table(per_run, blended, truth, rule)
        ],
        breakdowns=_breakdowns(blended, predicted, truth, competition, rule),
        curve=curve(blended, rule),
        areas=_area_map(blended, rule),
        calibration=calibration(blended),
        gallery=_gallery(blended, predicted, truth, competition, rule),
        **told,
    )
    return judged, _members(subject, per_run, truth, judged.score)


def _refuse_other_tiles(subject: Subject, tiles: int) -> None:
    """Refuse an ensemble with a run that has predicted more or fewer tiles since."""
    then = subject.made.document["out_of_fold"]["tiles"] if subject.made else tiles
    if subject.made and tiles != then:
        raise DataError(
            f"ensemble {subject.name} was scored on {then} tiles, and its runs share {tiles} now",
            expected="the folds that it was made of",
            next_step=make_ensemble_again(subject.made.document),
        )


def _told_scores(
    subject: Subject, blended: TileHistograms, folds: NDArray[np.int64]
) -> dict[str, Any]:
    """The score to quote and the decision: of an ensemble those that it was made with."""
    if subject.made is None:
        honest = cross_fitted_score(blended, folds)
        return {"score": honest.score, "interval": honest.interval, "chosen": "the decision",
                "decision": best_decision(blended), "parts": rules_of(honest)}  # fmt: skip
    document = subject.made.document
    searched = bool(document.get("search"))
    return {
        "score": document["out_of_fold"]["score_cross_fitted"],
        "interval": tuple(document["out_of_fold"]["interval_cross_fitted"]),
        "chosen": "weights and decision" if searched else "the decision",
        "decision": score_at(blended, subject.made.rule),
        "parts": {} if searched else rules_of(cross_fitted_score(blended, folds)),
    }


def _area_map(blended: TileHistograms, rule: Rule) -> AreaMap:
    pixels = int(blended.inside[0].sum() + blended.outside[0].sum())
    steps = np.geomspace(1, max(LARGEST_AREA * pixels, 2), MAP_AREAS)
    areas = sorted({0, rule.min_area, *np.rint(steps).astype(int).tolist()})
    scores = [curve(blended, replace(rule, min_area=area))["score"] for area in areas]
    return AreaMap(areas, np.array(scores))


# Scores by sort of tile


def _breakdowns(
    blended: TileHistograms,
    predicted: Predictions,
    truth: Truth,
    competition: Competition,
    rule: Rule,
) -> list[Breakdown]:
    ids, masks = predicted.ids, truth.masks_of(predicted.ids)
    classes = np.array(CLASS_NAMES)[classes_of(_coverage(blended, masks))]
    empty = blended.truth_area == 0
    cut = np.array(EDGE_NAMES)[np.where(empty, 0, 1 + edges_cut(masks))]
    depths, depth_names = _depth_groups(_depths(ids, truth, competition))
    sorts = [
        ("coverage", "How much of the tile is salt.", classes, CLASS_NAMES),
        ("type of mask", "Border: slivers along an edge. Vertical: cut straight down. "
         "Object-N: the others, up to N % salt.", truth.types(ids), TYPES),
        ("depth", "Groups of equal numbers of tiles, in feet.", depths, depth_names),
        ("the tile's edges", "Whether the salt goes on beyond the tile, and on how many sides.",
         cut, EDGE_NAMES),
    ]  # fmt: skip
    return [
        Breakdown(title, about, [
            Scored(row.type, row.tiles, row.score, row.interval)
            for row in type_table(blended, sort, rule, names)
        ])
        for title, about, sort, names in sorts
    ]  # fmt: skip


def _depths(ids: Sequence[str], truth: Truth, competition: Competition) -> NDArray[np.float64]:
    return np.asarray(competition.depths)[[truth.row_of[tile] for tile in ids]]


def _coverage(blended: TileHistograms, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = blended.truth_area / max(masks[0].size, 1)
    return share


def _depth_groups(depths: NDArray[np.float64]) -> tuple[NDArray[np.str_], list[str]]:
    """The group of each tile, and all groups in order; those of unknown depth are the last."""
    known = np.flatnonzero(np.isfinite(depths))
    groups = np.full(len(depths), "unknown", dtype="<U32")
    ranked = known[np.argsort(depths[known], kind="stable")]
    names = []
    for rows in np.array_split(ranked, min(DEPTH_GROUPS, max(len(ranked), 1))):
        if len(rows):
            name = f"{depths[rows[0]]:.0f} to {depths[rows[-1]]:.0f} ft"
            groups[rows] = name
            names.append(name)
    return groups, [*dict.fromkeys(names), "unknown"]


# Tiles to look at


def _gallery(
    blended: TileHistograms,
    predicted: Predictions,
    truth: Truth,
    competition: Competition,
    rule: Rule,
) -> Gallery:
    scores = tile_scores(blended, rule)
    ranked = np.argsort(scores, kind="stable")
    count = min(len(ranked), GALLERY_TILES)
    rows = np.sort(ranked[np.linspace(0, len(ranked) - 1, count).round().astype(np.int64)])
    ids = [predicted.ids[row] for row in rows]
    images = competition.images[[truth.row_of[tile] for tile in ids]]
    truths, probabilities = truth.masks_of(ids), predicted.probabilities[rows]
    masks = rule.apply(probabilities, TileContext(ids, images))
    coverage = _coverage(blended, truths)[rows]
    table = pd.DataFrame(
        {
            "id": ids,
            "fold": truth.folds(ids),
            "score": scores[rows],
            "coverage": coverage,
            "depth": _depths(ids, truth, competition),
            "coverage_class": np.array(CLASS_NAMES)[classes_of(coverage)],
            "type": truth.types(ids),
            "edges": edges_cut(truths),
            "truth": truths.sum(axis=(1, 2)),
            "predicted": masks.sum(axis=(1, 2)),
            "hit": (truths & masks).sum(axis=(1, 2)),
            "borderline": _borderline(blended, rule)[rows],
        }
    )
    return Gallery(images, truths, probabilities, masks, table, len(ranked) - count)


def _borderline(blended: TileHistograms, rule: Rule) -> NDArray[np.bool_]:
    """Tiles whose score hangs on the threshold, bool ``[N]``."""
    lower, upper = rule.level - BORDERLINE_LEVELS, rule.level + BORDERLINE_LEVELS
    levels = (max(lower, 0), rule.level, min(upper, LEVELS - 1))
    scores = [tile_scores(blended, replace(rule, level=level)) for level in levels]
    return np.asarray(np.ptp(scores, axis=0) >= BORDERLINE_CHANGE)


# Members


def _members(
    subject: Subject, per_run: Mapping[str, Predictions], truth: Truth, score: float
) -> list[MemberFacts]:
    """What each run of an ensemble adds, as its search found it; or what the blend loses without.

    A run that the search left out has no weight, and is told of too.
    """
    if subject.made is None:
        return []
    if search := subject.made.document.get("search"):
        return [
            MemberFacts(one["member"], one["weight"], one["alone"], one["loss"],
                        tuple(one["interval"]))
            for one in search["contributions"]
        ]  # fmt: skip
    if len(per_run) < 2:
        return []
    total, ids = sum(member.weight for member in subject.members), common_ids([*per_run.values()])

    def honest(members: Sequence[Member]) -> float:
        parts, weights = [per_run[m.run.name] for m in members], [m.weight for m in members]
        predicted = blend(parts, weights=weights, how=subject.how, ids=ids)
        return cross_fitted_score(truth.count(predicted), truth.folds(ids)).score

    found = []
    for one in subject.members:
        without = honest([other for other in subject.members if other is not one])
        found.append(MemberFacts(one.run.name, one.weight / total, honest([one]), score - without))
    return found
