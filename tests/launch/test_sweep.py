"""``salt sweep --jobs``: folds of all runs side by side, and the same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kaggle_salt import sweep
from kaggle_salt.errors import ConfigError
from kaggle_salt.launch import sweep as launched
from kaggle_salt.launch.following import Watcher
from kaggle_salt.launch.local import LocalEngine
from kaggle_salt.pipeline.workspace import Workspace
from tests.launch.scripts import in_place_of_processes
from tests.tiny import Heard, salt, tiny_config

SWEEP = """
config = "tiny.toml"
folds = "0"
set = { "stage.*.epochs" = 1 }

[[variant]]
name = "slow"
"stage.*.optimizer.lr" = 0.0001

[[variant]]
name = "wrong"
training.batch_sise = 3
"""

CALL = ("--device", "cpu", "--jobs", "2")


@pytest.fixture
def rates(trained: Path) -> str:
    tiny_config(trained)
    Path("rates.toml").write_text(SWEEP, encoding="utf-8")
    return "rates.toml"


def test_side_by_side_it_is_the_same_and_a_fault_is_one_variants_own(
    rates: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("alone.toml").write_text(SWEEP, encoding="utf-8")
    alone = json.loads(salt("sweep", "alone.toml", "--device", "cpu", "--json", code=1).stdout)
    begun = in_place_of_processes(monkeypatch, -9)  # the first one is killed
    beside = json.loads(salt("sweep", rates, *CALL, "--json", code=1).stdout)
    assert json.dumps(beside).replace("rates", "alone") == json.dumps(alone)
    assert [bool(run["trouble"]) for run in beside["runs"]] == [False, False, True]
    assert [(task.number, task.name) for task in begun] == [
        (0, "rates-base fold 0"), (1, "rates-slow fold 0"), (0, "rates-base fold 0"),
    ]  # fmt: skip
    assert {str(task.log) for task in begun} == {f"runs/rates/logs/sweep{n}.log" for n in (0, 1)}
    for file in ("base/fold0", "slow/fold0"):
        weights = f"{file}/weights.safetensors"
        assert (
            Path(f"runs/rates-{weights}").read_bytes() == Path(f"runs/alone-{weights}").read_bytes()
        )
    assert salt("sweep", rates, *CALL, "--json", code=1).stdout
    assert len(begun) == 3, "what is finished is not launched"


def test_a_fold_that_fails_is_told_with_the_way_on(
    rates: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(rates).write_text(SWEEP.partition('[[variant]]\nname = "wrong')[0])
    with monkeypatch.context() as patch:
        in_place_of_processes(patch, None, 1)
        printed = salt("sweep", rates, *CALL, "--retries", "0", code=1).stdout
    assert "no comparison: there is nothing to compare the base with" in printed
    told = " ".join(printed.split())
    assert "1 of 1 folds of run rates-slow failed: rates-slow fold 0 after 1 try (exit code 1; " \
        "see runs/rates/logs/sweep1.log); go on with what they have: salt train --run rates-slow " \
        "--fold 0 --resume --device cpu" in told  # fmt: skip
    salt(*"train --run rates-slow --fold 0 --resume --device cpu".split())
    assert "is the gain over rates-base real?" in salt("sweep", rates, *CALL).stdout


def test_minutes_are_of_this_machine(rates: str) -> None:
    class Away(LocalEngine):
        elsewhere = True

    Path(rates).write_text("minutes = 5\n" + SWEEP, encoding="utf-8")
    with pytest.raises(ConfigError, match="--minutes 5 for folds that other machines train"):
        launched.sweep(Workspace(), Path(rates), Away(2, "cpu", 0), Watcher(Heard()))
    assert not list(Path("runs").glob("rates*"))


def test_a_notebook_launches_it_too(rates: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = in_place_of_processes(monkeypatch, 2, 2)
    report = sweep(rates, "data", jobs=2, device="cpu", verbose=False)
    assert [run.name for run in report.failed] == ["rates-base", "rates-slow", "rates-wrong"]
    assert len(begun) == 2
