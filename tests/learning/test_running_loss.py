"""The mean of an epoch's losses, and what else in an epoch a GPU would have to wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kaggle_salt.config.schema import InputConfig
from kaggle_salt.errors import TrainingError
from kaggle_salt.learning import running_loss, training
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.running_loss import RunningLoss
from tests.learning.makers import SIDE, Silent, start, tiny_config

CPU = torch.device("cpu")


class Losses(Silent):
    """Writes down what a watcher is told of the steps."""

    def __init__(self) -> None:
        self.told: list[tuple[int, float]] = []

    def steps_done(self, steps: int, loss: float) -> None:
        self.told.append((steps, loss))


def script_arrivals(patch: pytest.MonkeyPatch, looks: int) -> None:
    """Let a copy arrive as many looks after it was asked for, as from a GPU at work."""
    asked: list[object] = []

    def has_arrived(copy: running_loss._Copy) -> bool:
        return len(asked) - asked.index(copy) > looks

    usual = running_loss._Copy.ask_for

    def ask_for(total: Tensor, steps: int) -> running_loss._Copy:
        asked.append(usual(total, steps))
        return asked[-1]

    patch.setattr(running_loss._Copy, "ask_for", ask_for)
    patch.setattr(running_loss._Copy, "has_arrived", has_arrived)


# --- the mean


def looks_at(losses: list[float]) -> tuple[list[float | None], float]:
    """A look after each of the losses, and the mean at the end."""
    running = RunningLoss(CPU)
    looks = []
    for loss in losses:
        running.add(torch.tensor(loss, requires_grad=True))
        looks.append(running.look())
    return looks, running.mean()


def test_a_look_on_the_cpu_knows_every_step() -> None:
    assert looks_at([1.0, 3.0, 8.0]) == ([1, 2, 4], 4)


def test_a_look_takes_the_newest_copy_that_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    script_arrivals(monkeypatch, looks=1)
    assert looks_at([1.0, 3.0, 8.0]) == ([None, 1, 2], 4)


def test_what_is_not_a_number_is_seen_when_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    script_arrivals(monkeypatch, looks=2)
    looks, mean = looks_at([1.0, float("nan"), 1.0, 1.0])
    assert looks[:3] == [None, None, 1]
    assert looks[3] != looks[3]
    assert mean != mean


# --- an epoch that is told late


def test_the_watcher_hears_of_the_last_step_in_any_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "LOOK_EVERY", 1)
    at_once, late = Losses(), Losses()
    start(tiny_config(batch_size=2), tmp_path / "at once", at_once).run()
    script_arrivals(monkeypatch, looks=2)
    start(tiny_config(batch_size=2), tmp_path / "late", late).run()
    assert [steps for steps, _ in at_once.told] == [1, 2, 3, 4]
    (_, loss_of_first), *_, last = at_once.told
    assert late.told == [(3, loss_of_first), last]


def test_a_loss_that_is_no_number_is_refused_though_it_arrives_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_arrivals(monkeypatch, looks=1000)
    stage = {"name": "bad", "epochs": 1, "optimizer": {"name": "sgd", "lr": 1e30}}
    with pytest.raises(TrainingError, match=r"'bad' is (nan|inf) in epoch 1"):
        start(tiny_config(stage), tmp_path).run()


# --- an epoch waits for its last step alone

aten = torch.ops.aten

#: What reads numbers, or has a size that depends on them.
READS = {
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.nonzero.default,
    aten.masked_select.default,
}
#: What makes a tensor of Python's numbers, to be copied to the device.
MAKES = {aten.lift_fresh.default}


class Count(TorchDispatchMode):
    """Counts operations for which a GPU's queue would have to drain."""

    def __init__(self, wanted: Collection[object]) -> None:
        super().__init__()
        self.wanted = wanted
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        operation: Any,
        types: object,
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        indices = arguments[1] if operation == aten.index.Tensor else ()
        chooses = any(index is not None and index.dtype == torch.bool for index in indices)
        if operation in self.wanted or chooses:
            self.seen[str(operation)] += 1
        return operation(*arguments, **(options or {}))


STAGES = [
    {"loss": {"name": "lovasz", "phi": "elu"}, "optimizer": {"name": "adamw", "clip": 1.0}},
    {"loss": {"name": "bce+dice"}, "optimizer": {"name": "sgd", "normalized": True}, "keep": "ema"},
    {"loss": {"name": "focal", "ignore_empty": True}, "shrink": 2},
]


@pytest.mark.parametrize("stage", STAGES)
def test_a_step_reads_nothing(stage: dict[str, Any], tmp_path: Path) -> None:
    """Whatever an epoch, its validation and its checkpoint read, two more steps add nothing."""

    def reads(steps: int) -> Counter[str]:
        config = tiny_config({"name": "a", "epochs": 1, **stage}, batch_size=8 // steps)
        job = start(config, tmp_path / str(steps))
        with Count(READS) as counted:
            job.run()
        return counted.seen

    expected = reads(steps=2)
    assert expected["aten._local_scalar_dense.default"] > 0  # it does count
    assert reads(steps=4) == expected


@pytest.mark.parametrize("channels", ["grey", "grey3", "grey+depth"])
def test_framing_copies_nothing_to_the_device(channels: str) -> None:
    framing = Framing((SIDE, SIDE), InputConfig.model_validate({"size": 32, "channels": channels}))
    with Count(READS | MAKES) as counted:
        framing.unframe(framing.prepare(torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)))
    assert not counted.seen


class Strict(Silent):
    """Makes every wait for the GPU an error as soon as an epoch starts."""

    def epoch_starts(self, title: str, steps: int) -> None:
        torch.cuda.set_sync_debug_mode("error")


@pytest.mark.gpu
@pytest.mark.parametrize("stage", STAGES)
def test_an_epoch_on_a_gpu_waits_for_its_last_step_alone(
    stage: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = RunningLoss.mean

    def mean(running: RunningLoss) -> float:
        torch.cuda.set_sync_debug_mode("default")
        return usual(running)

    monkeypatch.setattr(RunningLoss, "mean", mean)
    monkeypatch.setattr(training, "LOOK_EVERY", 1)
    config = tiny_config({"name": "a", "epochs": 2, **stage}, batch_size=1, workers=0)
    job = start(config, tmp_path, Strict(), compute=Compute(torch.device("cuda"), "bf16"))
    job.run()
    assert job.progress.epoch == 2
