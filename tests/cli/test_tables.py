from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from kaggle_salt.cli import app
from kaggle_salt.cli.tables import results_table
from tests.tiny import salt

COLUMNS = ["preset", "made for", "parameters", "score", "what it is"]
ROWS = [["resnet34-resize", "one GPU", "35.2 M", 0.7176, "ResNet34 with a hypercolumn"]]


def lines_of(width: int, least: tuple[str, ...] = ()) -> list[str]:
    out = io.StringIO()
    table = results_table(COLUMNS, ROWS, ["made for", "what it is"], least, width=width)
    Console(file=out, width=width).print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_table_rounds_and_aligns() -> None:
    out = io.StringIO()
    table = results_table(["fold", "score"], [["all", 0.75], ["1", 9]], width=60)
    Console(file=out, width=60).print(table)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert lines == ["fold   score", "all   0.7500", "1          9"]


def test_where_there_is_room_nothing_is_wrapped() -> None:
    header, row = lines_of(100)
    assert header.split() == " ".join(COLUMNS).split()
    assert "one GPU" in row
    assert "ResNet34 with a hypercolumn" in row


@pytest.mark.parametrize("width", [45, 50, 60, 70, 80])
def test_names_and_scores_are_whole_at_any_width(width: int) -> None:
    lines = lines_of(width, least=("parameters", "made for"))
    assert max(map(len, lines)) <= width
    told = "\n".join(lines)
    assert "resnet34-resize" in told
    assert "0.7176" in told
    assert "…" not in told
    for word in ROWS[0][-1].split():  # type: ignore[attr-defined]
        assert word in told


def test_a_column_left_out_is_named() -> None:
    narrow = lines_of(45, least=("parameters", "made for"))
    assert narrow[-1] == "left out for want of room: parameters"
    assert "made" in narrow[0]
    assert "left out" not in "\n".join(lines_of(80, least=("parameters",)))


def test_a_name_is_folded_before_it_is_cut() -> None:
    told = lines_of(20, least=("parameters", "made for", "score"))
    first = [re.match(r"\S*", line) for line in told[1:]]
    assert "".join(word[0] for word in first if word).startswith("resnet34-resize")


@pytest.mark.parametrize("columns", ["60", "80"])
def test_no_help_is_cut(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", int(columns))
    for info in app.registered_commands:
        assert "…" not in salt(info.name, "--help").stdout


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("arguments", [["presets"], ["presets", "check", "quick"]])
def test_screens_are_whole(
    monkeypatch: pytest.MonkeyPatch, columns: int, arguments: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "10000")
    wide = salt(*arguments).stdout
    monkeypatch.setenv("COLUMNS", str(columns))
    narrow = salt(*arguments).stdout
    assert "…" not in narrow
    names = [line.split()[0] for line in wide.splitlines() if line.strip()]
    scores = re.findall(r"0\.\d{4}", wide)
    assert scores or arguments != ["presets"]
    for word in [*names, *scores]:
        assert word in narrow
