import json
from importlib import metadata
from pathlib import Path

import pytest

from kaggle_salt import versions
from kaggle_salt.errors import ConfigError
from kaggle_salt.names import require_plain_name
from kaggle_salt.runs import RunFolder, open_run
from kaggle_salt.storage.files import write_json
from kaggle_salt.versions import package_versions


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_versions_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "RECORDED_PACKAGES", ("numpy", "no-such-package-of-salt"))
    assert package_versions() == {"numpy": metadata.version("numpy")}


# --- folders


def test_paths_of_a_run() -> None:
    run = RunFolder(Path("runs") / "deep")
    fold = run.fold(3)
    assert run.name == "deep"
    assert fold.fold == 3
    paths = [run.config, run.manifest, fold.history, fold.checkpoint, fold.weights, fold.oof]
    assert [path.relative_to("runs").as_posix() for path in [*paths, fold.summary]] == [
        "deep/config.toml",
        "deep/manifest.json",
        "deep/fold3/history.csv",
        "deep/fold3/checkpoint.pt",
        "deep/fold3/weights.safetensors",
        "deep/fold3/oof",
        "deep/fold3/fold.json",
    ]


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_folds_are_finished_once_their_summary_is_there(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    touch(run.fold(10).summary)
    touch(run.fold(2).history)
    touch(run.fold(2).weights)
    touch(run.fold(2).summary)
    touch(run.fold(3).history)
    touch(run.fold(4).checkpoint)
    (tmp_path / "fold5").mkdir()  # made, but nothing in it yet
    assert run.finished_folds() == [2, 10]
    assert run.unfinished_folds() == [3, 4]
    assert [run.fold(fold).started for fold in (2, 3, 4, 5, 6)] == [True, True, True, False, False]


@pytest.mark.parametrize("name", ["folds", "fold", "fold1x", "fold-1", "fold01", "fold²"])
def test_other_folders_are_no_folds(name: str, tmp_path: Path) -> None:
    touch(tmp_path / name / "fold.json")
    touch(tmp_path / "fold7")  # a file
    assert RunFolder(tmp_path).finished_folds() == []


def test_a_fold_is_listed_once(tmp_path: Path) -> None:
    touch(tmp_path / "fold1" / "fold.json")
    touch(tmp_path / "fold01" / "fold.json")
    assert RunFolder(tmp_path).finished_folds() == [1]


def test_a_run_that_was_not_begun_has_no_folds(tmp_path: Path) -> None:
    assert RunFolder(tmp_path / "none").finished_folds() == []
    assert RunFolder(tmp_path / "none").unfinished_folds() == []


def test_open_run(tmp_path: Path) -> None:
    touch(tmp_path / "deep" / "config.toml")
    assert open_run(tmp_path, "deep") == RunFolder(tmp_path / "deep")


def test_an_unknown_run_is_answered_with_the_nearest_or_all(tmp_path: Path) -> None:
    touch(tmp_path / "wide" / "config.toml")
    touch(tmp_path / "deep" / "config.toml")
    touch(tmp_path / "notes" / "readme.txt")
    with pytest.raises(
        ConfigError,
        match=r"no run 'dep' in .*\nexpected: did you mean 'deep'\?\nnext: salt train --run dep",
    ):
        open_run(tmp_path, "dep")
    with pytest.raises(ConfigError, match=r"no run 'quick' in .*\nexpected: one of deep, wide\n"):
        open_run(tmp_path, "quick")


def test_without_any_run_the_answer_is_to_train_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected: a run made by salt train"):
        open_run(tmp_path / "runs", "deep")


def test_the_manifest_of_a_run_is_plain_json(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "deep")
    write_json(run.manifest, {"packages": package_versions()})
    assert json.loads(run.manifest.read_text())["packages"]["numpy"] == metadata.version("numpy")


@pytest.mark.parametrize("name", ["quick", "a+b", "2024-05-01 night", "größer"])
def test_plain_names_pass(name: str) -> None:
    require_plain_name(name, "a run")


PATHS = ["", ".", "..", ".hidden", "a/b", "/a", "a\\b", "../a"]


@pytest.mark.parametrize("name", [*PATHS, "a\n", "a\0", "\udc80", "a" * 201, "é" * 101])
def test_a_name_that_is_a_path_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="a run cannot be called"):
        require_plain_name(name, "a run")
