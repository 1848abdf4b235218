from __future__ import annotations

import json
from pathlib import Path

import pytest

from kaggle_salt.cli.output import emit, print_table


def test_one_document_in_which_paths_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"csv": Path("submissions") / "a.csv", "score": 0.5, "interval": (0.25, 0.75)})
    shown = capsys.readouterr()
    expected = {"csv": str(Path("submissions/a.csv")), "score": 0.5, "interval": [0.25, 0.75]}
    assert json.loads(shown.out) == expected
    assert shown.err == ""


def test_a_table_goes_to_stdout_unwrapped(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "tiles"], [["x" * 90, 4000]])
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1].split() == ["x" * 90, "4000"]
    assert shown.err == ""
