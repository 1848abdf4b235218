"""What repeated training alone does to a score: runs that differ in nothing but the seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config.file import load_run_config
from kaggle_salt.config.readers import read_part
from kaggle_salt.ensembling.comparing import Recipe
from kaggle_salt.errors import SaltError
from kaggle_salt.pipeline.blending.members import open_member
from kaggle_salt.pipeline.blending.scores import Truth
from kaggle_salt.pipeline.judging.contenders import Contender, Judged, judge
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage.files import read_json

#: What the manifests of repeated trainings agree in, beside the configuration.
_SAME = ("train_hash", "folds_hash", "pseudo_hash", "weights_hash")

#: What a run is but for its seed, and its seed.
_Training = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Repeated:
    """A recipe, and what each of its trainings scores, float64 ``[trainings, N]``."""

    recipe: Recipe
    scores: NDArray[np.float64]


def find_repeats(
    workspace: Workspace,
    judged: Mapping[str, tuple[Contender, Judged]],
    ids: Sequence[str],
    truth: Truth,
    parts: NDArray[np.integer] | None,
    competition: Competition,
) -> dict[str, Repeated]:
    """Gather the trainings of each recipe: those compared, and those that lie beside them.

    Args:
        workspace: Where the runs lie; all of them are looked at.
        judged: What is compared, by name.
        ids: N tiles. Runs that lack one of them do not count.
        truth: Their masks.
        parts: See :func:`kaggle_salt.pipeline.judging.contenders.judge`.
        competition: The data.

    Returns:
        The recipe of each run that is compared, or fold of one, by the contender's name. For
        ensembles and what other tools made there is none.
    """
    key_of: dict[str, str] = {}
    trainings: dict[str, dict[int, tuple[str, NDArray[np.float64]]]] = {}
    for name, (contender, own) in judged.items():
        training = _training(contender.members[0].run) if len(contender.members) == 1 else None
        if training:
            key_of[name], seed = training
            trainings.setdefault(key_of[name], {}).setdefault(seed, (name, own.scores))
    for path in sorted(workspace.runs.glob("*/config.toml")):
        training = _training(RunFolder(path.parent))
        if training and training[1] not in trainings.get(training[0], {training[1]: 0}):
            scores = _scores(RunFolder(path.parent), ids, truth, parts, competition)
            if scores is not None:
                trainings[training[0]][training[1]] = path.parent.name, scores
    recipes = {key: _repeated(by_seed) for key, by_seed in trainings.items()}
    return {name: recipes[key] for name, key in key_of.items()}


def _training(run: RunFolder) -> _Training | None:
    """What is trained, and with which seed; None where nothing tells."""
    try:
        described, told = read_part(load_run_config(run.config)), read_json(run.manifest)
    except SaltError:
        return None
    described.pop("description", None)
    seed = described["training"].pop("seed")
    return json.dumps([described, [told.get(key) for key in _SAME]], sort_keys=True), seed


def _scores(
    run: RunFolder,
    ids: Sequence[str],
    truth: Truth,
    parts: NDArray[np.integer] | None,
    competition: Competition,
) -> NDArray[np.float64] | None:
    """Scores of a run that nobody named; None where it is of no use here, for whatever reason."""
    try:
        beside = Contender(run.name, (open_member(run, 1.0, competition),))
        if not set(ids) <= set(beside.tiles()):
            return None
        return judge(beside, ids, truth, parts).scores
    except SaltError:
        return None


def _repeated(by_seed: Mapping[int, tuple[str, NDArray[np.float64]]]) -> Repeated:
    seeds = sorted(by_seed)
    names, scores = zip(*(by_seed[seed] for seed in seeds), strict=True)
    first = next(iter(by_seed.values()))[0]
    means = tuple(float(one.mean()) for one in scores)
    return Repeated(Recipe(first, names, tuple(seeds), means), np.stack(scores))
