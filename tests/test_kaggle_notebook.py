"""``notebooks/kaggle.ipynb`` runs with folders as Kaggle's, and writes nothing to its input."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import safetensors.torch
import torch

from kaggle_salt.config.file import load_config
from kaggle_salt.learning.networks import build
from kaggle_salt.presets import preset_path
from kaggle_salt.runs import RunFolder
from tests.test_lease import ELSEWHERE, leave
from tests.test_notebooks import ROOT, code_cells, run_all
from tests.tiny import (
    N_FOLDS,
    N_TEST,
    Salt,
    draw_no_curves,
    files_under,
    interrupt_epoch,
    one_thread,
    write_data,
)

NOTEBOOK = ROOT / "notebooks" / "kaggle.ipynb"

#: A network of a few thousand weights in place of the preset's.
SETTINGS = [
    "input.size=32",
    "model.options={widths=[4,8],depths=[1,1],decoder=[4],hypercolumn=4}",
    "augment.pipeline=flip",
    "training.batch_size=4",
    "training.precision=float32",
    "stage.*.shrink=1",
]
EPOCHS = 4
COMMAND = [sys.executable, "-m", "kaggle_salt"]


class InThisProcess:
    """A process of the notebook's: a command of ``salt`` is run here, others are noted.

    Args:
        words: Its command line.
    """

    begun: list[list[str]] = []  # noqa: RUF012  # emptied by the fixture

    def __init__(self, words: Sequence[str]) -> None:
        self.begun.append(list(words))
        self.code = 0
        if list(words[:3]) == COMMAND:
            result = Salt(tuple(words[3:]))
            assert isinstance(result.exception, SystemExit | None), result.exception
            print(result.stdout, result.stderr)
            self.code = result.exit_code

    def wait(self, timeout: float) -> int:
        return self.code


def run(words: Sequence[str], *, check: bool) -> None:
    if code := InThisProcess(words).code:
        raise subprocess.CalledProcessError(code, words)


def modes(folder: Path, mode: int) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(mode if path.is_dir() else mode & 0o666)


class Kaggle:
    """The folders that a notebook there sees.

    Args:
        folder: Where they are laid out.
    """

    def __init__(self, folder: Path) -> None:
        self.input, self.working = folder / "input", folder / "working"
        write_data(self.input / "competitions" / "tgs-salt-identification-challenge")
        sets = self.input / "datasets" / "somebody"
        (sets / "salt-wheels").mkdir(parents=True)
        (sets / "salt-encoders").mkdir()
        model = load_config(preset_path("quick"), SETTINGS).model
        torch.manual_seed(0)
        tensors = build(model, channels=1, pretrained=False).state_dict()
        self.weights = sets / "salt-encoders" / "tiny.safetensors"
        safetensors.torch.save_file(tensors, self.weights)

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.working / "runs" / "quick")

    def execute(self, **parameters: Any) -> dict[str, Any]:
        """Run the notebook; the input must stay as it is."""
        self.working.mkdir()
        modes(self.input, 0o555)
        before = sorted(self.input.rglob("*")), files_under(self.input)
        with one_thread():
            namespace, _ = run_all(NOTEBOOK, **{
                "INPUT": self.input, "WORKING": self.working, "PRESET": "quick",
                "ENCODER": "tiny", "SETTINGS": SETTINGS, "FOLDS": N_FOLDS,
                "BUDGET": ["--epochs", str(EPOCHS)], "SIDE_BY_SIDE": [], **parameters,
            })  # fmt: skip
        # root may write whatever the modes say, so that they prove nothing
        assert (sorted(self.input.rglob("*")), files_under(self.input)) == before
        return namespace

    def attach_output(self) -> None:
        """Keep what the notebook has made, for its next run."""
        modes(self.input, 0o755)
        shutil.move(self.working, self.input / "notebooks" / "somebody" / "salt")


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    draw_no_curves(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for name in ("SALT_DATA", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")  # set by the notebook, and put back after it
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(subprocess, "Popen", InThisProcess)
    monkeypatch.setattr(InThisProcess, "begun", [])
    made = Kaggle(tmp_path)
    yield made
    modes(made.input, 0o755)  # else only root can remove it


def test_what_one_run_began_the_next_one_finishes(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupt_epoch(patch, EPOCHS + 3)
        kaggle.execute()
    told = capsys.readouterr().out
    assert "1 of 3 folds are trained" in told
    assert told.rstrip().endswith("attach this notebook's output to it, and run it again")
    assert len(pd.read_csv(kaggle.working / "submission.csv")) == N_TEST
    assert [kaggle.run.fold(n).finished for n in range(N_FOLDS)] == [True, False, False]
    first = files_under(kaggle.run.fold(0).path)
    half = pd.read_csv(kaggle.run.fold(1).history)
    assert len(half) == 2

    leave(kaggle.run.fold(1).path, ELSEWHERE)  # as where Kaggle ended it by force
    kaggle.attach_output()
    kaggle.execute()
    told = capsys.readouterr().out
    assert "3 of 3 folds are trained" in told
    assert "attach" not in told
    assert files_under(kaggle.run.fold(0).path) == first
    whole = pd.read_csv(kaggle.run.fold(1).history)
    assert len(whole) == EPOCHS
    pd.testing.assert_frame_equal(whole[:2], half)
    assert len(pd.read_csv(kaggle.working / "submission.csv")) == N_TEST
    assert not list(kaggle.working.rglob("lease-*"))


def test_a_training_that_fails_at_once_gives_no_submission(
    kaggle: Kaggle, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.execute(SETTINGS=["nonsense=1"])
    assert "0 of 3 folds are trained" in capsys.readouterr().out
    assert not (kaggle.working / "submission.csv").exists()
    installed, *others = InThisProcess.begun
    assert installed == [
        sys.executable, "-m", "pip", "install", "--no-index", "--find-links",
        str(kaggle.weights.parents[1] / "salt-wheels"), "kaggle-salt",
    ]  # fmt: skip
    assert [words[3] for words in others] == ["make-folds", "train"]
    cached = [path for path in kaggle.input.parent.rglob("images.npy")]
    assert [path.parents[3].name for path in cached] == ["cache"]


def test_what_is_not_attached_is_named(kaggle: Kaggle) -> None:
    kaggle.weights.unlink()
    with pytest.raises(
        FileNotFoundError, match=r"salt-encoders/tiny\.safetensors is not .* attach"
    ):
        kaggle.execute()


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
def test_training_is_ended_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training cell alone, with a command that ends only when it is asked to."""
    forever = tmp_path / "forever"
    forever.write_text("#!/bin/sh\nexec sleep 600\n", encoding="utf-8")
    forever.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(forever))
    [cell] = [cell for cell in code_cells(NOTEBOOK) if "terminate" in cell]
    namespace = {
        "subprocess": subprocess, "sys": sys, "PRESET": "quick", "ENCODER": None, "SETTINGS": [],
        "BUDGET": [], "SIDE_BY_SIDE": [], "HOURS": 0, "FOLDS": 5, "WORKING": tmp_path,
    }  # fmt: skip
    exec(cell, namespace)
    training = namespace["training"]
    assert isinstance(training, subprocess.Popen)
    assert training.returncode == -15
    assert training.args[-2:] == ["--set", "model.weights=none"]
    assert namespace["finished"] == 0
