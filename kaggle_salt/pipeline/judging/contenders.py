"""What a comparison is between: the runs behind a name, and what they say of unseen tiles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.decision import PLAIN_RULE, Rule
from kaggle_salt.competition.postprocess import TileContext
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.ensembling.blending import blend
from kaggle_salt.ensembling.thresholds import cross_fitted_decisions, tile_scores
from kaggle_salt.errors import ConfigError, DataError, nearest, salt_command
from kaggle_salt.pipeline.blending.ensemble_document import (
    DOCUMENT,
    make_ensemble_again,
    read_ensemble,
)
from kaggle_salt.pipeline.blending.members import Member, as_made, open_members, out_of_fold
from kaggle_salt.pipeline.blending.scores import Truth
from kaggle_salt.pipeline.workspace import ENSEMBLE, Listener, Workspace
from kaggle_salt.predictions import Predictions, load
from kaggle_salt.runs import RunFolder

#: One fold of a run, as ``quick/fold0``.
_FOLD = re.compile(r"(?P<run>.+)/fold(?P<fold>\d+)")


@dataclass(frozen=True)
class Contender:
    """A run, a fold of one, an ensemble, or runs averaged.

    Args:
        name: As it was named.
        members: The runs, with their weights.
        how: Their average, one of :data:`kaggle_salt.ensembling.blending.AVERAGES`.
    """

    name: str
    members: tuple[Member, ...]
    how: str = "mean"

    def tiles(self) -> list[str]:
        """Tiles that every member predicted out of fold, in the order of the first member."""
        held = [[tile for stem in m.oof for tile in load(stem).ids] for m in self.members]
        shared = set(held[0]).intersection(*held[1:])
        return [tile for tile in held[0] if tile in shared]

    def predicted(self, ids: Sequence[str]) -> Predictions:
        """What it says of some of its tiles, in memory."""
        parts = [out_of_fold(member, self.how) for member in self.members]
        return blend(parts, weights=[m.weight for m in self.members], how=self.how, ids=ids)


def open_contenders(
    workspace: Workspace, names: Sequence[str], competition: Competition, listener: Listener
) -> list[Contender]:
    """Find what is to be compared.

    A name is a run's; one fold of a run, as ``quick/fold0``; an ensemble's, with ``ensemble/`` in
    front where a run is called the same; or runs joined by ``+``, which are averaged.

    Args:
        workspace: Where fold table and runs lie.
        names: Two names or more.
        competition: The data that the runs must have been trained on.
        listener: Told of other fold tables.

    Raises:
        ConfigError: Fewer than two names, one that comes twice, nothing of that name, or a run
            without a trained fold.
        DataError: A run was trained on other data, or is not the one an ensemble was made of.
    """
    unique = list(dict.fromkeys(names))
    if len(unique) < 2 or len(unique) < len(names):
        raise ConfigError(
            f"{' '.join(names)} to compare" if len(unique) < 2 else
            f"a name comes twice: {' '.join(names)}",
            expected="two different runs or ensembles at least",
            next_step=salt_command("compare", *unique, *["RUN"] * (len(unique) < 2)),
        )  # fmt: skip
    return [_open(workspace, name, competition, listener) for name in unique]


def _open(
    workspace: Workspace, name: str, competition: Competition, listener: Listener
) -> Contender:
    if fold := _FOLD.fullmatch(name):
        [member] = _members(workspace, [fold["run"]], None, competition, listener)
        return Contender(name, (_only(member, int(fold["fold"])),))
    if _is_run(workspace, name):
        return Contender(name, _members(workspace, [name], None, competition, listener))
    ensemble = name.removeprefix(ENSEMBLE)
    made = workspace.ensembles / ensemble
    if not (made / DOCUMENT).is_file():  # a name without a + is of one run, which there is not
        return Contender(name, _members(workspace, name.split("+"), None, competition, listener))
    told = read_ensemble(made)
    runs = [one["run"] for one in told["members"]]
    weights = [one["weight"] for one in told["members"]]
    members = _members(workspace, runs, weights, competition, listener)
    again = make_ensemble_again(told)
    then = as_made(members, told["members"], next_step=again)
    return Contender(name, then, told.get("how", "mean"))


def _members(
    workspace: Workspace,
    runs: Sequence[str],
    weights: Sequence[float] | None,
    competition: Competition,
    listener: Listener,
) -> tuple[Member, ...]:
    _refuse_unknown(workspace, runs)
    return tuple(open_members(workspace, runs, weights, competition, listener))


def _is_run(workspace: Workspace, name: str) -> bool:
    run = RunFolder(workspace.runs / name)
    return run.config.exists() or run.foreign


def _refuse_unknown(workspace: Workspace, runs: Sequence[str]) -> None:
    unknown = [name for name in runs if not _is_run(workspace, name)]
    if unknown:
        known = workspace.known_names()
        raise ConfigError(
            f"there is no run and no ensemble '{unknown[0]}' in {workspace.runs}",
            expected=nearest(unknown[0], known) if known else "a run made by salt train",
            next_step="salt runs, which lists them",
        )


def _only(member: Member, fold: int) -> Member:
    """A member with one of its folds."""
    if member.foreign:
        raise ConfigError(
            f"the predictions {member.run.name} were made by another tool, and not by folds",
            expected="its name alone",
            next_step=f"{member.run.name} in place of {member.run.name}/fold{fold}",
        )
    if fold not in member.folds:
        raise ConfigError(
            f"fold {fold} of run {member.run.name} is not trained",
            expected=f"one of its trained folds: {', '.join(map(str, member.folds))}",
            next_step=salt_command("train", "--run", member.run.name, "--fold", fold, "--resume"),
        )
    return replace(member, folds=(fold,))


def shared_tiles(contenders: Sequence[Contender]) -> tuple[str, ...]:
    """Tiles that all of them predicted out of fold, in the order of the first.

    Raises:
        DataError: There is none, and what to train for some.
    """
    held = [contender.tiles() for contender in contenders]
    shared = set(held[0]).intersection(*held[1:])
    if not shared:
        raise DataError(
            f"{' and '.join(one.name for one in contenders)} have no out-of-fold tile in common: "
            + "; ".join(_folds_told(contenders)),
            expected="a fold that all of them have trained, by one fold table",
            next_step=_to_share(contenders),
        )
    return tuple(tile for tile in held[0] if tile in shared)


def _folds_told(contenders: Sequence[Contender]) -> list[str]:
    """Which folds each run has trained."""
    runs = {m.run.name: m for contender in contenders for m in contender.members}
    return [
        f"{name} has fold {', '.join(map(str, member.folds))}"
        for name, member in runs.items()
        if not member.foreign
    ]


def _to_share(contenders: Sequence[Contender]) -> str:
    """The least that gives all of them a fold in common."""
    names = [contender.name for contender in contenders]
    whole = list(dict.fromkeys(re.sub(r"/fold\d+$", "", name) for name in names))
    if whole != names:  # folds of the same number at best, or of one run
        return salt_command("compare", *whole, *["RUN"] * (len(whole) < 2))
    runs = {m.run.name: m for contender in contenders for m in contender.members if m.folds}
    counts = np.bincount([fold for member in runs.values() for fold in member.folds])
    fold = int(counts.argmax())
    lacking = [name for name, member in runs.items() if fold not in member.folds]
    if not lacking:
        return "train the runs on one fold table, under new names"
    return "; ".join(
        salt_command("train", "--run", name, "--fold", fold, "--resume") for name in lacking
    )


@dataclass(frozen=True, eq=False)
class Judged:
    """How a contender does on some tiles.

    Args:
        scores: float64 ``[N]``, of each tile.
        rules: The rule of each part of the tiles.
        parts: int ``[N]``, the part of each tile.
    """

    scores: NDArray[np.float64]
    rules: dict[int, Rule]
    parts: NDArray[np.integer]

    def masks(self, predicted: Predictions, tiles: TileContext) -> NDArray[np.bool_]:
        """The masks that were scored, bool ``[N, H, W]``, of the same N tiles in their order."""
        masks = np.empty(predicted.probabilities.shape, dtype=np.bool_)
        for part, rule in self.rules.items():
            rows = self.parts == part
            masks[rows] = rule.apply(predicted.probabilities[rows], tiles.take(rows))
        return masks


def judge(
    contender: Contender, ids: Sequence[str], truth: Truth, parts: NDArray[np.integer] | None
) -> Judged:
    """Score tiles under the contender's own decision, or at .5.

    Args:
        contender: What is judged.
        ids: N tiles that it predicted out of fold.
        truth: Their masks.
        parts: int ``[N]``: the decision of each part is chosen on the others. None takes .5.
    """
    histograms = truth.count(contender.predicted(ids))
    if parts is None:
        plain = np.zeros(len(ids), dtype=np.int64)
        return Judged(tile_scores(histograms, PLAIN_RULE), {0: PLAIN_RULE}, plain)
    rules = {p: found.rule for p, found in cross_fitted_decisions(histograms, parts).items()}
    scores = np.empty(len(ids))
    for part, rule in rules.items():
        rows = parts == part
        scores[rows] = tile_scores(histograms.take(rows), rule)
    return Judged(scores, rules, parts)
