"""Commands in what a person is told, completed with what the present call was given.

The library says ``salt train --run b --fold 0 --overwrite``. Where the data lie it may not know,
or cannot say in the command line's words; here that is known. A command in a text begins with
``salt`` and the name of a command, and ends with the line or before a comma or a semicolon.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import typer

from kaggle_salt.cli.options import DATA, FOLDS, RUNS

#: Options that mean the same wherever they are: where things lie, and where to compute.
PLACES = {"data", "runs", "folds", "device"}

#: What describes a run: said again for that run alone, for another it would be wrong.
DESCRIPTION = {"preset", "config", "method", "set_", "seed", "pseudo", "minutes", "epochs"}

#: Options of a call that a remedy in the same command must not repeat: they say what was wrong,
#: or how it is told.
NEVER_REPEATED = {"as_json", "resume", "overwrite", "fold", "run", "rounds"}

#: What must not stand in the call that takes up an interrupted one, or stands there anyway.
AGAIN = {"resume", "overwrite"}

#: The fold table, which make-folds writes, is its output.
RENAMED = {("make-folds", "folds"): "out"}

#: A word of a command: quoted parts, or anything but white space; no comma or semicolon ends it.
_WORD = r"(?:'[^']*'|\"[^\"]*\"|[^\s,;'\"]|[,;](?=\S))+"


@dataclass(frozen=True)
class Call:
    """The present call.

    Args:
        command: Its name, as in ``presets check``.
        words: For each parameter that was given on the command line its words there.
        options: The options of every command: the flag of each parameter, by command and name.
    """

    command: str
    words: Mapping[str, list[str]] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def run(self) -> str | None:
        """The run that is meant, as far as the command line says; rounds are runs of their own."""
        for name in ("run", "preset", "config"):
            if name in self.words and "rounds" not in self.words:
                given = self.words[name][-1]
                return Path(given).stem if name == "config" else given
        return None


_present: ContextVar[Call | None] = ContextVar("present_call", default=None)


@contextmanager
def present_call(context: typer.Context) -> Iterator[None]:
    """While the block runs, remedies are completed with what this call was given."""
    token = _present.set(_read_call(context))
    try:
        yield
    finally:
        _present.reset(token)


def complete(text: str) -> str:
    """Add to each ``salt`` command in a text what the present call was given and it lacks.

    Those are the options that mean the same in both. What came from the environment, or is the
    default, need not be said again.
    """
    call = _present.get()
    if call is None:
        return text
    return _command_pattern(call).sub(lambda found: _completed(found, call), text)


def to_go_on() -> str:
    """How an interrupted call is taken up again, where it can be: words to end a line with."""
    call = _present.get()
    if call is None or "resume" not in call.options.get(call.command, {}):
        return ""
    given = [word for name, words in call.words.items() if name not in AGAIN for word in words]
    return f"; to go on: {shlex.join(['salt', call.command, *given, '--resume'])}"


def _command_pattern(call: Call) -> re.Pattern[str]:
    names = "|".join(sorted(map(re.escape, call.options), key=len, reverse=True))
    return re.compile(rf"\bsalt (?P<name>{names})(?P<rest>(?:[ ]+{_WORD})*)(?![\w-])")


def _completed(found: re.Match[str], call: Call) -> str:
    name, rest = found["name"], found["rest"]
    known = call.options[name]
    said = {word.partition("=")[0] for word in rest.split() if word.startswith("-")}
    same_run = _run_named_in(rest) == call.run and not {"--config", "--preset"} & said
    added: list[str] = []
    for parameter, words in call.words.items():
        target = RENAMED.get((name, parameter), parameter)
        option = known.get(target)
        if option is None or option in said or not _is_repeated(parameter, name, call):
            continue
        if parameter in DESCRIPTION and not same_run:
            continue
        flag, *values = words
        added += [option if target != parameter else flag, *values]
    return f"salt {name}{rest}" + (f" {shlex.join(added)}" if added else "")


def _is_repeated(parameter: str, name: str, call: Call) -> bool:
    """Whether a remedy is to say again what the present call was given for a parameter."""
    if parameter in PLACES:
        return True
    return name == call.command and parameter not in NEVER_REPEATED


def _run_named_in(rest: str) -> str | None:
    found = re.search(rf"--run[ =]({_WORD})", rest)
    return shlex.split(found[1])[0] if found else None


def _read_call(context: typer.Context) -> Call:
    words: dict[str, list[str]] = {}
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE" or parameter.param_type_name != "option":
            continue
        flag, value = parameter.opts[0], context.params[name]
        if isinstance(value, bool):
            words[name] = [flag]
        elif isinstance(value, list | tuple):
            words[name] = [word for one in value for word in (flag, str(one))]
        else:
            words[name] = [flag, str(value)]
    commands = dict(_commands(context.find_root().command))
    name = context.command_path.partition(" ")[2]
    if name == "demo":
        words |= _places_of_demo(Path(context.params["folder"]))
    return Call(name, words, commands)


def _places_of_demo(folder: Path) -> dict[str, list[str]]:
    """The demo's data and runs are its own: a remedy without them would be for those outside."""
    places = {"data": folder / DATA, "runs": folder / RUNS, "folds": folder / FOLDS}
    return {name: [f"--{name}", str(path)] for name, path in places.items()}


def _commands(group: object, prefix: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Every command's name and options, those of groups included."""
    for name, command in getattr(group, "commands", {}).items():
        options = {
            parameter.name: parameter.opts[0]
            for parameter in command.params
            if parameter.param_type_name == "option"
        }
        yield prefix + name, options
        yield from _commands(command, f"{prefix}{name} ")
