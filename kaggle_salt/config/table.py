"""What all tables of a configuration share: they are frozen, closed, and refuse in our words."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from kaggle_salt.errors import ConfigError

#: What NumPy, scikit-learn and torch all take, and leaves room for a fold's number in 64 bits.
LARGEST_SEED = 2**32 - 1


def refuse_seed(seed: int, next_step: str) -> None:
    """Refuse a seed that some generator could not take.

    Raises:
        ConfigError: It is below 0 or above :data:`LARGEST_SEED`.
    """
    if not 0 <= seed <= LARGEST_SEED:
        expected = f"a whole number from 0 to {LARGEST_SEED}"
        raise ConfigError(f"the seed {seed}", expected=expected, next_step=next_step)


PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Table(BaseModel):
    """A table of the preset: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def broken_rule(found: str, expected: str) -> PydanticCustomError:
    """Values that are each possible, but not together; in our words."""
    context = {"found": found, "expected": expected}
    return PydanticCustomError("rule", "{found}; expected {expected}", context)
