from __future__ import annotations

from pathlib import Path

import pytest

from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.workspace import Listener, Workspace, require_plain_name
from tests.makers import write_competition


def test_the_default_layout_inside_a_folder(tmp_path: Path) -> None:
    workspace = Workspace.under(tmp_path)
    assert workspace == Workspace(
        data=tmp_path / "data",
        runs=tmp_path / "runs",
        folds=tmp_path / "folds/folds.csv",
        submissions=tmp_path / "submissions",
    )
    assert workspace.ensembles == tmp_path / "runs/ensemble"


def test_opening_tells_the_listener_of_the_decoding_once(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []

    class Follower(Listener):
        def progress(self, title: str) -> object:  # type: ignore[override]
            return lambda done, total: told.append((title, done, total))

    write_competition(tmp_path / "data", n_train=4, n_test=2)
    workspace = Workspace.under(tmp_path)
    assert len(workspace.open(Follower()).ids) == 4
    assert told[-1] == ("decoding tiles", 10, 10)
    told.clear()
    workspace.open(Follower())
    assert told == []


@pytest.mark.parametrize("name", ["quick", "a+b", "2024-05-01 night", "größer"])
def test_plain_names_pass(name: str) -> None:
    require_plain_name(name, "a run")


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/a", "a\\b", "../a"])
def test_a_name_that_is_a_path_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="a run cannot be called"):
        require_plain_name(name, "a run")
