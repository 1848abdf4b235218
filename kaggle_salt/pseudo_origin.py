"""What pseudo-labels are made of: who teaches, which tiles were wanted, on which data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from kaggle_salt.errors import ConfigError, salt_command

#: Whose predictions label the tiles of fold k's student: the networks of fold k, which never
#: saw its validation tiles, or those of all folds.
Teachers = Literal["fold", "all"]

#: How the tiles taken are balanced over coverage: :mod:`kaggle_salt.ensembling.confidence`.
Balance = Literal["training", "1st-place"]


@dataclass(frozen=True)
class Confidence:
    """When a tile is confident, and how many are wanted.

    Args:
        low: A pixel below this probability is sure to be none of salt.
        high: A pixel above this probability is sure to be salt.
        confidence: Smallest share of sure pixels of a confident tile.
        limit: Tiles to take at most; None for as many as there are.
        balance: ``training``, or ``1st-place``, which asks for a confidence of .97 at least.
        soft: Keep what the teachers said, to learn from, beside the masks that it comes to.

    Raises:
        ConfigError: A value is out of range.
    """

    low: float = 0.2
    high: float = 0.8
    confidence: float = 0.9
    limit: int | None = None
    balance: Balance = "training"
    soft: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise ConfigError(
                f"pixels below {self.low:g} or above {self.high:g} as the sure ones",
                expected="probabilities from 0 to 1, --low not above --high",
                next_step="--low 0.2 --high 0.8",
            )
        if not 0 <= self.confidence <= 1:
            raise ConfigError(
                f"a confidence of {self.confidence:g}",
                expected="a share of a tile's pixels, from 0 to 1",
                next_step="--confidence 0.9",
            )
        if self.limit is not None and self.limit < 1:
            raise ConfigError(
                f"a limit of {self.limit} tiles", expected="1 or more", next_step="--limit 10000"
            )
        if self.balance not in get_args(Balance):
            raise ConfigError(
                f"a balance after '{self.balance}'",
                expected=" or ".join(get_args(Balance)),
                next_step="--balance 1st-place",
            )


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Network(_Part):
    """A trained network: the fold it holds out is ``fold``."""

    run: str
    fold: int
    weights_hash: str


class MadeOf(_Part):
    """What decides which labels come out; equal values give equal files.

    Args:
        teachers: ``fold`` or ``all``.
        networks: The teachers of each set, by its name.
        settings: Which tiles were wanted.
        folds_hash: SHA-256 of the fold table.
        test_hash: SHA-256 of the test tiles.
    """

    teachers: Teachers
    networks: dict[str, tuple[Network, ...]]
    settings: Confidence
    folds_hash: str
    test_hash: str

    @property
    def runs(self) -> list[str]:
        """The runs that teach, each once."""
        networks = (one for some in self.networks.values() for one in some)
        return list(dict.fromkeys(one.run for one in networks))

    def command(self, path: Path) -> str:
        """The command that makes such labels anew, in the same file and with the same settings."""
        usual, words = Confidence(), ["--teachers", "all"] if self.teachers == "all" else []
        for name, value in asdict(self.settings).items():
            if value is True:
                words.append(f"--{name}")
            elif value != getattr(usual, name):
                words += [f"--{name}", value if isinstance(value, str) else f"{value:g}"]
        return salt_command("pseudo-label", *self.runs, *words, "--out", path, "--overwrite")


class Manifest(_Part):
    """What ``<stem>.json`` says.

    Args:
        made_of: What decides which labels come out.
        selection: Counts for each set and stratum of coverage.
        content_hash: SHA-256 of the CSV, and of what lies beside it.
    """

    made_of: MadeOf
    selection: tuple[dict[str, Any], ...]
    content_hash: str


def set_name(teachers: Teachers, fold: int) -> str:
    """Name of the set of labels that fold ``fold``'s student may train on."""
    return "all" if teachers == "all" else str(fold)
