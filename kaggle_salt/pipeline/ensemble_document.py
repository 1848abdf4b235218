"""What ``ensemble.json`` says, and whether it says it in the form that it was written in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kaggle_salt.errors import DataError, salt_command, shortened
from kaggle_salt.files import read_json

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
    document = read_json(path)
    try:
        _Ensemble.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{path}: {place} is {shortened(repr(first['input']))} ({first['msg']})",
            expected="the document that salt ensemble wrote",
            next_step="make the ensemble again: "
            + salt_command("ensemble", "RUN", "--name", folder.name),
        ) from error
    return document
