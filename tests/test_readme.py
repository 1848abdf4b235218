"""The README tells the truth: its commands parse, its links lead somewhere, its presets exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from kaggle_salt.cli import app
from kaggle_salt.config.file import load_config
from kaggle_salt.presets import CPU_PRESET, GPU_PRESET, preset_names, preset_path, read_measured

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"

pytestmark = pytest.mark.skipif(not README.exists(), reason="there is no README.md")

ASSIGNMENT = re.compile(r"[A-Z_]+=")


def text() -> str:
    return README.read_text(encoding="utf-8") if README.exists() else ""


def shell_lines() -> Iterator[str]:
    """Lines of the fenced shell blocks, continued lines joined, and the commands in the prose."""
    for block in re.findall(r"^```(?:bash|sh|shell|console)\n(.*?)^```", text(), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            yield line.removeprefix("$ ")
    prose = re.sub(r"^```.*?^```", "", text(), flags=re.M | re.S)
    yield from (command for command in re.findall(r"`(salt [^`]+)`", prose)
                if "…" not in command and "COMMAND" not in command)  # fmt: skip


def salt_calls() -> list[list[str]]:
    """Words after each ``salt`` of the shell blocks."""
    calls = []
    for line in shell_lines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        call: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";&|()<>"):
                while call and ASSIGNMENT.match(call[0]):
                    call = call[1:]
                if call and Path(call[0]).name == "salt":
                    calls.append(call[1:])
                call = []
            else:
                call.append(word)
    return calls


def option_values(call: list[str], option: str) -> list[str]:
    pairs = zip(call, [*call[1:], ""], strict=True)
    return [value for word, value in pairs if word == option] + [
        word.partition("=")[2] for word in call if word.startswith(f"{option}=")
    ]


def test_the_four_commands_are_shown() -> None:
    shown = {call[0] for call in salt_calls() if call}
    assert {"make-folds", "train", "ensemble", "submit"} <= shown


@pytest.mark.parametrize("call", salt_calls(), ids=" ".join)
def test_every_command_parses(call: list[str]) -> None:
    group = typer.main.get_command(app)
    roots = {option for parameter in group.params for option in parameter.opts} | {"--help"}
    while call and call[0] in roots:
        call = call[1:]
    if not call:
        return
    name, *arguments = call
    commands = getattr(group, "commands")  # noqa: B009  (typer hides the type of its groups)
    assert name in commands
    if "--help" not in arguments:
        commands[name].make_context(name, arguments)


@pytest.mark.parametrize("call", [c for c in salt_calls() if "train" in c[:1]], ids=" ".join)
def test_every_training_shown_is_configured_right(call: list[str]) -> None:
    if option_values(call, "--config"):
        return  # a file of the reader's own
    for preset in option_values(call, "--preset") or [GPU_PRESET, CPU_PRESET]:
        load_config(preset_path(preset), option_values(call, "--set"))


def test_every_preset_named_exists() -> None:
    named = re.findall(r"--preset[ =]([\w-]+)", text())
    named += re.findall(r"presets/([\w-]+)\.toml", text())
    assert named
    assert set(named) <= {*preset_names(), "NAME"}


def test_the_score_shown_is_the_one_on_record() -> None:
    quick = read_measured()["quick"]
    shown = [f"{value:.3f}".removeprefix("0") for value in (quick.score, quick.low, quick.high)
             if value is not None]  # fmt: skip
    assert f"{quick.minutes:.0f} min on one CPU core" in text()
    assert "{} [{}, {}]".format(*shown) in text()


def test_every_preset_is_explained() -> None:
    assert [name for name in preset_names() if f"`{name}`" not in text()] == []


def test_every_relative_link_and_picture_exists() -> None:
    prose = re.sub(r"^```.*?^```", "", text(), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)\s]+)", prose) + re.findall(r'(?:src|href)="([^"]+)"', prose)
    local = [target for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert local
    missing = [target for target in local if not (ROOT / target.partition("#")[0]).exists()]
    assert not missing
