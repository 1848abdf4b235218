"""A run's configuration read from TOML, changed with ``--set``, written out, compared."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from kaggle_salt.config.faults import Fault, Origin, config_error, idle, invalid
from kaggle_salt.config.readers import KeyPath, is_given, read_part, unread
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, nearest, shortened
from kaggle_salt.storage.files import read_json
from kaggle_salt.storage.reading import parse, read_bytes

#: Levels of tables and lists that a configuration may have.
DEEPEST = 16

#: The tables that a network has in common with those it is pretrained for.
NETWORK_TABLES = ("input", "model", "training")
#: Words joined by dots, more of them than any key has.
_LONG_KEY = re.compile(
    r"""(?<![\w-]) (?: (?: [\w-]+ | "[^"\n]*" | '[^'\n]*' ) [ \t]* \. [ \t]* )"""
    f"{{{2 * DEEPEST}}}",
    re.VERBOSE,
)

#: Bytes of the largest configuration; the longest preset has a twentieth.
LARGEST_FILE = 1 << 16


def load_config(path: Path, overrides: Sequence[str] = (), *, recipe: Path | None = None) -> Config:
    """Read a preset, or a configuration of one's own, and apply ``--set`` overrides.

    A key that is written down and that nothing reads is refused: see
    :mod:`kaggle_salt.config.readers`. One that something reads until an override chooses
    otherwise is passed over.

    Args:
        path: TOML file.
        overrides: ``KEY=VALUE`` texts. Keys are dotted (``input.size``); a stage is named by
            its name or its number (``stage.bce.epochs``, ``stage.0.epochs``); ``stage.*``
            means every stage. Values are TOML, and a bare word is taken as a string.
        recipe: TOML file that takes the place of all but :data:`NETWORK_TABLES`.

    Raises:
        ConfigError: Missing or malformed file, unknown key, a value of the wrong kind, or a key
            that does nothing. All faults are named.
    """
    data = _read(path)
    if recipe:
        data = {table: data[table] for table in NETWORK_TABLES if table in data} | _read(recipe)
    origin = _apply_all(data, overrides, str(path))
    config = _validate(origin)
    alone = config if not overrides else _valid_or_none(data)
    _refuse_idle(config, alone or config, origin)
    return config


def load_run_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a run's own ``config.toml``, and apply ``--set`` overrides.

    What a run was trained with is a fact: keys in the file that nothing reads are passed over, and
    a file that says otherwise than the manifest beside it is refused.

    Args:
        path: The file that ``salt train`` wrote.
        overrides: See :func:`load_config`.

    Raises:
        ConfigError: See :func:`load_config`; or the file has changed since the run was begun.
        DataError: The manifest is damaged.
    """
    data = _read(path)
    _refuse_changed(path, data)
    origin = _apply_all(data, overrides, str(path))
    config = _validate(origin)
    _refuse_idle(config, None, origin)
    return config


def _refuse_changed(path: Path, data: dict[str, Any]) -> None:
    """Refuse a run's configuration with which its folds were not trained."""
    manifest = path.with_name("manifest.json")
    told = read_json(manifest).get("config") if manifest.exists() else None
    trained = None if told is None else _valid_or_none(told)  # one of an earlier version may not be
    changed = differences(trained, _validate(_apply_all(data, (), str(path)))) if trained else []
    if changed:
        raise ConfigError(
            f"{path} has changed since the run was begun ({'; '.join(changed)})",
            expected=f"what the config in {manifest} says",
            next_step=f"set it back in {path}; to train with other values, copy the file and name "
            "the copy with --config and a new --run",
        )


def pretext_of(path: Path) -> str:
    """Which pretext a configuration names, ``none`` if it names none; nothing else is looked at.

    Raises:
        ConfigError: The file is missing, or not TOML.
    """
    table = _read(path).get("pretext")
    return str(table.get("name", "none")) if isinstance(table, dict) else "none"


def _read(path: Path) -> dict[str, Any]:
    step = f"correct {path}, or take a --preset"
    try:
        data = _parse_toml(read_bytes(path, LARGEST_FILE).decode("utf-8"))
        if _is_deeper(data, DEEPEST):
            raise ValueError(f"more than {DEEPEST} levels of tables and lists")
        return data
    except OSError as error:
        found = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(found, expected="a TOML file", next_step=step) from error
    except ValueError as error:  # not TOML, not UTF-8, or tables without end
        found = f"{path} is not valid TOML: {error}"
        raise ConfigError(found, expected="TOML as in the presets", next_step=step) from error


def dump_config(config: Config) -> str:
    """The configuration as TOML: every key that something reads, written out."""
    return tomli_w.dumps(read_part(config))


def differences(old: Config, new: Config) -> list[str]:
    """Dotted keys whose values differ, as ``key: old -> new``.

    The description does not count, nor do the loader's processes, which change no result, nor
    does a key that nothing reads.
    """
    old_flat, new_flat = _flatten(read_part(old)), _flatten(read_part(new))
    keys = sorted((old_flat.keys() | new_flat.keys()) - {"description", "training.workers"})
    return [
        f"{key}: {old_flat.get(key, '-')} -> {new_flat.get(key, '-')}"
        for key in keys
        if old_flat.get(key) != new_flat.get(key)
    ]


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = [(str(key), child) for key, child in value.items()]
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        names = [child["name"] for child in value]
        items = [*zip(names, value, strict=True), ("order", ", ".join(names))]
    else:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, child in items:
        flat |= _flatten(child, f"{prefix}.{key}" if prefix else key)
    return flat


def _apply_all(data: dict[str, Any], overrides: Sequence[str], source: str) -> Origin:
    """The data with all overrides written in, and who wrote what; ``data`` stays as it is."""
    merged = copy.deepcopy(data)
    settings: dict[KeyPath, str] = {}
    for override in overrides:
        settings |= dict.fromkeys(_apply(merged, override), override)
    return Origin(source, data, merged, settings)


def _apply(data: dict[str, Any], override: str) -> list[KeyPath]:
    """Write one ``KEY=VALUE`` into the nested tables of ``data``; the places it was written to."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise _not_a_setting(override, "it has no value", "KEY=VALUE, as in stage.bce.epochs=3")
    value, path = _parse(text), key.strip().split(".")
    if len(path) > DEEPEST or _is_deeper(value, DEEPEST):
        expected = f"at most {DEEPEST} levels"
        raise _not_a_setting(override, "it is nested too deeply", expected)
    tables: dict[KeyPath, dict[str, Any]] = {(): data}
    if path[0] == "stage" and len(path) > 2:
        tables, path = _stages(data, path[1], override), path[2:]
    places = []
    for place, table in tables.items():
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                expected = "stage.NAME.KEY=VALUE" if part == "stage" else "a key in a table"
                raise _not_a_setting(override, f"'{part}' is a value, not a table", expected)
        table[path[-1]] = copy.deepcopy(value)
        places.append((*place, *path))
    return places


def _parse(text: str) -> Any:
    """A TOML value; what is none is taken as a string."""
    try:
        read = _parse_toml(f"value = {text}")
    except ValueError:  # a number of 5000 digits is no TOMLDecodeError
        return text.strip()
    return read["value"] if len(read) == 1 else text.strip()


def _parse_toml(text: str) -> dict[str, Any]:
    """What a TOML text holds; ``ValueError`` if it is none, or cannot be read in time."""
    if _LONG_KEY.search(text):  # the parser's time grows with the square of the parts
        raise ValueError(f"a key has more than {2 * DEEPEST} parts")
    return parse(tomllib.loads, text)


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether tables and lists are nested in more than so many levels."""
    if not isinstance(value, dict | list):
        return False
    children = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(child, levels - 1) for child in children)


def _stages(data: Mapping[str, Any], which: str, override: str) -> dict[KeyPath, dict[str, Any]]:
    """The stages that an override means, by their places."""
    stages = data.get("stage", [])
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise _not_a_setting(override, "'stage' is not a list of tables", "[[stage]] blocks")
    names = [str(stage.get("name")) for stage in stages]
    if which == "*":
        chosen = list(range(len(stages)))
    elif which in names:
        chosen = [names.index(which)]
    elif which.isdecimal() and int(which) < len(stages):
        chosen = [int(which)]
    else:
        found = f"there is no stage '{which}'"
        raise _not_a_setting(override, found, nearest(which, [*names, "*"]))
    return {("stage", number): stages[number] for number in chosen}


def _not_a_setting(override: str, found: str, expected: str) -> ConfigError:
    step = "write it as --set KEY=VALUE, or leave it out"
    return ConfigError(f"--set {shortened(override)}: {found}", expected=expected, next_step=step)


def _validate(origin: Origin) -> Config:
    try:
        return Config.model_validate(origin.data)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        # to pydantic the list of stages is also too short where one of them is wrong
        in_stages = any(one["loc"][:1] == ("stage",) and len(one["loc"]) > 1 for one in problems)
        causes = [one for one in problems if not (in_stages and one["type"] == "too_short")]
        raise config_error([invalid(problem, origin) for problem in causes]) from error


def _valid_or_none(data: Mapping[str, Any]) -> Config | None:
    """What the file says without the overrides; None where it needs them to be valid."""
    try:
        return Config.model_validate(data)
    except ValidationError:
        return None


def _refuse_idle(config: Config, alone: Config | None, origin: Origin) -> None:
    """Refuse what was written and nothing reads.

    Args:
        config: The configuration, the overrides applied.
        alone: That of the file alone. A key of the file is refused if nothing reads it there
            either; all of them are passed over where there is none.
        origin: Who wrote what.
    """
    never = {path for path, _ in unread(alone)} if alone else set()
    idle_places = dict(unread(config))
    # of an override for all stages it is enough that one reads it
    passed = {text for place, text in origin.settings.items() if place not in idle_places}
    faults: list[Fault] = []
    for path, reader in idle_places.items():
        setting = origin.setting_of(path)
        if not is_given(config, path) or (setting is None and path not in never):
            continue
        if path in origin.settings:
            if setting in passed:
                continue
            passed.add(str(setting))  # named once, not for every stage
        faults.append(idle(path, reader, config, origin))
    if faults:
        raise config_error(faults)
