"""``salt train --log tensorboard``: the history as events, each epoch once."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.event_log import logged
from kaggle_salt.pipeline.workspace import Listener
from tests.tiny import interrupt_epoch, refused, salt

MODULE = "torch.utils.tensorboard"
TRAIN = ("train", "--config", "tiny.toml", "--run", "tiny", "--device", "cpu", "--log",
         "tensorboard")  # fmt: skip


class Writer:
    """Writes what torch's SummaryWriter is told, a line of JSON each."""

    def __init__(self, folder: str) -> None:
        Path(folder).mkdir()
        self.path = Path(folder) / "events"

    def add_scalar(self, name: str, value: float, step: int) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, value, step]) + "\n")

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.path.with_name("closed").touch()


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = ModuleType(MODULE)
    stand_in.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MODULE, stand_in)


def expected(fold: int) -> list[list[object]]:
    history = pd.read_csv(f"runs/tiny/fold{fold}/history.csv")
    return [
        [name, row[name], row["epoch"]]
        for row in history.to_dict("records")
        for name in history.columns
        if name not in ("epoch", "stage")
    ]


def events(fold: int) -> list[list[object]]:
    lines = Path(f"runs/tiny/fold{fold}/tensorboard/events").read_text(encoding="utf-8")
    return [json.loads(line) for line in lines.splitlines()]


@pytest.mark.usefixtures("writer")
def test_events_have_the_names_and_numbers_of_the_history(trained: Path) -> None:
    """Fold 0 was finished before, without events; fold 2 is trained now."""
    salt(*TRAIN, "--fold", "0,2")
    for fold in (0, 2):
        assert events(fold) == expected(fold)
        assert Path(f"runs/tiny/fold{fold}/tensorboard/closed").exists()
    assert {name for name, _, _ in events(2)} >= {"lr", "train_loss", "val_loss", "score"}
    assert not Path("runs/tiny/fold1/tensorboard").exists()


@pytest.mark.usefixtures("writer")
def test_after_a_resume_each_epoch_is_there_once(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_epoch(patch, 3)
        salt(*TRAIN, "--fold", "2", code=130)
    assert {step for _, _, step in events(2)} == {1, 2}
    salt(*TRAIN, "--fold", "2", "--resume")
    assert events(2) == expected(2)


def test_without_the_package_nothing_is_trained(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, MODULE, None)
    refused(2, *TRAIN, "--fold", "2", found="TensorBoard is not installed",
            expected="the extra tensorboard", then="pip install 'kaggle-salt")  # fmt: skip
    assert not Path("runs/tiny/fold2").exists()


def test_another_log_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--log tensorbord\nexpected: did you mean 'tensorboa"):
        with logged(Listener(), "tensorbord"):
            pass
    with logged(listener := Listener(), None) as same:
        assert same is listener


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed"
)
def test_tensorboard_reads_them(trained: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    salt(*TRAIN, "--fold", "0")
    read = EventAccumulator("runs/tiny/fold0/tensorboard")
    read.Reload()
    history = pd.read_csv("runs/tiny/fold0/history.csv")
    for name in ("lr", "score"):
        found = [(one.step, one.value) for one in read.Scalars(name)]
        assert [step for step, _ in found] == history["epoch"].tolist()
        assert [value for _, value in found] == pytest.approx(history[name].tolist())


def test_the_example_for_wandb_reads_the_history(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code of docs/comparing.md, run with a stand-in for the package."""
    logs: dict[str, list[tuple[dict[str, object], int]]] = {}

    class Log:
        def __init__(self, name: str, **_: str) -> None:
            self.rows = logs.setdefault(name, [])

        def __enter__(self) -> Log:
            return self

        def __exit__(self, *_: object) -> None: ...

        def log(self, row: dict[str, object], step: int) -> None:
            self.rows.append((row, step))

    stand_in = ModuleType("wandb")
    stand_in.init = Log  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    text = (Path(__file__).parents[2] / "docs/comparing.md").read_text(encoding="utf-8")
    exec(text.partition("```python\n")[2].partition("```")[0], {})
    assert set(logs) == {"tiny/fold0", "tiny/fold1", "other/fold1", "other/fold2"}
    assert [step for _, step in logs["tiny/fold0"]] == [1, 2, 3, 4, 5]
    assert logs["tiny/fold0"][0][0].keys() >= {"stage", "lr", "score"}
