"""The Python face: ``from kaggle_salt import train`` and the like, which cost nothing to import."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import kaggle_salt

FACE = Path(kaggle_salt.__file__)
NAMES = [name for name in kaggle_salt.__all__ if name != "__version__"]


def loaded_by(code: str) -> set[str]:
    """Packages that a fresh interpreter has loaded after running the code."""
    tell = "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    finished = subprocess.run(
        [sys.executable, "-c", code + tell], capture_output=True, text=True, check=True
    )
    return set(finished.stdout.split())


def test_the_package_loads_nothing() -> None:
    loaded = loaded_by("import kaggle_salt; dir(kaggle_salt)")
    assert "kaggle_salt" in loaded
    assert loaded.isdisjoint({"numpy", "pandas", "torch", "pydantic", "cv2", "matplotlib"})


def test_the_functions_load_nothing_until_they_are_called() -> None:
    loaded = loaded_by(
        "from kaggle_salt import train, ensemble, submit, make_folds, load_preset, diagnose"
    )
    assert loaded.isdisjoint({"numpy", "pandas", "torch", "pydantic"})


def test_torch_is_loaded_only_for_training() -> None:
    loaded = loaded_by(
        "from kaggle_salt import Competition, Predictions, Workspace, encode, score, load_preset; "
        "load_preset('quick')"
    )
    assert "numpy" in loaded
    assert "torch" not in loaded


def test_every_name_is_there_and_comes_from_where_it_is_defined() -> None:
    for home, names in kaggle_salt._HOMES.items():
        module = importlib.import_module(f"kaggle_salt.{home}")
        for name in names:
            assert getattr(kaggle_salt, name) is getattr(module, name)
            assert getattr(module, name).__module__ == module.__name__
            assert getattr(module, name).__doc__


def imported_for_types() -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(FACE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kaggle_salt."):
            yield from ((str(node.module), alias.name) for alias in node.names)


def test_type_checkers_are_told_the_same_names() -> None:
    homes = kaggle_salt._HOMES.items()
    fetched = {(f"kaggle_salt.{home}", name) for home, names in homes for name in names}
    assert set(imported_for_types()) == fetched
    assert sorted(name for _, name in fetched) == sorted(NAMES)


def test_names_are_listed_in_order_and_hide_no_module() -> None:
    assert kaggle_salt.__all__ == sorted(kaggle_salt.__all__)
    assert set(kaggle_salt.__all__) <= set(dir(kaggle_salt))
    modules = {path.stem for path in FACE.parent.iterdir()}
    assert modules.isdisjoint(kaggle_salt.__all__)


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'kaggle_salt' has no attribute 'trian'"):
        kaggle_salt.trian  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'trian' from 'kaggle_salt'"):
        exec("from kaggle_salt import trian")


def test_the_version_is_a_number() -> None:
    assert kaggle_salt.__version__[0].isdigit()
