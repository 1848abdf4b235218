"""What happens to a training from outside: a process that dies, memory that is short."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from kaggle_salt.errors import TrainingError
from kaggle_salt.learning import training
from kaggle_salt.learning.batches import train_loader
from kaggle_salt.learning.device import Compute, choose_compute
from kaggle_salt.learning.fold import train_fold
from kaggle_salt.learning.inference import predict
from kaggle_salt.learning.mishaps import enough_memory, quiet_worker, set_batch_size
from kaggle_salt.learning.steps import SegmentationStep
from kaggle_salt.learning.training import FoldTraining
from kaggle_salt.runs import FoldFolder
from tests.learning.makers import COMPUTE, Silent, copy_state, same_bits, start, tiny_config
from tests.learning.makers import tiny_tiles as tiles

IDS = [f"tile{number}" for number in range(12)]
STAGE = {"name": "bce", "epochs": 3}


class KillsAWorker(Silent):
    """Kills the second process that loads batches, as the second epoch begins."""

    training: FoldTraining
    epochs = 0

    def epoch_starts(self, title: str, steps: int) -> None:
        self.epochs += 1
        if self.epochs == 2:
            workers = self.training.loader._iterator._workers  # type: ignore[union-attr]
            os.kill(workers[1].pid, signal.SIGKILL)
            workers[1].join()


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_a_loaders_process_that_dies_is_named_and_the_training_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "runs/own/fold0"
    straight = start(tiny_config(STAGE), tmp_path / "straight/fold0")
    straight.run()
    watcher = KillsAWorker()
    watcher.training = start(tiny_config(STAGE, workers=2), folder, watcher)
    resume = r"salt train --run own --fold 0 --resume"
    with pytest.raises(
        TrainingError,
        match=rf"process 2 of 2 that loads batches \(pid \d+\) died by signal SIGKILL(.|\n)*"
        rf"next: go on: {resume}, with --set training.workers=0 added",
    ):
        watcher.training.run()
    del watcher.training.loader
    again = start(tiny_config(STAGE, workers=0), folder)
    assert again.run().epoch == 3
    assert same_bits(copy_state(again.network), copy_state(straight.network))


def short_of_memory(*_: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")


def fold_training(folder: Path, compute: Compute = COMPUTE, batch_size: int = 4) -> None:
    config = tiny_config(STAGE, batch_size=batch_size)
    train_fold(config, tiles(), IDS, FoldFolder(folder / "runs/own/fold0", 0), compute, Silent())


def test_short_memory_says_what_to_set_to_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SegmentationStep, "loss", short_of_memory)
    with pytest.raises(
        TrainingError,
        match=r"out of memory with batches of 4 tiles: OutOfMemoryError: CUDA out of memory\n"
        r"(.|\n)*next: a run with smaller batches: salt train --config \S*/own/config.toml "
        r"--run own-smaller --fold 0 --set training.batch_size=2, or end",
    ):
        fold_training(tmp_path)
    with pytest.raises(TrainingError, match=r"batches of 1 tiles(.|\n)*a lower input.size"):
        fold_training(tmp_path, batch_size=1)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't "
                     "allocate memory: you tried to allocate 9 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    ],
)  # fmt: skip
def test_memory_can_be_short_anywhere(error: Exception) -> None:
    with (
        pytest.raises(TrainingError, match=r"next: --set training.batch_size=16, or"),
        enough_memory(32, set_batch_size),
    ):
        raise error


def test_other_faults_are_not_told_as_short_memory() -> None:
    with pytest.raises(RuntimeError, match="ours"), enough_memory(32, set_batch_size):
        raise RuntimeError("ours")


def test_a_prediction_without_memory_names_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaggle_salt.learning.inference.tile_probabilities", short_of_memory)
    config = tiny_config()
    images = tiles().images
    with pytest.raises(TrainingError, match=r"--set inference.batch_size=32, or end"):
        predict([torch.nn.Identity()], images, images.copy(), framing=None,  # type: ignore[arg-type]
                compute=COMPUTE, config=config.inference)  # fmt: skip


@pytest.mark.gpu
def test_a_full_gpu_says_what_to_set_to_what(tmp_path: Path) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(TrainingError, match=r"out of memory.*(.|\n)*training.batch_size=2"):
            fold_training(tmp_path, choose_compute("cuda"))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize(
    ("optimizer", "precision", "advice"),
    [
        ({"lr": 0.4}, "bf16", "lr=0.1 --set stage.bce.optimizer.clip=1.0, or one with --set train"),
        ({"lr": 1e38}, "float32", "lr=0.001 --set stage.bce.optimizer.clip=1.0$"),
        ({"lr": 0.4, "clip": 0.5}, "float32", "lr=0.1$"),
        ({"lr": 0.4, "clip": 50}, "float32", "lr=0.1 --set stage.bce.optimizer.clip=1.0$"),
    ],
)
def test_no_advice_repeats_what_cannot_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: dict[str, float], precision: str,
    advice: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(training.RunningLoss, "mean", lambda _: float("nan"))
    config = tiny_config({**STAGE, "optimizer": optimizer}, precision=precision)
    compute = choose_compute("cpu", precision)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match=rf"bce.optimizer.{advice}"):
        start(config, tmp_path / "own/fold0", compute=compute).run()


def test_a_loaders_process_says_nothing_of_a_training_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    quiet_worker(0)
    for error in (ConnectionResetError("by peer"), BrokenPipeError(), EOFError()):
        sys.excepthook(type(error), error, None)
    assert capsys.readouterr().err == ""
    sys.excepthook(ValueError, ValueError("a fault"), None)
    assert capsys.readouterr().err == "ValueError: a fault\n"


def test_every_loaders_process_is_told_to_be_quiet() -> None:
    loader = train_loader(TensorDataset(torch.zeros(2)), [[0]], torch.device("cpu"), 1)  # type: ignore[arg-type]
    assert loader.worker_init_fn is quiet_worker
