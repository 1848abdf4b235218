from __future__ import annotations

from pathlib import Path

from kaggle_salt.pipeline.workspace import Listener, Workspace
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
