"""The weights of a blend, and what choosing them earns on tiles that did not choose.

Weights picked by their score flatter themselves, as a threshold does, only more so. The score
to quote is cross-fitted: weights and decision are chosen without the part of the tiles that
they are then judged on. What a member adds is judged in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kaggle_salt.competition.postprocess import Postprocessing
from kaggle_salt.ensembling.bootstrap import bootstrap_interval
from kaggle_salt.ensembling.climbing import Climb, Library, climb
from kaggle_salt.ensembling.thresholds import (
    CrossFit,
    Decision,
    best_decision,
    cross_fitted_score,
    tile_scores,
)
from kaggle_salt.errors import ConfigError, salt_command
from kaggle_salt.predictions import Predictions


@dataclass(frozen=True)
class Contribution:
    """What a member adds to a blend.

    Args:
        member: Its name.
        alone: Its own score, the decision cross-fitted.
        weight: Its share of the blend, 0 to 1.
        loss: Cross-fitted score of the search less that of a search without this member.
        interval: 95 % bootstrap interval of ``loss`` over the tiles.
    """

    member: str
    alone: float
    weight: float
    loss: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class WeightSearch:
    """What hill climbing found.

    Args:
        climb: Weights chosen on all tiles, and how.
        honest: What the search earns on tiles that it has not seen: for each part, weights and
            decision are those chosen on the other parts.
        part_weights: For each part, the weights chosen on the other parts.
        equal: What equal weights earn, the decision cross-fitted in the same way.
        contributions: What each member adds.
    """

    climb: Climb
    honest: CrossFit
    part_weights: Mapping[int, Mapping[str, int]]
    equal: CrossFit
    contributions: tuple[Contribution, ...]


def search_weights(
    members: Mapping[str, Predictions],
    truth: NDArray[np.bool_],
    ids: Sequence[str],
    parts: ArrayLike,
    *,
    how: str = "mean",
    steps: int = 30,
    post: Postprocessing | None = None,
) -> WeightSearch:
    """Choose the weights of a blend, and measure what that earns and what each member adds.

    Args:
        members: Out-of-fold predictions of two runs or more, by name.
        truth: bool ``[N, H, W]``.
        ids: The tiles of ``truth``, predicted by every member.
        parts: int ``[N]``, the fold of each tile. Where all tiles are of one fold they are
            dealt into random parts.
        how: The average, one of :data:`kaggle_salt.ensembling.blending.AVERAGES`.
        steps: Members to take at most, counted with repetition.
        post: The post-processing that will follow, on the same tiles; none by default.

    Raises:
        ConfigError: Fewer than two members, no such average, or no step.
        DataError: A member lacks a tile, or the arrays do not fit together.
    """
    if len(members) < 2:
        raise ConfigError(
            f"{len(members)} member to choose weights for",
            expected="two or more",
            next_step="name the runs to blend: "
            f"{salt_command('ensemble', *members, 'RUN', '--weights', 'search')}",
        )
    library = Library(members, truth, ids, parts, how, post)
    chosen = climb(library, steps=steps)
    judged = _cross_fit(library, steps)
    honest = CrossFit(
        float(judged.scores.mean()), bootstrap_interval(judged.scores), judged.decisions
    )
    equal = cross_fitted_score(library.histograms((1,) * len(members)), library.parts)
    contributions = tuple(
        _contribution(library, name, chosen, judged.scores, steps) for name in members
    )
    return WeightSearch(chosen, honest, judged.weights, equal, contributions)


@dataclass(frozen=True, eq=False)
class _Judged:
    """Score of each tile, float64 ``[N]``, under weights and decision chosen without its part."""

    scores: NDArray[np.float64]
    weights: dict[int, Mapping[str, int]]
    decisions: dict[int, Decision]


def _cross_fit(library: Library, steps: int, without_member: str | None = None) -> _Judged:
    judged = _Judged(np.empty(len(library.parts)), {}, {})
    for part in library.part_numbers:
        chosen = climb(library, steps=steps, without_part=part, without_member=without_member)
        histograms = library.histograms(tuple(chosen.weights.values()))
        held_out = library.parts == part
        decision = best_decision(histograms.take(~held_out))
        judged.scores[held_out] = tile_scores(histograms.take(held_out), decision.rule)
        judged.weights[part], judged.decisions[part] = chosen.weights, decision
    return judged


def _contribution(
    library: Library, name: str, chosen: Climb, scores: NDArray[np.float64], steps: int
) -> Contribution:
    alone = tuple(int(member == name) for member in library.names)
    losses = scores - _cross_fit(library, steps, without_member=name).scores
    return Contribution(
        member=name,
        alone=cross_fitted_score(library.histograms(alone), library.parts).score,
        weight=chosen.weights[name] / sum(chosen.weights.values()),
        loss=float(losses.mean()),
        interval=bootstrap_interval(losses),
    )
