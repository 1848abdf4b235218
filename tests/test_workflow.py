"""The workflow file calls scripts/test with Pythons that the package is made for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

yaml = pytest.importorskip("yaml", reason="comes with pre-commit")


def job() -> dict[str, Any]:
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    [one] = yaml.safe_load(text)["jobs"].values()
    assert isinstance(one, dict)
    return one


def test_scripts_test_runs_with_the_oldest_python_and_a_newer_one() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        oldest = tomllib.load(file)["project"]["requires-python"].removeprefix(">=")
    pythons = job()["strategy"]["matrix"]["python"]
    assert pythons == [oldest, "3.13"]
    assert job()["env"] == {"SALT_PYTHON": "python${{ matrix.python }}"}
    assert [step["run"] for step in job()["steps"] if "run" in step] == ["scripts/test"]


def test_the_interpreter_is_named_as_the_scripts_read_it() -> None:
    environment = (ROOT / "scripts" / "_environment").read_text(encoding="utf-8")
    assert [f"${{{name}" for name in job()["env"] if f"${{{name}" not in environment] == []


def test_no_host_is_named() -> None:
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    assert re.findall(r"https?:|\w+\.(?:org|com|io)\b", text) == []
