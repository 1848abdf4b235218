from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch._dynamo
from torch import Tensor
from torch._inductor.exc import InductorError, InvalidCxxCompiler

from kaggle_salt.config.schema import Config
from kaggle_salt.errors import TrainingError
from kaggle_salt.learning import device
from kaggle_salt.learning.device import explained_failures
from tests.learning.makers import CLASSIC, PowerCut, same_bits, tiny_config, train


@pytest.fixture(autouse=True)
def nothing_compiled_before() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def two_sizes(*, compile: bool) -> Config:
    """Two epochs at half size, then one at full size, with dropout."""
    half = {"name": "half", "epochs": 2, "shrink": 2, "keep": "average"}
    return tiny_config(half, {"name": "full", "epochs": 1}, model=CLASSIC, compile=compile)


Graph = Callable[..., Sequence[Tensor]]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Put a stand-in for the compiler, which runs what was traced; shapes of the inputs traced."""
    shapes: list[torch.Size] = []

    def backend(graph: Graph, inputs: Sequence[Any]) -> Graph:
        shapes.extend(t.shape for t in inputs if t.ndim == 4 and not t.requires_grad)
        return graph

    monkeypatch.setattr(device, "BACKEND", backend)
    return shapes


def test_compiled_steps_train_as_plain_ones_do(tmp_path: Path, traced: list[torch.Size]) -> None:
    plain = train(two_sizes(compile=False), tmp_path / "plain")
    assert not traced
    assert same_bits(train(two_sizes(compile=True), tmp_path / "compiled"), plain)
    # once for each size: neither an epoch nor validation, which has batches of its own, adds one
    assert [tuple(shape) for shape in traced] == [(4, 1, 16, 16), (4, 1, 32, 32)]


def test_folds_share_what_was_compiled(tmp_path: Path, traced: list[torch.Size]) -> None:
    """Or the folds of a run would exceed the number of recompilations that torch allows."""
    for fold in range(3):
        train(two_sizes(compile=True), tmp_path / str(fold))
    assert len(traced) == 2


@pytest.mark.parametrize("epoch", [2, 3])
def test_a_compiled_training_resumes_with_the_same_bits(
    epoch: int, tmp_path: Path, traced: list[torch.Size]
) -> None:
    config = two_sizes(compile=True)
    whole = train(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt, match="steps done"):
        train(config, tmp_path / "cut", PowerCut("steps done", epoch))
    torch.manual_seed(999)
    assert same_bits(train(config, tmp_path / "cut"), whole)


@pytest.mark.compiler
def test_the_compiler_gives_nearly_the_same_losses(tmp_path: Path) -> None:
    stage = {"name": "bce", "epochs": 2}
    plain, fast = tmp_path / "plain", tmp_path / "fast"
    train(tiny_config(stage), plain)
    whole = train(tiny_config(stage, compile=True), fast)
    losses = [pd.read_csv(folder / "history.csv")["train_loss"] for folder in (plain, fast)]
    assert losses[1].tolist() == pytest.approx(losses[0].tolist(), rel=1e-3)
    with pytest.raises(KeyboardInterrupt, match="epoch ends"):
        train(tiny_config(stage, compile=True), tmp_path / "cut", PowerCut("epoch ends", 1))
    assert same_bits(train(tiny_config(stage, compile=True), tmp_path / "cut"), whole)


# --- where it fails


def test_a_missing_compiler_ends_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backend(*_: object) -> None:
        raise InductorError(InvalidCxxCompiler(), None)

    monkeypatch.setattr(device, "BACKEND", backend)
    expected = (
        r"cannot be compiled: InductorError: InvalidCxxCompiler: No working C\+\+ compiler.*\n"
        r"expected: a C\+\+ compiler .*\nnext: --set training\.compile=false$"
    )
    with pytest.raises(TrainingError, match=expected):
        train(tiny_config(compile=True), tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(RuntimeError, match=r"^out of memory$"), explained_failures():
        raise RuntimeError("out of memory")
