from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from torch import nn

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks import ON_ENCODER, WHOLE, library
from kaggle_salt.learning.networks.options import check_options


class Toy(nn.Module):
    """Swallows whatever it is given, as smp's do."""

    def __init__(
        self,
        channels: int,
        width: int = 3,
        *rest: int,
        share: float = 0.5,
        deep: bool = False,
        widths: Sequence[int] = (1, 2),
        kind: Literal["oak", "elm"] = "oak",
        **others: Any,
    ) -> None: ...


def check(options: dict[str, Any]) -> None:
    check_options("toy", Toy, options, reserved=("channels",))


def test_arguments_by_name_pass() -> None:
    check({"width": 1, "share": 0.2, "deep": True, "widths": [3, 4], "kind": "elm"})
    check({"share": 1})  # a whole number is a number
    check({})


@pytest.mark.parametrize("option", ["widht", "others", "rest", "channels", "self"])
def test_others_are_refused_though_the_constructor_would_swallow_them(option: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key 'model.options.{option}' for .*'toy'"):
        check({option: 1})


def test_the_nearest_is_offered() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'width'\?"):
        check({"widht": 1})


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("deep", "flase", r"deep = 'flase' does not suit .*'toy'\nexpected: true or false\nnext"),
        ("deep", 1, "expected: true or false\nnext"),
        ("width", 2.5, "expected: a whole number\nnext"),
        ("share", "high", "expected: a number\nnext"),
        ("widths", 3, "expected: a list of whole numbers\nnext"),
        ("widths", ["a"], "expected: a list of whole numbers\nnext"),
        ("kind", "eml", r"kind = 'eml'(.|\n)*expected: one of elm, oak\nnext: --set model.opt"),
    ],
)
def test_values_of_another_type_are_refused(option: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check({option: value})


@pytest.mark.parametrize("name", [*WHOLE, *ON_ENCODER, *library.ARCHITECTURES])
def test_every_architecture_tells_the_types_of_its_options(name: str) -> None:
    """Their defaults suit them, at least."""
    architecture = {**WHOLE, **ON_ENCODER, **library.ARCHITECTURES}[name]
    parameters = inspect.signature(architecture).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    assert defaults
    check_options(name, architecture, defaults, reserved=())
