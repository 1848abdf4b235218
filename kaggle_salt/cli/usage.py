"""Faults of the command line itself, which Typer finds, in our three lines."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import typer

from kaggle_salt.errors import ConfigError, SaltError, nearest

#: What a value should have been, by pydantic's name of the fault; its own words are for
#: programmers.
RIGHT_VALUES = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "greater_than_equal": "{ge} or more",
    "greater_than": "more than {gt}",
    "less_than_equal": "{le} or less",
    "less_than": "less than {lt}",
}


def in_our_words(error: typer.TyperException, words: Sequence[str]) -> SaltError:
    """What Typer refuses, as what was found, what was expected and what to do next.

    Args:
        error: What it raised.
        words: The command line.
    """
    context: Any = getattr(error, "ctx", None)
    if context is None and not hasattr(error, "format_message"):  # an abort at a prompt
        return SaltError("nothing was done", expected="an answer", next_step="run it again")
    found, expected = _found_and_expected(error, context)
    plain = (word for word in words if not word.startswith("-"))
    path = context.command_path if context else " ".join(["salt", *islice(plain, 1)])
    return ConfigError(found, expected=expected, next_step=f"{path} --help")


def _found_and_expected(error: Any, context: Any) -> tuple[str, str]:
    message = error.format_message().rstrip(".")
    parameter = getattr(error, "param", None)
    fault = _fault_of_value(error)
    if parameter is not None and fault is not None:
        return f"{_named(parameter)} {fault['input']}", f"{_right(fault)}: {_told(parameter)}"
    if parameter is not None and _told(parameter):
        return message, f"{_named(parameter)}: {_told(parameter)}"
    option = getattr(error, "option_name", None)
    if option and message.startswith("No such option") and context is not None:
        known = [name for one in context.command.params for name in one.opts]
        return f"there is no option {option}", nearest(option, _long(known))
    commands = getattr(getattr(context, "command", None), "commands", {})
    if commands and message.startswith("No such command"):
        name = message.split("'")[1]
        return f"there is no command '{name}'", nearest(name, commands)
    if context is None:
        return message, "options and values as the help has them"
    return message, " ".join(context.get_usage().split()).removeprefix("Usage: ")


def _fault_of_value(error: BaseException) -> Any:
    """What pydantic says of the first wrong value; None where it was not asked."""
    errors = getattr(error.__cause__, "errors", None)
    return errors(include_url=False)[0] if callable(errors) else None


def _right(fault: Any) -> str:
    context = fault.get("ctx", {})
    if fault["type"] == "value_error":  # Typer's own words: "'x' is not one of 'fold', 'all'."
        said = str(context["error"]).partition(" is not ")[2].rstrip(".")
        return said or "another value"
    return RIGHT_VALUES.get(fault["type"], "another value").format(**context)


def _named(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name).strip("[].").rstrip(".")
    return str(parameter.opts[0])


def _told(parameter: Any) -> str:
    return str(getattr(parameter, "help", None) or "").rstrip(".")


def _long(options: list[str]) -> list[str]:
    return [name for name in options if name.startswith("--")]
