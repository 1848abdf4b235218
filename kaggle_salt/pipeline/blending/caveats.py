"""Why a score to quote may be too high: what the networks knew of the tiles it is taken on."""

from __future__ import annotations

from collections.abc import Sequence

from kaggle_salt.config.file import load_run_config
from kaggle_salt.config.schema import Config
from kaggle_salt.pipeline.blending.members import Member
from kaggle_salt.storage.files import read_json


def caveats(members: Sequence[Member]) -> tuple[str, ...]:
    """Why an out-of-fold score of these runs may be too high, and by how much: a sentence each.

    Returns:
        Nothing where every network was trained without a look at the tiles it is scored on.
    """
    found = []
    for member in members:
        if member.foreign:
            found.append(
                f"{member.run.name} was made by another tool: that its predictions are out of "
                "fold is the word of who imported them, and the scores rest on it"
            )
            continue
        if read_json(member.run.manifest).get("pseudo_teachers") == "all":
            found.append(
                f"run {member.run.name} has learnt from networks of all folds: its out-of-fold "
                "score is too high by about .005, and so is the ensemble's"
            )
        if picks := _picks(load_run_config(member.run.config)):
            found.append(
                f"run {member.run.name} was steered by the tiles it is scored on ({picks}): its "
                "out-of-fold score is too high, by about .01 where the best of hundreds of epochs "
                "was picked and by less otherwise, and so is the ensemble's"
            )
    return tuple(found)


def _picks(config: Config) -> str:
    """What the stages let the validation tiles decide, for example ``bce: the best epoch``."""
    found = []
    for stage in config.stage:
        choices = {
            f"the best of {stage.epochs} epochs": stage.keep == "best",
            "a rate lowered on a plateau": stage.schedule.name == "plateau",
            "an early stop": stage.early_stopping > 0,
        }
        if picked := [what for what, chosen in choices.items() if chosen]:
            found.append(f"stage {stage.name}: {', '.join(picked)}")
    return "; ".join(found)
