"""``salt compare``: runs and ensembles on the same out-of-fold tiles; is a gain real?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.fold_files import read_folds
from kaggle_salt.competition.postprocess import TileContext
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.ensembling.bootstrap import bootstrap_interval
from kaggle_salt.ensembling.comparing import (
    KAGGLE_TEST_TILES,
    Recipe,
    most_changed,
    over_seeds,
    paired,
    seed_deviation,
    shake,
)
from kaggle_salt.ensembling.comparison import (
    ChangedTile,
    Comparison,
    Part,
    Rival,
    Standing,
    verdict,
)
from kaggle_salt.ensembling.thresholds import cross_fit_parts
from kaggle_salt.pipeline.blending.caveats import caveats
from kaggle_salt.pipeline.blending.scores import Truth, choose_postprocessing
from kaggle_salt.pipeline.judging.contenders import (
    Contender,
    Judged,
    judge,
    open_contenders,
    shared_tiles,
)
from kaggle_salt.pipeline.judging.repeats import Repeated, find_repeats
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.report.comparison_page import TilePicture, refuse_other_page, write_page
from kaggle_salt.report.data_sheets import CLASS_NAMES, classes_of

#: Tiles that are listed for each rival.
CHANGED = 16

#: So many can be compared before the best of them is best by luck as well.
MANY = 2


def compare(
    workspace: Workspace,
    names: Sequence[str],
    *,
    at_half: bool = False,
    html: Path | None = None,
    listener: Listener | None = None,
) -> Comparison:
    """Compare with the first, tile by tile, on the out-of-fold tiles that all of them have.

    Each is judged under its own decision, chosen as for a submission and cross-fitted: two
    networks at .5 may differ for no other reason than that .5 suits one of them better.

    Args:
        workspace: Where data, fold table and runs lie.
        names: Two or more; see :func:`kaggle_salt.pipeline.judging.contenders.open_contenders`.
        at_half: Judge all of them at threshold .5.
        html: Where to write a page with pictures of the tiles that changed most.
        listener: Told how the work goes.

    Raises:
        ConfigError: Nothing of that name, no trained fold, or ``html`` is some other file.
        DataError: They share no tile, do not belong to this data, or are damaged.
    """
    listener = listener or Listener()
    if html:
        refuse_other_page(html)
    competition = workspace.open(listener)
    table = read_folds(workspace.folds, competition.ids, competition.masks)
    contenders = open_contenders(workspace, names, competition, listener)
    ids = shared_tiles(contenders)
    truth = Truth.of(
        competition, table, choose_postprocessing([] if at_half else None, competition, listener)
    )
    folds = truth.folds(ids)
    parts = None if at_half or len(ids) < 2 else cross_fit_parts(folds, len(ids))
    judged = {one.name: (one, judge(one, ids, truth, parts)) for one in contenders}
    repeats = find_repeats(workspace, judged, ids, truth, parts, competition)
    bench = _Bench(competition, ids, truth, folds, judged, repeats)
    found = bench.comparison(_decision(folds, parts, at_half), _caveats(contenders))
    if html:
        pictures = {rival.name: bench.pictures(rival) for rival in found.rivals}
        write_page(html, found, pictures)
    return found


@dataclass(frozen=True, eq=False)
class _Bench:
    """What is compared, on the tiles that all have."""

    competition: Competition
    ids: tuple[str, ...]
    truth: Truth
    folds: NDArray[np.int64]
    judged: Mapping[str, tuple[Contender, Judged]]
    repeats: Mapping[str, Repeated]

    @cached_property
    def first(self) -> str:
        return next(iter(self.judged))

    @cached_property
    def tiles(self) -> TileContext:
        rows = [self.truth.row_of[tile] for tile in self.ids]
        return TileContext(self.ids, self.competition.images[rows])

    @cached_property
    def true_masks(self) -> NDArray[np.bool_]:
        return self.truth.masks_of(self.ids)

    @cached_property
    def masks_of_first(self) -> NDArray[np.bool_]:
        return self.masks(self.first)

    @cached_property
    def recipes(self) -> tuple[Recipe, ...]:
        """Those that were trained with several seeds."""
        found = {one.recipe.name: one.recipe for one in self.repeats.values()}
        return tuple(one for one in found.values() if len(one.seeds) > 1)

    def masks(self, name: str) -> NDArray[np.bool_]:
        contender, judged = self.judged[name]
        return judged.masks(contender.predicted(self.ids), self.tiles)

    def differences(self, name: str) -> NDArray[np.float64]:
        return self.judged[name][1].scores - self.judged[self.first][1].scores

    def comparison(self, decision: str, caveats: tuple[str, ...]) -> Comparison:
        return Comparison(
            tiles=len(self.ids),
            decision=decision,
            standings=tuple(
                Standing(name, float(one.scores.mean()), bootstrap_interval(one.scores))
                for name, (_, one) in self.judged.items()
            ),
            rivals=tuple(self.rival(name) for name in list(self.judged)[1:]),
            parts=self.parts(),
            recipes=self.recipes,
            seed_deviation=seed_deviation(self.recipes),
            caveats=caveats,
        )

    def rival(self, name: str) -> Rival:
        differences, found = self.differences(name), paired(self.differences(name))
        mine, firsts = self.repeats.get(name), self.repeats.get(self.first)
        deviation = seed_deviation(self.recipes)
        both = mine is not None and firsts is not None
        repetition = both and mine is firsts
        over = None
        if mine and firsts and deviation is not None and not repetition:
            over = over_seeds(mine.scores, firsts.scores, deviation)
        test_tiles = len(self.competition.test_ids)
        return Rival(
            name=name,
            paired=found,
            over_seeds=over,
            shake=shake(differences, test_tiles if test_tiles > 1 else KAGGLE_TEST_TILES),
            changed=self.changed(name),
            verdict=verdict(found, over, repetition=repetition, trainable=both),
        )

    def changed(self, name: str) -> tuple[ChangedTile, ...]:
        masks = self.masks(name)
        pixels = np.count_nonzero(masks != self.masks_of_first, axis=(1, 2))
        first, other = self.judged[self.first][1].scores, self.judged[name][1].scores
        return tuple(
            ChangedTile(
                id=self.ids[row],
                fold=int(self.folds[row]),
                coverage=float(self.true_masks[row].mean()),
                first=float(first[row]),
                score=float(other[row]),
                pixels=int(pixels[row]),
            )
            for row in most_changed(other - first, pixels, CHANGED).tolist()
        )

    def parts(self) -> tuple[Part, ...]:
        """The tiles by coverage, and by fold where there are several."""
        classes = classes_of(self.true_masks.mean(axis=(1, 2), dtype=np.float64))
        by_class = [("coverage", CLASS_NAMES[n], classes == n) for n in np.unique(classes)]
        folds = np.unique(self.folds)
        by_fold = [("fold", str(fold), self.folds == fold) for fold in folds]
        return tuple(
            Part(
                kind=kind,
                name=name,
                tiles=int(rows.sum()),
                scores=tuple(float(one.scores[rows].mean()) for _, one in self.judged.values()),
                differences=tuple(
                    paired(self.differences(other)[rows]) for other in list(self.judged)[1:]
                ),
            )
            for kind, name, rows in by_class + (by_fold if len(folds) > 1 else [])
        )

    def pictures(self, rival: Rival) -> list[TilePicture]:
        """Each of the tiles that changed most, in their order."""
        rows = [self.ids.index(tile.id) for tile in rival.changed]
        masks, images = self.masks(rival.name), self.tiles.images
        return [
            TilePicture(images[row], self.true_masks[row], self.masks_of_first[row], masks[row])
            for row in rows
        ]


def _decision(folds: NDArray[np.int64], parts: NDArray[np.integer] | None, at_half: bool) -> str:
    """How probabilities became masks, and why so."""
    if parts is None:
        return f"threshold .5 for all, {'as asked' if at_half else 'for there is one tile alone'}"
    if len(np.unique(folds)) > 1:
        others = "the other folds"
    else:
        others = f"four random fifths of the tiles, for all are of fold {folds[0]},"
    return f"each by its own, as it would be submitted: chosen on {others} each time"


def _caveats(contenders: Sequence[Contender]) -> tuple[str, ...]:
    found = list(dict.fromkeys(told for one in contenders for told in caveats(one.members)))
    if len(contenders) > MANY:
        found.append(
            f"the best of {len(contenders)} looks better than it is: it was picked by these tiles"
        )
    return tuple(found)
