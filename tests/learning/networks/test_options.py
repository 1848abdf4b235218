from __future__ import annotations

from typing import Any

import pytest

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks.options import check_options


def constructor(channels: int, width: int = 3, *rest: int, depth: int = 2, **others: Any) -> None:
    """Swallows whatever it is given, as smp's do."""


class Network:
    def __init__(self, channels: int, width: int = 3) -> None: ...


def check(options: dict[str, Any], **keys: Any) -> None:
    check_options("toy", constructor, options, reserved=("channels",), **keys)


def test_arguments_by_name_pass() -> None:
    check({"width": 1, "depth": 2})
    check({})


@pytest.mark.parametrize("option", ["widht", "others", "rest", "channels", "self"])
def test_others_are_refused_though_the_constructor_would_swallow_them(option: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key 'model.options.{option}' for .*'toy'"):
        check({option: 1})


def test_the_nearest_is_offered() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'width'\?"):
        check({"widht": 1})


def test_what_a_constructor_does_not_know_but_we_do_is_offered_too() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'hypercolumn'\?"):
        check({"hypercolum": True}, also=("hypercolumn",))


def test_a_class_is_asked_for_its_init() -> None:
    check_options("toy", Network, {"width": 2}, reserved=("channels",))
    with pytest.raises(ConfigError, match="one of width"):
        check_options("toy", Network, {"self": 2}, reserved=("channels",))
