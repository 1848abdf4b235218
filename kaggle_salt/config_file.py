"""A run's configuration read from TOML, changed with ``--set``, written out, compared."""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from kaggle_salt.config import Config
from kaggle_salt.errors import ConfigError, nearest


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a preset or a run's ``config.toml`` and apply ``--set`` overrides.

    Args:
        path: TOML file.
        overrides: ``KEY=VALUE`` texts. Keys are dotted (``input.size``); a stage is named by
            its name or its number (``stage.bce.epochs``, ``stage.0.epochs``); ``stage.*``
            means every stage. Values are TOML, and a bare word is taken as a string.

    Raises:
        ConfigError: Missing or malformed file, unknown key, or a value of the wrong kind.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _fault(f"{path} cannot be read: {error.strerror}", "a TOML file") from error
    except ValueError as error:  # not TOML, or not even UTF-8
        raise _fault(f"{path} is not valid TOML: {error}", "TOML as in the presets") from error
    for override in overrides:
        _apply(data, override)
    return _validate(data, str(path))


def _fault(found: str, expected: str) -> ConfigError:
    next_step = "correct the file, the --set KEY=VALUE, or take a --preset"
    return ConfigError(found, expected=expected, next_step=next_step)


def dump_config(config: Config) -> str:
    """The configuration as TOML, every key written out."""
    return tomli_w.dumps(config.model_dump(mode="json"))


def differences(old: Config, new: Config) -> list[str]:
    """Dotted keys whose values differ, as ``key: old -> new``; the description does not count."""
    old_flat, new_flat = _flatten(old.model_dump()), _flatten(new.model_dump())
    keys = sorted((old_flat.keys() | new_flat.keys()) - {"description"})
    return [
        f"{key}: {old_flat.get(key, '-')} -> {new_flat.get(key, '-')}"
        for key in keys
        if old_flat.get(key) != new_flat.get(key)
    ]


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = [(str(key), child) for key, child in value.items()]
    elif isinstance(value, tuple) and value and isinstance(value[0], dict):
        names = [child["name"] for child in value]
        items = [*zip(names, value, strict=True), ("order", ", ".join(names))]
    else:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, child in items:
        flat |= _flatten(child, f"{prefix}.{key}" if prefix else key)
    return flat


def _apply(data: dict[str, Any], override: str) -> None:
    """Write one ``KEY=VALUE`` into the nested tables of ``data``."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise _fault(f"--set {override} has no value", "KEY=VALUE, as in stage.bce.epochs=3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    path = key.strip().split(".")
    tables: list[dict[str, Any]] = [data]
    if path[0] == "stage" and len(path) > 2:
        tables, path = _stages(data, path[1]), path[2:]
    for table in tables:
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise _fault(f"--set {key}: '{part}' is a value, not a table", "a key in a table")
        table[path[-1]] = value


def _stages(data: dict[str, Any], which: str) -> list[dict[str, Any]]:
    stages: list[dict[str, Any]] = data.get("stage", [])
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise _fault("'stage' is not a list of tables", "[[stage]] blocks")
    names = [str(stage.get("name")) for stage in stages]
    if which == "*":
        return stages
    if which in names:
        return [stages[names.index(which)]]
    if which.isdecimal() and int(which) < len(stages):
        return [stages[int(which)]]
    raise _fault(f"there is no stage '{which}'", nearest(which, [*names, "*"]))


def _validate(data: dict[str, Any], source: str) -> Config:
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        lines = [_describe(problem) for problem in error.errors()]
        found, expected = ("; ".join(texts) for texts in zip(*lines, strict=True))
        raise _fault(f"{source}: {found}", expected) from error


def _describe(problem: ErrorDetails) -> tuple[str, str]:
    """One pydantic problem as (what is wrong, what would be right)."""
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{key}'", nearest(location[-1], _known_keys(location[:-1]))
    if problem["type"] == "missing":
        return f"'{key}' is missing", f"a value for '{key}'"
    if problem["type"] == "literal_error":
        choices = problem["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{key} = {problem['input']!r}", nearest(str(problem["input"]), choices)
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key} = {problem['input']!r}" if key else message, message


def _known_keys(location: Sequence[str]) -> list[str]:
    """Keys of the table at ``location`` (list positions are passed over)."""
    model: type[BaseModel] = Config
    for part in location:
        if part.isdigit():
            continue
        annotation = model.model_fields[part].annotation
        inner = [a for a in typing.get_args(annotation) if a is not Ellipsis]
        model = inner[0] if inner else typing.cast("type[BaseModel]", annotation)
    return list(model.model_fields)
