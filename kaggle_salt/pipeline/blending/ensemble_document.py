"""What ``ensemble.json`` says, refused unless in the form that it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kaggle_salt.competition.decision import Rule, nearest_level
from kaggle_salt.competition.postprocess import STEPS
from kaggle_salt.errors import DataError, salt_command, shortened
from kaggle_salt.storage.files import read_json

#: Name of the document in an ensemble's folder.
DOCUMENT = "ensemble.json"


class _Part(BaseModel):
    """What is read of a part of the document; it holds more than that."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Member(_Part):
    run: str
    weight: float = Field(gt=0)


class _Decision(_Part):
    rule: dict[str, Any] | None = None


class _OutOfFold(_Part):
    score_cross_fitted: float


class _Mosaic(_Part):
    file: str
    hash: str


class _Ensemble(_Part):
    name: str
    how: str = "mean"
    members: list[_Member] = Field(min_length=1)
    data_hash: str
    decision: _Decision
    out_of_fold: _OutOfFold
    mosaic: _Mosaic | None = None


def read_ensemble(folder: Path) -> dict[str, Any]:
    """The document of the ensemble in a folder, every part of it of the type it should be.

    The rule in its decision is looked at where it is read: see
    :meth:`kaggle_salt.competition.decision.Rule.from_json`.

    Raises:
        DataError: It is missing or damaged, or says something else.
    """
    path = folder / DOCUMENT
    again = "make the ensemble again: " + salt_command("ensemble", "RUN", "--name", folder.name)
    document = read_json(path, next_step=again)
    try:
        _Ensemble.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        found = "is missing"
        if first["type"] != "missing":
            found = f"is {shortened(repr(first['input']))} ({first['msg']})"
        raise DataError(
            f"{path}: {place} {found}",
            expected="the document that salt ensemble wrote",
            next_step=again,
        ) from error
    return document


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
            f"{folder / DOCUMENT} was written by an earlier version: it has no rule",
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
