from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.pipeline.preparing.prepare import check_data, look, make_fold_table
from kaggle_salt.pipeline.workspace import Listener, Workspace
from tests.makers import put, write_competition, write_table


class Notes(Listener):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    write_competition(tmp_path / "data", n_train=12, n_test=2)
    return Workspace.under(tmp_path)


def test_the_table_is_written_and_summed_up(workspace: Workspace) -> None:
    listener = Notes()
    summary = make_fold_table(workspace, n_folds=3, listener=listener)
    table = pd.read_csv(workspace.folds)
    assert summary["fold"].tolist() == [0, 1, 2]
    assert summary["tiles"].tolist() == table["fold"].value_counts().sort_index().tolist()
    assert summary["mean_depth"].between(50, 950).all()
    assert table["type"].value_counts().sum() == 12
    masks, written = listener.notes
    assert masks.startswith(f"masks: {(table['type'] == 'empty').sum()} empty, ")
    assert written == f"{workspace.folds}: written"
    assert [path.name for path in workspace.folds.parent.iterdir()] == ["folds.csv"]


def test_the_same_table_again_changes_nothing(workspace: Workspace) -> None:
    make_fold_table(workspace, n_folds=3)
    before = workspace.folds.read_bytes()
    listener = Notes()
    make_fold_table(workspace, n_folds=3, listener=listener)
    assert workspace.folds.read_bytes() == before
    assert listener.notes[-1] == f"{workspace.folds}: unchanged"


def test_a_table_from_before_there_were_types_stays_as_it_is(workspace: Workspace) -> None:
    """Runs know it by its hash."""
    make_fold_table(workspace, n_folds=3)
    older = pd.read_csv(workspace.folds, dtype=str).drop(columns="type")
    older.to_csv(workspace.folds, index=False, lineterminator="\n")
    before = workspace.folds.read_bytes()
    make_fold_table(workspace, n_folds=3)
    assert workspace.folds.read_bytes() == before
    with pytest.raises(ConfigError, match="holds another fold table"):
        make_fold_table(workspace, n_folds=3, by="type")


def test_another_table_is_replaced_only_when_asked(workspace: Workspace) -> None:
    make_fold_table(workspace, n_folds=3)
    before = workspace.folds.read_bytes()
    with pytest.raises(ConfigError, match=r"holds another fold table(.|\n)*--overwrite"):
        make_fold_table(workspace, n_folds=3, seed=1)
    assert workspace.folds.read_bytes() == before
    assert [path.name for path in workspace.folds.parent.iterdir()] == ["folds.csv"]
    make_fold_table(workspace, n_folds=3, seed=1, overwrite=True)
    assert workspace.folds.read_bytes() != before


def test_a_group_stays_in_one_fold(workspace: Workspace, tmp_path: Path) -> None:
    ids = pd.read_csv(workspace.data / "train.csv")["id"].tolist()
    groups = [f"well {row % 4}" for row in range(len(ids))]
    write_table(tmp_path / "groups.csv", "id,group", zip(ids, groups, strict=True))
    make_fold_table(workspace, n_folds=2, group_file=tmp_path / "groups.csv")
    table = pd.read_csv(workspace.folds)
    assert (table.groupby("group")["fold"].nunique() == 1).all()


def test_copies_stay_in_one_fold_and_are_counted(workspace: Workspace) -> None:
    images = workspace.data / "train/images"
    for copy in ("tile005", "tile009"):
        put(images / f"{copy}.png", (images / "tile001.png").read_bytes())
    listener = Notes()
    make_fold_table(workspace, n_folds=3, listener=listener)
    table = pd.read_csv(workspace.folds).set_index("id")
    assert table["fold"][["tile001", "tile005", "tile009"]].nunique() == 1
    assert listener.notes[0].startswith("3 tiles are copies of one another (1 pictures,")


def test_a_group_file_that_lacks_tiles_writes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    write_table(tmp_path / "groups.csv", "id,group", [("tile000", "a")])
    with pytest.raises(DataError, match="gives no group to 11 tiles"):
        make_fold_table(workspace, n_folds=2, group_file=tmp_path / "groups.csv")
    assert not workspace.folds.exists()


def test_the_check_counts_what_is_there(workspace: Workspace) -> None:
    report = check_data(workspace)
    assert (report.train_tiles, report.test_tiles, report.empty_masks) == (12, 2, 4)
    assert report.faults == report.warnings == ()


def test_the_check_remembers_a_threshold(tmp_path: Path) -> None:
    workspace = Workspace.under(tmp_path)
    write_competition(workspace.data, n_train=12, n_test=2, salt_level=99)
    listener = Notes()
    report = check_data(workspace, mask_threshold=50, listener=listener)
    assert (report.mask_threshold, report.empty_masks, report.faults) == (50, 4, ())
    assert listener.notes[0].endswith("salt from level 50 on, for every command")
    assert len(make_fold_table(workspace, n_folds=3)) == 3


def test_no_threshold_is_left_where_there_are_no_data(tmp_path: Path) -> None:
    workspace = Workspace.under(tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        check_data(workspace, mask_threshold=50)
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_drawn_on_request(workspace: Workspace, tmp_path: Path) -> None:
    listener = Notes()
    folder = tmp_path / "pictures"
    report = check_data(workspace, pictures=folder, listener=listener)
    names = ["tiles.png", "coverage.png", "depth.png", "copies.png"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert listener.notes[-4:] == [f"{folder / name}: written" for name in names]
    assert not report.faults


def test_pictures_show_what_can_be_read_of_faulty_data(
    workspace: Workspace, tmp_path: Path
) -> None:
    with (workspace.data / "train.csv").open("a", encoding="utf-8") as table:
        table.write("nowhere,\n")
    report = check_data(workspace, pictures=tmp_path / "pictures")
    assert report.faults
    assert len(list((tmp_path / "pictures").iterdir())) == 4


def test_a_look_draws_the_folds_too_where_there_is_a_table(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[Path, pd.DataFrame | None]] = []

    def draw(_: object, folder: Path, table: pd.DataFrame | None) -> list[Path]:
        drawn.append((folder, table))
        return [folder / "tiles.png"]

    monkeypatch.setattr("kaggle_salt.pipeline.preparing.prepare.draw_sheets", draw)
    listener = Notes()
    assert look(workspace, tmp_path / "a", listener=listener) == [tmp_path / "a" / "tiles.png"]
    assert listener.notes[-1].endswith("so no picture of it: salt make-folds")
    make_fold_table(workspace, n_folds=3)
    look(workspace, tmp_path / "b")
    [(first, nothing), (second, table)] = drawn
    assert (first, nothing, second) == (tmp_path / "a", None, tmp_path / "b")
    assert table is not None
    assert sorted(table["id"]) == sorted(workspace.open(listener).ids)
    put(workspace.folds, b"id\n")
    with pytest.raises(DataError, match="has no column coverage"):
        look(workspace, tmp_path / "c")
