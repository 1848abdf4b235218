from __future__ import annotations

from pathlib import Path

import pytest

from kaggle_salt.config_file import load_config
from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.choose import choose_run, parse_folds
from kaggle_salt.pipeline.workspace import Workspace
from tests.tiny import tiny_config


def test_folds_are_read_from_text() -> None:
    assert parse_folds("0", [0, 1, 2]) == [0]
    assert parse_folds("2, 0,2", [0, 1, 2]) == [0, 2]
    assert parse_folds("all", [0, 1, 2]) == [0, 1, 2]


@pytest.mark.parametrize("text", ["3", "0,7", "", "0,", "-1", "one", "1.0", "²"])
def test_other_folds_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no fold(.|\n)*some of 0, 1, 2, or all"):
        parse_folds(text, [0, 1, 2])


def test_a_run_is_called_after_what_describes_it(tmp_path: Path) -> None:
    workspace = Workspace.under(tmp_path)
    tiny_config(tmp_path)
    assert choose_run(workspace)[0].name == "resnet34"
    assert choose_run(workspace, preset="quick")[0].name == "quick"
    assert choose_run(workspace, config_file=tmp_path / "tiny.toml")[0].name == "tiny"
    assert choose_run(workspace, preset="quick", run="mine")[0].name == "mine"


def test_a_run_that_exists_keeps_its_configuration(trained: Path) -> None:
    kept = load_config(trained / "runs/other/config.toml")
    assert choose_run(Workspace(), run="other")[1] == kept
    changed = choose_run(Workspace(), run="other", overrides=("training.seed=5",))[1]
    assert changed.training.seed == 5
    other = choose_run(Workspace(), run="other", preset="unet")[1]
    assert other.model.architecture == "classic-unet"
