from __future__ import annotations

import subprocess
import sys

import pytest

from kaggle_salt import __version__
from kaggle_salt.cli import app, prepare_commands
from kaggle_salt.cli.console import ConsoleListener
from kaggle_salt.errors import ConfigError, DataError, NetworkError, SaltError, TrainingError
from tests.tiny import Salt, salt

COMMANDS = [
    "make-folds", "check", "download", "demo", "train", "ensemble", "submit", "blend-csv",
    "import-predictions", "pseudo-label", "lr-find",
]  # fmt: skip


def test_without_arguments_the_help_is_shown() -> None:
    result = Salt(())
    told = result.stdout + result.stderr
    assert "Usage" in told
    for name in COMMANDS:
        assert name in told


def test_the_help_names_the_commands_in_their_order() -> None:
    told = salt("--help").stdout
    assert "salt make-folds;" in told
    assert [info.name for info in app.registered_commands] == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example(name: str) -> None:
    told = salt(name, "--help").stdout
    assert "Example:" in told
    assert f"salt {name}" in told.split("Example:")[1]


def test_the_version() -> None:
    assert salt("--version").stdout == f"{__version__}\n"


def test_the_package_runs_as_a_module() -> None:
    call = [sys.executable, "-m", "kaggle_salt", "--version"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [["trian"], ["train", "--flod", "0"], ["make-folds", "--n-folds", "1"]]
)
def test_usage_errors_end_with_2(arguments: list[str]) -> None:
    result = salt(*arguments, code=2)
    assert "Usage" in result.stderr
    assert not result.stdout


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let ``salt check`` fail."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(prepare_commands, "workspace_of", fail)


@pytest.mark.parametrize(
    ("error", "code"), [(TrainingError, 1), (ConfigError, 2), (DataError, 3), (NetworkError, 4)]
)
def test_an_error_has_three_parts_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: type[SaltError], code: int
) -> None:
    fail_with(monkeypatch, error("[red]a[/red]", expected="b", next_step="c"))
    result = salt("check", code=code)
    assert result.stderr == "error: [red]a[/red]\nexpected: b\nnext: c\n"
    assert not result.stdout


def test_debug_shows_the_traceback_and_keeps_the_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_with(monkeypatch, DataError("a", expected="b", next_step="c"))
    for arguments in (["--debug", "check"], ["check"]):
        result = Salt(tuple(arguments))
        assert result.exit_code == 3
        assert result.stderr.startswith("Traceback") == ("--debug" in arguments)
        assert "expected: b" in result.stderr
    monkeypatch.setenv("SALT_DEBUG", "1")
    assert Salt(("check",)).stderr.startswith("Traceback")


def test_trouble_with_a_file_is_told_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, OSError(28, "No space left on device"))
    result = salt("check", code=1)
    assert "No space left on device" in result.stderr
    assert "next: mend that and run the same command again" in result.stderr


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, KeyboardInterrupt())
    result = salt("check", code=130)
    assert result.stderr == "interrupted\n"


def test_the_bar_is_taken_down_whatever_ends_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    monkeypatch.setattr(ConsoleListener, "close_bar", staticmethod(lambda: closed.append(True)))
    for error in (KeyboardInterrupt(), DataError("a")):
        closed.clear()
        fail_with(monkeypatch, error)
        Salt(("check",))
        assert closed


def test_a_fault_of_the_program_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, ZeroDivisionError("ours"))
    result = Salt(("check",))
    assert isinstance(result.exception, ZeroDivisionError)
