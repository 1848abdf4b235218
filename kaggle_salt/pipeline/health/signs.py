"""What a look at a machine or at a run brings to light, sign by sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kaggle_salt import predictions
from kaggle_salt.errors import DataError
from kaggle_salt.storage.files import HASH_KEY, files_hash, read_json, vouched_data


@dataclass(frozen=True)
class Sign:
    """One thing that was looked at.

    Args:
        about: What it is, in a few words.
        found: How it is.
        advice: What to do about it, in one line; empty where nothing is off.
        damaged: Whether a file is not what was written, or is gone.
    """

    about: str
    found: str
    advice: str = ""
    damaged: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """All signs, of a run or of the machine.

    Args:
        run: Name of the run; None for the machine.
        signs: In the order in which they were looked at.
    """

    run: str | None
    signs: Sequence[Sign]

    @property
    def damaged(self) -> tuple[Sign, ...]:
        """The signs of damage."""
        return tuple(sign for sign in self.signs if sign.damaged)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        signs = [asdict(sign) for sign in self.signs]
        return {"run": self.run, "damaged": bool(self.damaged), "signs": signs}


def artefact_sign(about: str, document: Path, advice: str) -> Sign:
    """Whether data are those that their document vouches for; all of them are read.

    Args:
        about: What they are.
        document: The document (see :mod:`kaggle_salt.storage.files`).
        advice: How they are made again.
    """
    data = vouched_data(document)
    if not data:
        return Sign(about, f"the data of {document} are gone", advice, damaged=True)
    names = " and ".join(path.name for path in data)
    try:
        told = read_json(document)
        # of several files one may merely have the name; loading them trusts them, so it is last
        if told.get(HASH_KEY) not in {files_hash(some) for some in (data, *([p] for p in data))}:
            found = f"{document.parent / names} has changed since it was written"
            return Sign(about, found, advice, damaged=True)
        if "ids" in told:
            predictions.load(document.with_suffix(""))
    except DataError as error:
        return Sign(about, error.found, advice, damaged=True)
    return Sign(about, f"{names} as written")
