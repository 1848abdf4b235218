"""What is wrong with a configuration, in words a person can act on, and who wrote it so."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from kaggle_salt.config.readers import KeyPath, Reader, shown
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, nearest, shortened

#: Options of commands that stand for a key.
STAND_FOR = {"training.seed": "--seed", "pseudo.file": "--pseudo"}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: an error's three parts."""

    found: str
    expected: str
    next_step: str


def config_error(faults: Sequence[Fault]) -> ConfigError:
    """All faults in one error; each part names the same faults in the same order."""
    parts = ([f.found for f in faults], [f.expected for f in faults], [f.next_step for f in faults])
    found, expected, next_step = ("; ".join(dict.fromkeys(part)) for part in parts)
    return ConfigError(found, expected=expected, next_step=next_step)


@dataclass(frozen=True)
class Origin:
    """Who wrote what stands in a configuration.

    Args:
        source: The file.
        file: What stands in it.
        data: The same with the settings applied.
        settings: The ``KEY=VALUE`` texts of ``--set``, by the places that they wrote.
    """

    source: str
    file: Mapping[str, Any]
    data: Mapping[str, Any]
    settings: Mapping[KeyPath, str]

    def setting_of(self, path: KeyPath) -> str | None:
        """The setting that wrote a place; None where it is the file's."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.settings:
                return self.settings[path[:length]]
        return None if self._in_file(path) else next(iter(self._settings_within(path)), None)

    def _in_file(self, path: KeyPath) -> bool:
        table: Any = self.file
        try:
            for part in path:
                table = table[part]
        except (LookupError, TypeError):
            return False
        return True

    def _settings_within(self, path: KeyPath) -> list[str]:
        """The settings that wrote something in a table."""
        within = [text for place, text in self.settings.items() if place[: len(path)] == path]
        return list(dict.fromkeys(within))

    def wrote(self, path: KeyPath) -> str:
        """Who wrote a key, and where: ``--set KEY=VALUE``, or the file and its table."""
        setting = self.setting_of(path)
        if setting is None:
            table = self.table(path[:-1])
            return f"{self.source}, {table}" if table else self.source
        return f"--set {shortened(setting)}"

    def broke(self, path: KeyPath) -> tuple[str, str]:
        """Who wrote a table whose values don't go together, and what to do about it."""
        table = self.table(path)
        place = f"{self.source}, {table}" if table else self.source
        within = self._settings_within(path or ("stage",))  # what holds for all is about stages
        settings = [f"--set {shortened(text)}" for text in within]
        if not settings:
            return place, f"correct {place}"
        return f"{place} with {' '.join(settings)}", f"change {' or '.join(settings)}"

    def table(self, path: KeyPath) -> str:
        """A table as a person finds it in the file: ``[stage.loss] of stage 'bce'``."""
        names = [part for part in path if isinstance(part, str)]
        if not names:
            return ""
        if names == ["stage"]:
            return f"[[stage]] '{self._stage(path)}'" if len(path) > 1 else "[[stage]]"
        of_stage = f" of stage '{self._stage(path)}'" if names[0] == "stage" else ""
        return f"[{'.'.join(names)}]{of_stage}"

    def key(self, path: KeyPath) -> str:
        """A key as ``--set`` names it."""
        if path[:1] == ("stage",) and len(path) > 1:
            path = ("stage", self._stage(path), *path[2:])
        return ".".join(shortened(str(part)) for part in path)

    def _stage(self, path: KeyPath) -> str:
        """A stage's name, or its number where it has none that ``--set`` could take."""
        try:
            name = str(self.data["stage"][path[1]]["name"])
        except (LookupError, TypeError):
            return str(path[1])
        return shortened(name) if name and "." not in name else str(path[1])

    def mend(self, path: KeyPath) -> str:
        """What to do about a key."""
        if self.setting_of(path) is None:
            table = self.table(path[:-1])
            last = shortened(str(path[-1]))
            place = f"{last} under {table}" if table else last
            return f"correct {place} in {self.source}"
        if path[0] == "stage" and len(path) <= 2:
            return f"--set stage.NAME.KEY=VALUE; the stages themselves are written in {self.source}"
        key = self.key(path)
        option = f", or {STAND_FOR[key]} VALUE" if key in STAND_FOR else ""
        return f"--set {key}=VALUE{option}, or leave it out"


def invalid(problem: ErrorDetails, origin: Origin) -> Fault:
    """A problem that the models found."""
    path: KeyPath = problem["loc"]
    if path[-1:] and isinstance(path[-1], int) and path[0] != "stage":
        path = path[:-1]  # --set takes a list as a whole
    if problem["type"] == "rule":
        (wrote, mend), context = origin.broke(path), problem["ctx"]
        return Fault(f"{wrote}: {context['found']}", context["expected"], mend)
    key, wrote, mend = origin.key(path), origin.wrote(path), origin.mend(path)
    if problem["type"] == "extra_forbidden":
        known = list(_table_at(path[:-1]).model_fields)
        return Fault(f"{wrote}: unknown key '{key}'", nearest(str(path[-1]), known), mend)
    if problem["type"] == "missing":
        step = f"write it there, or --set {key}=VALUE"
        if key == "stage":
            step = f"write [[stage]] blocks into {origin.source}, or take a --preset"
        return Fault(f"{wrote}: '{key}' is missing", f"'{key}': {_wanted(path)}", step)
    found = f"{wrote}: {key} = {_shown(problem['input'])}"
    return Fault(found, f"{key}: {_wanted(path, problem['input'])}", mend)


def idle(path: KeyPath, reader: Reader, config: Config, origin: Origin) -> Fault:
    """A key that was written and that nothing reads."""
    stage = config.stage[path[1]] if isinstance(path[1], int) else config.stage[0]
    choices = reader.lacking(config, stage)
    key = origin.key(path)
    prefix = ".".join(key.split(".")[:2]) if path[0] == "stage" else "stage.*"
    settings = []
    for choice in choices:
        of_stage = choice.key.startswith("stage.")
        setting = choice.setting.replace("stage", prefix, 1) if of_stage else choice.setting
        settings.append(f"--set {setting}")
    now = ", ".join(f"{choice.name} is {shown(choice.value(config, stage))}" for choice in choices)
    words = ", or ".join(choice.words for choice in choices)
    return Fault(
        f"{origin.wrote(path)}: {key} does nothing, for {now}",
        f"no {path[-1]}, which is read where {words}",
        f"leave {key} out, or {' or '.join(settings)}",
    )


def _shown(value: Any) -> str:
    """A value as TOML has it, on one line and not too long."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a table"
    try:
        text = tomli_w.dumps({"value": value}).removeprefix("value = ")
    except (TypeError, ValueError, RecursionError):
        text = str(type(value).__name__)
    return shortened(" ".join(text.split()))


def _table_at(path: KeyPath) -> type[BaseModel]:
    """The table at a place; the numbers of stages are passed over."""
    model: type[BaseModel] = Config
    for part in path:
        if isinstance(part, str):
            model = _inner_table(model.model_fields[part].annotation) or model
    return model


def _inner_table(annotation: Any) -> type[BaseModel] | None:
    """The table that a field holds, alone or in a list."""
    for kind in (annotation, *typing.get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _wanted(path: KeyPath, given: Any = None) -> str:
    """What a key takes, in plain words."""
    if isinstance(path[-1], int):
        return "a table with name and epochs"
    field = _table_at(path[:-1]).model_fields[path[-1]]
    kind: Any = field.annotation
    if typing.get_origin(kind) is Literal and isinstance(given, str):
        return nearest(given, map(str, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple and _inner_table(kind):
        return "one [[stage]] block or more"
    words = in_words(kind)
    if kind in (int, float):
        words = " ".join([words, *_range(field)])
    return f"{words}, as in {{ scse = true }}" if path[-1] == "options" else words


def in_words(kind: Any) -> str:
    """What a type takes, as a person would say it.

    Args:
        kind: A type's annotation: plain, a choice of literals, a list, or several of these.
    """
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if kind in words:
        return words[kind]
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return _one_of([str(choice) for choice in inner])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(in_words(one) for one in inner if one is not type(None))
    if kind is dict or origin is dict or _inner_table(kind):
        return "a table"
    if isinstance(origin, type) and issubclass(origin, Iterable):
        several = {int: "whole numbers", float: "numbers", bool: "true and false", str: "texts"}
        return f"a list of {several.get(inner[0], 'values')}"
    return "another value"


def _one_of(choices: Sequence[str]) -> str:
    return f"one of {', '.join(sorted(choices))}"


def _range(field: FieldInfo) -> list[str]:
    """The bounds of a number, in words."""
    bounds = {
        name: getattr(bound, name)
        for bound in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(bound, name, None) is not None
    }
    if {"ge", "le"} <= bounds.keys():
        return [f"from {bounds['ge']} to {bounds['le']}"]
    words = {"ge": "of {} or more", "gt": "above {}", "le": "up to {}", "lt": "below {}"}
    found = [text.format(bounds[name]) for name, text in words.items() if name in bounds]
    return [" and ".join(found)] if found else []
