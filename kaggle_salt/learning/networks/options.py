"""Options of a network are its constructor's arguments; others are refused, never swallowed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kaggle_salt.errors import ConfigError, nearest


def check_options(
    name: str,
    constructor: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    reserved: Sequence[str],
    also: Sequence[str] = (),
) -> None:
    """Refuse options that the constructor does not name.

    Args:
        name: The architecture's name, for the message.
        constructor: The class or function that will get the options.
        options: The preset's ``[model.options]``.
        reserved: Arguments that other keys of the preset already set.
        also: Options of ours beside the constructor's; named in the message.

    Raises:
        ConfigError: With the nearest right name.
    """
    parameters = inspect.signature(constructor).parameters.values()
    known = {
        parameter.name
        for parameter in parameters
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    } - {"self", *reserved}
    for option in options:
        if option not in known:
            raise ConfigError(
                f"unknown key 'model.options.{option}' for architecture '{name}'",
                expected=nearest(option, known | {*also}),
                next_step="--set model.options.NAME=VALUE, or leave it out",
            )
