from __future__ import annotations

from pathlib import Path

import pytest

from kaggle_salt.cli.options import workspace_of
from kaggle_salt.pipeline.workspace import Workspace
from tests.makers import write_competition
from tests.tiny import salt


def test_what_is_not_named_stays_at_its_default() -> None:
    assert workspace_of() == Workspace()
    assert workspace_of(data=Path("d")) == Workspace(data=Path("d"))
    every = workspace_of(data=Path("d"), runs=Path("r"), folds=Path("f"), submissions=Path("s"))
    assert every == Workspace(Path("d"), Path("r"), Path("f"), Path("s"))


def test_the_data_folder_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_competition(tmp_path / "elsewhere", n_train=3, n_test=1)
    monkeypatch.chdir(tmp_path)
    salt("check", code=3)
    monkeypatch.setenv("SALT_DATA", str(tmp_path / "elsewhere"))
    assert "3 training tiles" in salt("check").stdout
