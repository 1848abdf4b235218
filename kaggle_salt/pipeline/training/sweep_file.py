"""What a sweep is to train: read from TOML, one set of settings for each run."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.arguments import overrides_of
from kaggle_salt.pipeline.budget import Budget

#: What the run is called that everything is compared with.
BASE = "base"

_STEP = (
    'preset = "quick", folds = "0,1", seeds = [0, 1], and a table [vary] of key = [values], or '
    "[[variant]] tables, each a name and keys"
)


class SweepFile(BaseModel):
    """The file, as it is written.

    Args:
        preset: Name of the base's preset.
        config: TOML file in its place, beside the sweep's file.
        folds: As ``salt train --fold`` takes them.
        minutes: That each fold may take.
        epochs: In place of minutes.
        seeds: One run of each variant for each; without any the base's own.
        set: Settings of all runs, the base included.
        vary: Values of keys: all combinations are trained.
        variant: Named settings: each is trained.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    preset: str | None = None
    config: str | None = None
    folds: str = "0"
    minutes: float | None = None
    epochs: int | None = None
    seeds: list[Annotated[int, Field(ge=0)]] = []
    set: dict[str, Any] = {}
    vary: dict[str, Any] = {}
    variant: list[dict[str, Any]] = []


@dataclass(frozen=True)
class Planned:
    """A run of a sweep.

    Args:
        name: Of the run.
        variant: Its variant, :data:`BASE` or another.
        seed: None where the base's own is taken.
        overrides: ``KEY=VALUE`` texts.
    """

    name: str
    variant: str
    seed: int | None
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Sweep:
    """All runs of a sweep, those of the base first, and what they have in common."""

    runs: tuple[Planned, ...]
    preset: str | None
    config: Path | None
    folds: str
    budget: Budget | None


def read_sweep(path: Path) -> Sweep:
    """Read a sweep's file.

    Args:
        path: TOML; see :class:`SweepFile`. The names of the runs begin with its own.

    Raises:
        ConfigError: It is missing, is no sweep, or two runs would have one name.
    """
    file = _parse(path)
    base = _flat(file.set)
    variants: dict[str, dict[str, Any]] = {BASE: {}}
    for name, settings in [*_combinations(file.vary, path), *_named(file.variant, path)]:
        if name in variants:
            raise _unusable(path, f"two variants are called '{name}'")
        variants[name] = settings
    if len(variants) == 1 and len(file.seeds) < 2:
        raise _unusable(path, "nothing varies")
    if len(set(file.seeds)) < len(file.seeds):
        raise _unusable(path, f"a seed comes twice: {', '.join(map(str, file.seeds))}")
    seeds: list[int | None] = [*file.seeds] or [None]
    runs = [
        Planned(
            name="-".join([path.stem, name, *([f"s{seed}"] if len(file.seeds) > 1 else [])]),
            variant=name,
            seed=seed,
            overrides=overrides_of(
                {**base, **settings, **({} if seed is None else {"training.seed": seed})}
            ),
        )
        for name, settings in variants.items()
        for seed in seeds
    ]
    config = None if file.config is None else path.parent / file.config
    return Sweep(tuple(runs), file.preset, config, file.folds,
                 Budget.of(file.minutes, file.epochs))  # fmt: skip


def _parse(path: Path) -> SweepFile:
    try:
        file = SweepFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise _unusable(path, f"it cannot be read: {error.strerror}") from error
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise _unusable(path, f"{where}: {fault['msg']}") from error
    except ValueError as error:  # not TOML, not UTF-8
        raise _unusable(path, f"it is not valid TOML: {error}") from error
    if (file.preset is None) == (file.config is None):
        raise _unusable(path, "it names neither a preset nor a config, or both")
    return file


def _unusable(path: Path, found: str) -> ConfigError:
    return ConfigError(f"{path}: {found}", expected="a sweep", next_step=f"write {_STEP}")


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted key, whether the file has dots or tables."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _combinations(vary: Mapping[str, Any], path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    values = _flat(vary)
    wrong = [key for key, these in values.items() if not (isinstance(these, list) and these)]
    if wrong:
        raise _unusable(path, f"vary.{wrong[0]} is no list of values")
    short = _short_names(list(values))
    for combination in itertools.product(*values.values()) if values else ():
        settings = dict(zip(values, combination, strict=True))
        name = "-".join(f"{short[key]}-{_plain(value)}" for key, value in settings.items())
        yield name, settings


def _named(variants: list[dict[str, Any]], path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for table in variants:
        settings = dict(table)
        name = settings.pop("name", None)
        if not isinstance(name, str) or not name or _plain(name) != name:
            raise _unusable(path, f"a variant is called {name!r}, which is no plain name")
        yield name, _flat(settings)


def _short_names(keys: list[str]) -> dict[str, str]:
    """The last part of each key; where two are alike, the whole keys."""
    last = {key: key.rpartition(".")[2] for key in keys}
    alike = [name for name in last.values() if list(last.values()).count(name) > 1]
    return {key: _plain(key if name in alike else name) for key, name in last.items()}


def _plain(value: object) -> str:
    """Text that can stand in a folder's name."""
    return re.sub(r"[^\w.-]+", "_", str(value)).strip("_.") or "none"
