from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kaggle_salt import __version__
from kaggle_salt.cli import app, prepare_commands
from kaggle_salt.cli.console import ConsoleListener
from kaggle_salt.errors import ConfigError, DataError, NetworkError, SaltError, TrainingError
from tests.tiny import Salt, refused, salt

COMMANDS = [
    "make-folds", "check", "download", "demo", "train", "ensemble", "submit", "blend-csv",
    "import-predictions", "compare", "runs", "sweep", "doctor", "export", "mosaic", "predict",
    "ship", "pretrain", "pseudo-label", "report", "look", "lr-find",
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
    ("arguments", "found", "expected", "then"),
    [
        (["trian"], "there is no command 'trian'", "did you mean 'train'", "salt --help"),
        (["train", "--flod", "0"], "there is no option --flod", "mean '--fold'", "salt train"),
        (["make-folds", "--n-folds", "1"], "--n-folds 1", "2 or more: Number", "salt make-folds"),
        (["make-folds", "--n-folds", "x"], "--n-folds x", "a whole number", "salt make-folds"),
        (["make-folds", "--n-folds"], "requires an argument", "options", "salt make-folds --help"),
        (["pseudo-label"], "RUN", "Runs that teach", "salt pseudo-label --help"),
        (["pseudo-label", "a", "--teachers", "x"], "--teachers x", "one of 'fold'", "salt pseudo"),
        (["train", "extra"], "extra argument", "salt train", "salt train --help"),
        (["presets", "shwo"], "no command 'shwo'", "mean 'show'", "salt presets --help"),
    ],
)
def test_usage_errors_have_three_parts_and_end_with_2(
    arguments: list[str], found: str, expected: str, then: str
) -> None:
    refused(2, *arguments, found=found, expected=expected, then=then)
    told = salt(*arguments, code=2).stderr
    assert "Input should" not in told, "pydantic's words"
    assert "Usage:" not in told


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_has_a_short_name_everywhere(flag: str) -> None:
    for arguments in ([], ["train"], ["presets"], ["presets", "show"]):
        assert "Usage: salt" in salt(*arguments, flag).stdout


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


def test_a_fault_of_the_program_itself_is_told_with_what_to_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_with(monkeypatch, ZeroDivisionError("ours"))
    refused(1, "check", "--data", "my data", found="at fault: ZeroDivisionError: ours",
            expected="another message", then="salt --debug check --data 'my data'\nversions: Py",
            )  # fmt: skip
    shown = Salt(("--debug", "check"))
    assert shown.exit_code == 1
    assert shown.stderr.startswith("Traceback")
    assert "ZeroDivisionError: ours\nerror: salt itself is at fault" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [
        (["check", "--json"], DataError("a", expected="b", next_step="c"), 3),
        (["check", "--json"], ZeroDivisionError("ours"), 1),
        (["check", "--json", "--flod"], DataError("never raised"), 2),
    ],
)
def test_with_json_an_error_is_a_document(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: Exception, code: int
) -> None:
    fail_with(monkeypatch, error)
    result = salt(*arguments, code=code)
    told = json.loads(result.stdout)
    assert set(told) == {"error"}
    assert set(told["error"]) == {"found", "expected", "next", "exit_code"}
    assert told["error"]["exit_code"] == code
    assert result.stderr.startswith(f"error: {told['error']['found']}\n")


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    call = f"{sys.executable} -m kaggle_salt presets show quick | true"
    for _ in range(2):
        done = subprocess.run(["bash", "-c", call], capture_output=True, text=True, check=False)
        assert done.stderr == ""


def complete_in_bash(line: str, folder: Path) -> list[str]:
    """What the shell would offer at the end of a line, and that no torch was loaded for it."""
    words = line.split(" ")
    given = {
        "_SALT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)
    }  # fmt: skip
    call = (
        "import sys; sys.argv = ['salt']\n"
        "from kaggle_salt.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", call], capture_output=True, text=True, check=False, cwd=folder,
        env={**os.environ, **given},
    )  # fmt: skip
    assert "Error" not in done.stderr
    return done.stdout.split()


def test_the_shell_completes_presets_runs_and_ensembles(tmp_path: Path) -> None:
    for name in ("runs/b1/config.toml", "runs/b2/config.toml", "runs/ensemble/b1/ensemble.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert complete_in_bash("salt train --preset resnet34-", tmp_path) == [
        "resnet34-pad", "resnet34-pseudo", "resnet34-resize"
    ]  # fmt: skip
    assert complete_in_bash("salt train --run b", tmp_path) == ["b1", "b2"]
    assert complete_in_bash("salt ensemble b1 ", tmp_path) == ["b2"]
    assert complete_in_bash("salt submit --ensemble b", tmp_path) == ["b1"]
    assert complete_in_bash("salt predict a.png --run b", tmp_path) == ["b1", "b2"]
    assert complete_in_bash("salt report b", tmp_path) == ["b1", "b2"]
    assert complete_in_bash("salt prese", tmp_path) == ["presets"]


def test_completion_can_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    # Typer looks for a shell among the parents of the process, of which a test may have none
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: "bash")
    assert "_SALT_COMPLETE=complete_bash" in salt("--show-completion").stdout
