"""Options of a network are its constructor's arguments; others are refused, never swallowed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from torch import nn

from kaggle_salt.config.faults import in_words
from kaggle_salt.errors import ConfigError, nearest


def check_options(
    name: str,
    architecture: type[nn.Module],
    options: Mapping[str, Any],
    *,
    reserved: Sequence[str],
) -> None:
    """Refuse options that the constructor does not name, and values of another type.

    Args:
        name: The architecture's name, for the message.
        architecture: The class whose constructor will get the options.
        options: The preset's ``[model.options]``.
        reserved: Arguments that other keys of the preset already set.

    Raises:
        ConfigError: With the nearest right name, or what the value should be.
    """
    parameters = inspect.signature(architecture).parameters.values()
    known = {
        parameter.name
        for parameter in parameters
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    } - {*reserved}
    types = get_type_hints(architecture.__init__)
    for option, value in options.items():
        if option not in known:
            raise ConfigError(
                f"unknown key 'model.options.{option}' for architecture '{name}'",
                expected=nearest(option, known),
                next_step="--set model.options.NAME=VALUE, or leave it out",
            )
        try:
            TypeAdapter(types[option]).validate_python(value, strict=True)
        except ValidationError as error:
            raise ConfigError(
                f"model.options.{option} = {value!r} does not suit the architecture '{name}'",
                expected=in_words(types[option]),
                next_step=f"--set model.options.{option}=VALUE, or leave it out",
            ) from error
