"""What ``salt ensemble`` decided, read from its ``ensemble.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kaggle_salt.competition.decision import Rule, nearest_level
from kaggle_salt.competition.postprocess import STEPS
from kaggle_salt.errors import DataError, salt_command


def chosen_rule(
    folder: Path,
    made: Mapping[str, Any],
    threshold: float | None = None,
    min_area: int | None = None,
) -> Rule:
    """The ensemble's rule, or what is given in place of its parts.

    Args:
        folder: Where the document lies.
        made: The document.
        threshold: In [0, 1].
        min_area: In pixels.

    Raises:
        DataError: The document has no rule.
    """
    stored = made["decision"].get("rule")
    if stored is None:
        raise DataError(
            f"{folder / 'ensemble.json'} was written by an earlier version: it has no rule",
            expected="a level, a minimum area and the steps after them",
            next_step=make_ensemble_again(made),
        )
    rule = Rule.from_json(stored, next_step=make_ensemble_again(made))
    if threshold is not None:
        rule = replace(rule, level=nearest_level(threshold))
    return rule if min_area is None else replace(rule, min_area=min_area)


def without_neighbours(rule: Rule) -> Rule:
    """The rule for tiles whose neighbours are not known: without the steps that look at them."""
    kept = tuple(name for name in rule.steps if not STEPS[name].of_neighbours)
    return replace(rule, steps=kept)


def make_ensemble_again(made: Mapping[str, Any]) -> str:
    """The command that makes an ensemble again: of the same runs, weights, average and mosaics."""
    weights = [str(float(member["weight"])).removesuffix(".0") for member in made["members"]]
    equal, how = len(set(weights)) == 1, made.get("how", "mean")
    return salt_command(
        "ensemble", *(member["run"] for member in made["members"]), "--name", made["name"],
        *([] if equal else ["--weights", ",".join(weights)]),
        *([] if how == "mean" else ["--how", how]),
        *(["--mosaic", made["mosaic"]["file"]] if made.get("mosaic") else []),
    )  # fmt: skip
