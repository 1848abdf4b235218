from __future__ import annotations

from pathlib import Path

import pytest

from kaggle_salt.config.file import load_config
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.pipeline.training.pseudo_label import pseudo_label
from kaggle_salt.pipeline.training.rounds import train_rounds
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.pseudo_labels import read_manifest
from kaggle_salt.pseudo_origin import Confidence
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage.files import read_json
from tests.tiny import files_under, tiny_config

WORKSPACE = Workspace()  # the tests stand in its folder
STUDENT = RunFolder(Path("runs/student"))
WANTED = Confidence(low=0.5, high=0.5, limit=7, soft=True)


class Interrupted(Listener):
    """Presses Ctrl-C when the ``number``-th epoch begins."""

    def __init__(self, number: int) -> None:
        self.left = number

    def epoch_starts(self, title: str, steps: int) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def config_on(csv: Path | str) -> Config:
    return tiny_config(Path(), "stage.*.epochs=1", f"pseudo.file={csv}")


@pytest.fixture
def labels(trained: Path) -> Path:
    return pseudo_label(WORKSPACE, ["tiny"], wanted=WANTED, device="cpu").csv


def test_one_round_is_a_training_like_any_other(labels: Path) -> None:
    [summary] = train_rounds(WORKSPACE, STUDENT, config_on(labels), rounds=1, device="cpu")
    assert summary.epochs == 2
    assert STUDENT.finished_folds() == [0]
    assert load_config(STUDENT.config).pseudo.file == str(labels)


def test_each_round_learns_from_the_one_before(labels: Path) -> None:
    config = config_on(labels)
    [summary] = train_rounds(WORKSPACE, STUDENT, config, rounds=2, folds="0", device="cpu")
    first, second = (RunFolder(Path(f"runs/student-{number}")) for number in (1, 2))
    assert not STUDENT.path.exists()
    assert read_json(first.manifest)["pseudo_hash"] == read_manifest(labels).content_hash
    made = first.path / "pseudo-labels.csv"
    assert load_config(second.config).pseudo.file == str(made)
    assert read_json(second.manifest)["pseudo_hash"] == read_manifest(made).content_hash
    made_of = read_manifest(made).made_of
    assert made_of.settings == WANTED
    assert [(one.run, one.fold) for one in made_of.networks["0"]] == [("student-1", 0)]
    assert list(made_of.networks) == ["0"]
    assert summary.weights_hash == read_json(second.fold(0).summary)["weights_hash"]
    assert not (second.path / "pseudo-labels.csv").exists(), "nobody asked for a third round"


def test_rounds_go_on_where_they_were(labels: Path) -> None:
    config = config_on(labels)
    with pytest.raises(KeyboardInterrupt):
        train_rounds(WORKSPACE, STUDENT, config, rounds=2, device="cpu", listener=Interrupted(4))
    with pytest.raises(ConfigError, match=r"of run student-2 is half trained(.|\n)*--resume"):
        train_rounds(WORKSPACE, STUDENT, config, rounds=2, device="cpu")
    before = files_under(Path("runs/student-1"))
    [summary] = train_rounds(WORKSPACE, STUDENT, config, rounds=2, device="cpu", resume=True)
    assert summary.epochs == 2
    assert files_under(Path("runs/student-1")) == before, "a finished round is left as it is"
    done = files_under(Path("runs"))
    again = train_rounds(WORKSPACE, STUDENT, config, rounds=2, device="cpu")
    assert again == [summary]
    assert files_under(Path("runs")) == done


def test_the_teachers_stay_of_one_kind(trained: Path) -> None:
    csv = Path("all.csv")
    pseudo_label(WORKSPACE, ["tiny"], wanted=WANTED, teachers="all", out=csv, device="cpu")
    train_rounds(WORKSPACE, STUDENT, config_on(csv), rounds=2, folds="2", device="cpu")
    made_of = read_manifest(Path("runs/student-1/pseudo-labels.csv")).made_of
    assert made_of.teachers == "all"
    assert [(one.run, one.fold) for one in made_of.networks["all"]] == [("student-1", 2)]
    assert read_json(Path("runs/student-2/manifest.json"))["pseudo_teachers"] == "all"


def test_rounds_begin_with_labels(trained: Path) -> None:
    before = files_under(trained)
    with pytest.raises(ConfigError, match=r"no pseudo-labels for the first(.|\n)*--pseudo FILE"):
        train_rounds(WORKSPACE, STUDENT, config_on(""), rounds=2, device="cpu")
    with pytest.raises(DataError, match=r"none\.json cannot be read(.|\n)*--pseudo FILE"):
        train_rounds(WORKSPACE, STUDENT, config_on("none.csv"), rounds=2, device="cpu")
    assert files_under(trained) == before
