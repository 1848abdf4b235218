"""The notebooks run from top to bottom, and are committed without what they drew."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from tests.tiny import one_thread

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

#: Characters of output that a committed cell may have: a number or a short table, no picture.
LONGEST_OUTPUT = 2000


def read(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def code_cells(path: Path) -> list[str]:
    return ["".join(c["source"]) for c in read(path)["cells"] if c["cell_type"] == "code"]


def run_cell(source: str, name: str, namespace: dict[str, Any]) -> Any:
    """Execute a cell as a notebook does; give the value of its last expression."""
    tree = ast.parse(source, name)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        exec(compile(tree, name, "exec"), namespace)
        return None
    exec(compile(ast.Module(tree.body[:-1], []), name, "exec"), namespace)
    return eval(compile(ast.Expression(last.value), name, "eval"), namespace)


def run_all(path: Path, **parameters: Any) -> tuple[dict[str, Any], list[Any]]:
    """Execute a notebook in one namespace; give that and what its cells would show.

    Parameters take the place of what its first code cell assigns.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for number, source in enumerate(code_cells(path), start=1):
        shown.append(run_cell(source, f"{path.name}, code cell {number}", namespace))
        if number == 1:
            assert parameters.keys() <= namespace.keys()
            namespace.update(parameters)
    return namespace, shown


def test_every_notebook_is_executed_by_a_test() -> None:
    # the first of them in tests/test_kaggle_notebook.py
    assert [path.name for path in NOTEBOOKS] == ["kaggle.ipynb", "tour.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_has_the_form_of_version_4_5(path: Path) -> None:
    notebook = read(path)
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        assert isinstance(cell["metadata"], dict)
        assert all(isinstance(line, str) for line in cell["source"])
        keys = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            keys |= {"execution_count", "outputs"}
        else:
            assert cell["cell_type"] == "markdown"
        assert set(cell) == keys


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_keeps_no_large_output(path: Path) -> None:
    for cell in read(path)["cells"]:
        for output in cell.get("outputs", []):
            assert output["output_type"] == "stream" or set(output["data"]) == {"text/plain"}
            assert len(json.dumps(output)) <= LONGEST_OUTPUT


def test_the_tour_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[int] = []

    def show() -> None:
        shown.append(len(plt.get_fignums()))
        plt.close("all")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", show)
    with one_thread():
        namespace, values = run_all(ROOT / "notebooks" / "tour.ipynb")

    assert shown == [1] * 4
    assert any(isinstance(value, pd.DataFrame) for value in values)
    told = capsys.readouterr().out
    assert told.count("  validation ") == 2 * 2 * 9  # runs, folds, epochs
    masks, truth = namespace["masks"], namespace["truth"]
    assert masks.shape == truth.shape == (30, 48, 48)
    assert masks.dtype == np.bool_
    assert (tmp_path / "tour" / "submissions" / "tour.csv").is_file()
    assert namespace["both"].weights == {"first": 1, "second": 1}
