"""The commands as Python functions, called as in a notebook: paths as text, folds as numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kaggle_salt import (
    Competition,
    Predictions,
    Workspace,
    check_data,
    decode,
    ensemble,
    load_preset,
    make_folds,
    predictions,
    pseudo_label,
    score,
    submit,
    train,
)
from kaggle_salt.config.file import load_config
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.pipeline.arguments import folds_text, overrides_of
from tests.tiny import N_TEST, N_TRAIN, SIZE, files_under, tiny_config

ONE_EPOCH = {"stage.*.epochs": 1}


@pytest.fixture
def fresh(trained: Path) -> Path:
    """The trained workspace without its runs; it is the current folder."""
    shutil.rmtree("runs")
    tiny_config(trained)
    return trained


def test_a_whole_competition_in_six_lines(fresh: Path) -> None:
    shutil.rmtree("folds")
    assert make_folds("data", n_folds=3)["tiles"].sum() == N_TRAIN
    summaries = train("data", config="tiny.toml", folds=[0, 1], set=ONE_EPOCH, device="cpu")
    assert [one.fold for one in summaries] == [0, 1]
    report = ensemble("data", "tiny", device="cpu")
    assert [row.name for row in report.rows] == ["tiny, fold 0", "tiny, fold 1",
                                                 "tiny, all its folds"]  # fmt: skip
    csv = submit("data", name="first").csv
    table = pd.read_csv(csv, keep_default_na=False)
    assert table["id"].tolist() == list(Competition.open("data").test_ids)
    masks = [decode(text, (SIZE, SIZE)) for text in table["rle_mask"]]
    assert score(np.array(masks), np.array(masks, np.uint8)) == 1
    predicted = predictions.load(report.folder / "test")
    assert isinstance(predicted, Predictions)
    assert len(predicted) == N_TEST


def test_a_preset_with_settings(fresh: Path) -> None:
    small = {"model.options.widths": [4, 8], "model.options.depths": (1, 1),
             "model.options.decoder": [4], "model.options.hypercolumn": np.int64(4),
             "input.size": 32, "stage.*.epochs": 1, "training.batch_size": 8}  # fmt: skip
    [summary] = train("data", preset="quick", folds=0, set=small, seed=3, device="cpu")
    assert summary.epochs == 3
    config = load_config(fresh / "runs" / "quick" / "config.toml")
    assert config.model.options["depths"] == [1, 1]
    assert config.training.seed == 3


def test_a_configuration_made_before(fresh: Path) -> None:
    config = tiny_config(fresh, "stage.*.epochs=1")
    [summary] = train("data", config=config, run="mine", folds="2", device="cpu")
    assert (summary.fold, summary.epochs) == (2, 2)
    assert load_config(fresh / "runs" / "mine" / "config.toml") == config


def test_a_run_that_exists_keeps_its_configuration(trained: Path) -> None:
    before = files_under(trained)
    [summary] = train("data", run="other", folds=1, verbose=False)
    assert summary.fold == 1
    assert files_under(trained) == before


def test_all_folds(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summaries = train("data", config="tiny.toml", folds="all", device="cpu")
    assert [one.fold for one in summaries] == [0, 1, 2]
    assert "fold 0 of run tiny is finished" in capsys.readouterr().out


def test_epochs_go_by_as_lines(fresh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("data", config="tiny.toml", device="cpu")
    told = capsys.readouterr()
    assert told.err == ""
    epochs = [line for line in told.out.splitlines() if "  validation " in line]
    assert [line.split()[1] for line in epochs] == ["1", "2", "3", "4", "5"]
    assert "run tiny, fold 0: " in told.out


def test_silence_leaves_the_warnings(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("data", config="tiny.toml", folds=2, device="cpu", verbose=False)
    assert capsys.readouterr().out == ""
    ensemble("data", "other", device="cpu", verbose=False)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: run other lacks fold 0")


def test_a_workspace_says_where_all_else_lies(trained: Path) -> None:
    (trained / "data").rename(trained / "elsewhere")
    place = Workspace("elsewhere", submissions="out")  # type: ignore[arg-type]
    report = ensemble(place, ["tiny", "other"], weights=[2, 1], name="both", device="cpu")
    assert report.weights == {"tiny": 2, "other": 1}
    assert submit(place, verbose=False).csv == Path("out/both.csv")
    assert Workspace.under("project") == Workspace.under(Path("project"))


def test_pseudo_labels_are_trained_on(trained: Path) -> None:
    labels = pseudo_label("data", "tiny", low=0.5, high=0.5, confidence=0, device="cpu")
    [summary] = train(
        "data", config="tiny.toml", run="student", pseudo=labels.csv, set=ONE_EPOCH, device="cpu"
    )
    assert summary.fold == 0
    assert load_config(Path("runs/student/config.toml")).pseudo.file == str(labels.csv)


def test_epochs_are_fitted(trained: Path) -> None:
    config = load_config(Path("tiny.toml"))
    [summary] = train("data", config=config, run="short", epochs=2, device="cpu", verbose=False)
    assert summary.epochs == 2
    assert [stage.epochs for stage in load_config(Path("runs/short/config.toml")).stage] == [1, 1]
    with pytest.raises(ConfigError, match=r"--minutes and --epochs exclude each other"):
        train("data", config=config, run="short", epochs=2, minutes=3)


def test_the_check_reports_what_it_found(trained: Path) -> None:
    assert check_data("data").train_tiles == N_TRAIN


def test_a_preset_is_loaded_with_settings() -> None:
    assert load_preset("quick").stage[0].epochs == 40
    config = load_preset("quick", set={"stage.bce.epochs": 3, "stage.bce.loss.name": "focal"})
    assert (config.stage[0].epochs, config.stage[0].loss.name) == (3, "focal")


@pytest.mark.parametrize(
    ("folds", "text"),
    [(0, "0"), ([0, 1], "0,1"), (range(3), "0,1,2"), ("all", "all"), ("0,2", "0,2"),
     (np.int64(1), "1"), (np.arange(2), "0,1")],
)  # fmt: skip
def test_folds_are_numbers_lists_or_all(folds: object, text: str) -> None:
    assert folds_text(folds) == text  # type: ignore[arg-type]


@pytest.mark.parametrize("folds", [1.0, None, True])
def test_other_folds_are_refused(folds: object) -> None:
    with pytest.raises(ConfigError, match=f'folds={folds}\nexpected: a number, .* or "all"'):
        folds_text(folds)  # type: ignore[arg-type]


def test_a_fold_that_is_not_there_is_refused(trained: Path) -> None:
    with pytest.raises(ConfigError, match="there is no fold '3'\nexpected: some of 0, 1, 2"):
        train("data", config="tiny.toml", folds=[0, 3])


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (1e-5, "1e-05"), (True, "true"), ("none", '"none"'), ('say "é"', '"say \\"é\\""'),
     ([1, 2], "[1, 2]"), ((0.5,), "[0.5]"), ({"name": "ema", "x": 1}, '{"name" = "ema", "x" = 1}'),
     (Path("a/b"), '"a/b"'), (np.float32(0.5), "0.5")],
)  # fmt: skip
def test_settings_become_toml(value: object, text: str) -> None:
    assert overrides_of({"key": value}) == (f"key={text}",)


def test_a_setting_that_toml_cannot_say_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.encoder is set to None\nexpected: text"):
        load_preset("quick", set={"model.encoder": None})


def test_a_configuration_stands_alone_and_needs_a_name(trained: Path) -> None:
    config = tiny_config(trained)
    with pytest.raises(ConfigError, match="and preset quick beside it"):
        train("data", config=config, preset="quick")
    with pytest.raises(ConfigError, match=r"and settings for training.seed beside it"):
        train("data", config=config, seed=1)
    with pytest.raises(ConfigError, match=r'(?s)what its run is called.*run="NAME"'):
        train("data", config=config)
    with pytest.raises(ConfigError, match="a run cannot be called 'ensemble'"):
        train("data", config=config, run="ensemble")


def test_a_folder_without_tiles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        train(tmp_path / "nowhere", preset="quick")
