"""Forty tiles and a network of a few thousand weights: the whole pipeline in seconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from kaggle_salt.cli import app
from kaggle_salt.cli.console import ConsoleListener
from kaggle_salt.competition.decision import Rule
from kaggle_salt.config.file import load_config, load_run_config
from kaggle_salt.config.readers import read_part
from kaggle_salt.config.schema import Config
from kaggle_salt.ensembling.thresholds import score_at
from kaggle_salt.pipeline.blending import ensemble
from kaggle_salt.pipeline.preparing.prepare import make_fold_table
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage.files import read_json, write_json
from kaggle_salt.synthetic.kaggle_files import write_demo_competition

N_TRAIN, N_TEST, SIZE, N_FOLDS = 40, 8, 32, 3

TINY = """\
[input]
size = 32
channels = "grey"

[model]
architecture = "compact"
weights = "none"
options = { widths = [4, 8], depths = [1, 1], decoder = [4], hypercolumn = 4 }

[augment]
pipeline = "flip"

[training]
batch_size = 4
precision = "float32"

[[stage]]
name = "bce"
epochs = 4
optimizer = { lr = 0.03 }

[[stage]]
name = "swa"
epochs = 1
keep = "average"
loss = { name = "lovasz" }
optimizer = { lr = 0.001 }
"""


def configure(run: Path, text: str) -> None:
    """Give a run another configuration, and let its manifest say so."""
    (run / "config.toml").write_text(text, encoding="utf-8")
    told = read_json(run / "manifest.json")
    write_json(run / "manifest.json", {key: told[key] for key in told if key != "config"})
    config = load_run_config(run / "config.toml")
    write_json(run / "manifest.json", told | {"config": read_part(config)})


def decide_low(patch: pytest.MonkeyPatch, *steps: str) -> None:
    """Let an ensemble's decision be a low threshold: at .5 so small a network has no mask."""
    low = Rule(76, 5, steps)
    patch.setattr(ensemble, "best_decision", lambda tiles: score_at(tiles, low))


def write_data(folder: Path) -> None:
    """Write the competition's files, zipped as Kaggle has them."""
    write_demo_competition(folder, n_train=N_TRAIN, n_test=N_TEST, size=SIZE)


def tiny_config(folder: Path, *overrides: str) -> Config:
    """The tiny configuration, from ``tiny.toml`` in ``folder``, which is written if missing."""
    path = folder / "tiny.toml"
    if not path.exists():
        path.write_text(TINY, encoding="utf-8")
    return load_config(path, overrides)


def write_trained_workspace(folder: Path) -> None:
    """Lay out data, three folds, run ``tiny`` with folds 0 and 1, run ``other`` with 1 and 2."""
    workspace = Workspace.under(folder)
    write_data(workspace.data)
    make_fold_table(workspace, n_folds=N_FOLDS)
    for name, folds, overrides in (
        ("other", "1,2", ["training.seed=1"]),
        ("tiny", "0,1", []),
    ):
        config = tiny_config(folder, *overrides)
        train(workspace, RunFolder(workspace.runs / name), config, folds=folds, device="cpu")


class Salt:
    """What one call of ``salt`` left behind."""

    def __init__(self, arguments: tuple[object, ...]) -> None:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        self.exit_code, self.exception = result.exit_code, result.exception
        self.stdout, self.stderr = result.stdout, result.stderr


def salt(*arguments: object, code: int = 0) -> Salt:
    """Call ``salt`` as a user would; it must end with this exit code, and without a traceback."""
    result = Salt(arguments)
    told = f"salt {' '.join(map(str, arguments))}\n{result.stdout}\n{result.stderr}"
    assert result.exit_code == code, f"{told}\n{result.exception!r}"
    assert "Traceback" not in told
    return result


def refused(code: int, *arguments: object, found: str, expected: str, then: str) -> None:
    """Call ``salt`` with something it refuses, and read the three parts of what it says.

    Args:
        code: The exit code.
        arguments: The command line.
        found: Regular expression of what is said to be wrong.
        expected: Regular expression of what would have been right.
        then: Regular expression of what to do next.
    """
    result = salt(*arguments, code=code)
    assert not result.stdout, "stdout is for results"
    message = "(?s)^(.*\n)?error: (?P<found>.+)\nexpected: (?P<expected>.+)\nnext: (?P<next>.+)$"
    parts = re.match(message, result.stderr)
    assert parts, f"not the three parts of an error:\n{result.stderr}"
    for name, pattern in (("found", found), ("expected", expected), ("next", then)):
        assert re.search(pattern, parts[name]), f"{name}: {parts[name]!r} !~ {pattern!r}"


class Heard(Listener):
    """Writes down what the work has to say."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def files_under(folder: Path) -> dict[str, bytes]:
    """Content of every file under a folder, by its relative path; the tile cache is left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".salt-cache" not in path.parts
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: its sums are always taken in the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def draw_no_curves(patch: pytest.MonkeyPatch) -> None:
    """Put an empty file where a picture would be drawn, which takes longer than to train here."""

    def draw(_: object, path: Path, **__: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    patch.setattr("kaggle_salt.pipeline.training.train.learning_curve", draw)
    patch.setattr("kaggle_salt.pipeline.blending.ensemble.threshold_curve", draw)
    patch.setattr("kaggle_salt.report.prediction_pictures.prediction_grid", draw)


def interrupt_epoch(patch: pytest.MonkeyPatch, number: int) -> None:
    """Press Ctrl-C when the command line's ``number``-th epoch begins, counted from 1."""
    begun = 0
    usual = ConsoleListener.epoch_starts

    def epoch_starts(self: ConsoleListener, title: str, steps: int) -> None:
        nonlocal begun
        begun += 1
        if begun == number:
            raise KeyboardInterrupt
        usual(self, title, steps)

    patch.setattr(ConsoleListener, "epoch_starts", epoch_starts)


def forbid(patch: pytest.MonkeyPatch, target: str) -> None:
    """Make a call of ``target`` (a dotted name) an error."""

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError(f"{target} was called")

    patch.setattr(target, forbidden)


class UploadStandIn:
    """Kaggle's client: takes any CSV and has scored it at once."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str]] = []

    def competition_submissions(self, competition: str) -> list[Any]:
        return [
            SimpleNamespace(
                ref=7, file_name=Path(name).name, status="complete",
                public_score="0.84", private_score="",
            )
            for name, _, _ in self.sent
        ]  # fmt: skip

    def competition_submit(
        self, file_name: str, message: str, competition: str, quiet: bool = False
    ) -> SimpleNamespace:
        self.sent.append((file_name, message, competition))
        return SimpleNamespace(message="Successfully submitted", ref=7)
