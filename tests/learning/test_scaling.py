"""float16: a scaled loss, steps that are skipped, and a training that can be cut anywhere."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from kaggle_salt.config.schema import Config, InferenceConfig
from kaggle_salt.config.stage import OptimizerConfig
from kaggle_salt.errors import TrainingError
from kaggle_salt.learning import scaling
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.fold import read_summary, train_fold
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import predict
from kaggle_salt.learning.keeping import Keeper
from kaggle_salt.learning.optim import make_optimizer
from kaggle_salt.learning.rate_sweep import sweep_stage
from kaggle_salt.learning.scaling import LossScaling
from kaggle_salt.learning.training import FoldTraining
from kaggle_salt.runs import FoldFolder
from kaggle_salt.storage.files import read_json, write_json
from tests.learning.makers import (
    CLASSIC,
    COMPUTE,
    SIDE,
    PowerCut,
    Silent,
    copy_state,
    same_bits,
    start,
    tiny_config,
    tiny_tiles,
)

HALF = replace(COMPUTE, precision="float16")
BF16 = replace(COMPUTE, precision="bf16")

#: Times 2 ** 9 it is more than float32 holds.
LARGE = 1e36


def scales(patch: pytest.MonkeyPatch, initial: float, growth: int = 2000) -> None:
    patch.setattr(scaling, "INITIAL_SCALE", initial)
    patch.setattr(scaling, "GROWTH_INTERVAL", growth)


# --- a step


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def losses(network: nn.Module, size: float = 1.0) -> Iterator[Tensor]:
    """Five losses of a network that computes in float32 whatever the format."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        outputs = network(torch.rand(4, 3, generator=generator))
        yield size * (outputs - 3).square().mean()


OPTIMIZERS = [
    OptimizerConfig(name="sgd", lr=0.1, clip=0.5),
    OptimizerConfig(name="adamw", lr=0.1, weight_decay=0.1, clip=0.5),
    OptimizerConfig(name="adam", lr=0.1, normalized=True),
    OptimizerConfig(name="sgd", lr=0.1, normalized=True),
]
each_optimizer = pytest.mark.parametrize(
    "config", OPTIMIZERS, ids=lambda c: f"{c.name}-clip{c.clip:g}-{c.normalized}"
)


@each_optimizer
@pytest.mark.parametrize("compute", [COMPUTE, BF16, HALF], ids=lambda c: c.precision)
def test_steps_are_those_of_a_plain_loop_to_the_bit(
    config: OptimizerConfig, compute: Compute
) -> None:
    """Powers of two cancel exactly: gradients are clipped and normalised as they are unscaled."""
    plain, ours = linear(), linear()
    optimizer = make_optimizer(config, plain)
    for loss in losses(plain):
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if config.clip:
            nn.utils.clip_grad_norm_(plain.parameters(), config.clip)
        optimizer.step()
    scaled, optimizer = LossScaling(compute), make_optimizer(config, ours)
    assert all(scaled.step(loss, ours, optimizer, config.clip) for loss in losses(ours))
    assert same_bits(copy_state(ours), copy_state(plain))
    assert scaled.skipped == 0


@each_optimizer
def test_a_skipped_step_leaves_weights_and_optimiser_as_they_were(config: OptimizerConfig) -> None:
    network = linear()
    scaled, optimizer = LossScaling(HALF), make_optimizer(config, network)
    for loss in losses(network):
        scaled.step(loss, network, optimizer, config.clip)
    before, state = copy_state(network), copy.deepcopy(optimizer.state_dict())
    for loss in losses(network, LARGE):
        assert not scaled.step(loss, network, optimizer, config.clip)
    assert same_bits(copy_state(network), before)
    after = optimizer.state_dict()["state"]
    assert after.keys() == state["state"].keys()
    for number, moments in state["state"].items():
        assert all(torch.equal(after[number][name], value) for name, value in moments.items())


def test_the_scale_is_halved_until_the_gradients_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    scales(monkeypatch, 2.0**11, growth=3)
    network = linear()
    scaled = LossScaling(HALF)
    optimizer = make_optimizer(OptimizerConfig(name="sgd", lr=1e-38), network)
    made, rows, found = [], [], []
    for _ in range(10):
        loss = LARGE * torch.stack([p.sum() for p in network.parameters()]).sum()
        made.append(scaled.step(loss, network, optimizer, 0))
        rows.append(scaled.row)
        found.append(np.log2(scaled.state_dict()["scaler"]["scale"]))
    # after three steps with 2 ** 8 it is tried with 2 ** 9 again
    assert made == [False] * 3 + [True] * 3 + [False] + [True] * 3
    assert rows == [1, 2, 3, 0, 0, 0, 1, 0, 0, 0]
    assert found == [10, 9, 8, 8, 8, 9, 8, 8, 8, 9]
    assert scaled.skipped == 4


def test_a_state_is_gone_on_from(monkeypatch: pytest.MonkeyPatch) -> None:
    scales(monkeypatch, 2.0**9, growth=4)

    def walk(scaled: LossScaling, size: float) -> list[object]:
        network = linear()
        optimizer = make_optimizer(OptimizerConfig(lr=1e-30), network)
        return [
            (scaled.step(loss, network, optimizer, 0), copy.deepcopy(scaled.state_dict()))
            for loss in losses(network, size)
        ]

    whole = LossScaling(HALF)
    walk(whole, LARGE)
    resumed = LossScaling(HALF)
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    assert walk(resumed, LARGE) == walk(whole, LARGE)
    assert walk(resumed, 1.0) == walk(whole, 1.0)


def test_another_number_format_has_no_state_and_takes_none() -> None:
    plain = LossScaling(BF16)
    assert plain.state_dict() == {}
    plain.load_state_dict(LossScaling(HALF).state_dict())
    assert plain.state_dict() == {}
    fresh = LossScaling(HALF)
    fresh.load_state_dict({})
    assert fresh.state_dict() == LossScaling(HALF).state_dict()


# --- a training


def history(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "history.csv").drop(columns="seconds")


def two_stages() -> Config:
    """Averages of every step, an average of epochs, both kinds of optimiser, dropout."""
    return tiny_config(
        {"name": "ema", "epochs": 3, "keep": "ema", "optimizer": {"lr": 0.01, "clip": 1.0},
         "consistency": {"weight": 1.0}},
        {"name": "swa", "epochs": 2, "keep": "average", "loss": {"name": "lovasz"},
         "optimizer": {"name": "sgd", "lr": 0.01, "normalized": True}},
        model=CLASSIC,
    )  # fmt: skip


def half_training(config: Config, folder: Path, watcher: Silent | None = None) -> FoldTraining:
    tiles = replace(tiny_tiles(), unlabelled=tiny_tiles(seed=5).images)
    return start(config, folder, watcher, tiles, HALF)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[FoldTraining, Path]:
    """An uninterrupted training in which steps overflow in both stages, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        scales(patch, 2.0**24, growth=2)
        job = half_training(two_stages(), folder)
        job.run()
    skipped = history(folder)["skipped"]
    assert skipped.iloc[:3].sum() > 0
    assert skipped.iloc[3:].sum() > 0
    assert skipped.sum() < 10  # of as many steps
    return job, folder


@pytest.mark.parametrize(("moment", "epoch"), [("steps done", 1), ("epoch ends", 1),
                         ("epoch starts", 3), ("epoch starts", 4), ("epoch ends", 5)])  # fmt: skip
def test_a_resume_gives_the_bits_of_an_uninterrupted_run_though_steps_overflow(
    moment: str,
    epoch: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: tuple[FoldTraining, Path],
) -> None:
    uncut, folder = whole
    scales(monkeypatch, 2.0**24, growth=2)
    with pytest.raises(KeyboardInterrupt, match=moment):
        half_training(two_stages(), tmp_path, PowerCut(moment, epoch)).run()
    torch.manual_seed(999)
    resumed = half_training(two_stages(), tmp_path)
    resumed.run()
    assert same_bits(copy_state(resumed.network), copy_state(uncut.network))
    assert resumed.scaling.state_dict() == uncut.scaling.state_dict()
    assert history(tmp_path).equals(history(folder))


def test_averages_take_in_no_skipped_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scales(monkeypatch, 2.0**21)
    job = half_training(two_stages(), tmp_path, PowerCut("epoch starts", 3))
    with pytest.raises(KeyboardInterrupt):
        job.run()
    skipped = int(history(tmp_path)["skipped"].sum())
    assert 0 < skipped < 4
    assert job.progress.kept["average"]["count"] == 4 - skipped
    assert job.progress.teacher["count"] == 1 + 4 - skipped  # it begins as the student does


def test_a_moving_average_of_skipped_steps_alone_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scales(monkeypatch, 2.0**120)
    job = start(tiny_config({"name": "a", "epochs": 1, "keep": "ema"}), tmp_path, compute=HALF)
    before = {name: p.detach().clone() for name, p in job.network.named_parameters()}
    job.run()
    assert history(tmp_path)["skipped"].tolist() == [2]
    assert np.isfinite(history(tmp_path)["train_loss"]).all()
    assert all(torch.equal(p, before[name]) for name, p in job.network.named_parameters())


def test_the_loss_falls_as_in_float32(tmp_path: Path) -> None:
    config = tiny_config({"name": "a", "epochs": 6, "optimizer": {"lr": 0.02}}, batch_size=2)
    final = {}
    for compute in (HALF, COMPUTE):
        start(config, tmp_path / compute.precision, compute=compute).run()
        final[compute.precision] = history(tmp_path / compute.precision)
    half, full = final["float16"], final["float32"]
    assert half["train_loss"].iloc[-1] == pytest.approx(full["train_loss"].iloc[-1], rel=0.1)
    assert not half["train_loss"].equals(full["train_loss"])
    assert half["skipped"].tolist() == [0] * 6
    assert "skipped" not in full


def test_an_endless_row_of_skipped_steps_stops_across_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scales(monkeypatch, 2.0**120)
    config = tiny_config({"name": "a", "epochs": 30})  # two steps each
    with pytest.raises(KeyboardInterrupt):
        start(config, tmp_path / "r/fold0", PowerCut("epoch starts", 8), compute=HALF).run()
    expected = (
        r"'a' overflow float16 in 30 steps one after the other, up to step 2 of epoch 15"
        r"(.|\n)*--run r-float32 --fold 0 --set training\.precision=float32"
    )
    with pytest.raises(TrainingError, match=expected):
        start(config, tmp_path / "r/fold0", compute=HALF).run()
    assert len(history(tmp_path / "r/fold0")) == 14


def test_what_no_scale_can_help_stops_as_in_any_format(tmp_path: Path) -> None:
    """The forward pass itself overflows: skipped steps must not hide it."""
    job = start(tiny_config({"name": "a", "epochs": 2}), tmp_path, compute=HALF)
    for parameter in job.network.parameters():
        parameter.data *= 1e6
    with pytest.raises(TrainingError, match=r"'a' is (nan|inf) in epoch 1(.|\n)*precision=float32"):
        job.run()


def test_a_keeper_hears_only_of_steps_that_were_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scales(monkeypatch, 2.0**24)
    heard: list[Tensor] = []

    def after_step(_: Keeper, network: nn.Module) -> None:
        heard.append(torch.cat([p.detach().flatten() for p in network.parameters()]))

    monkeypatch.setattr(Keeper, "after_step", after_step)
    job = start(tiny_config({"name": "a", "epochs": 4}, batch_size=2), tmp_path, compute=HALF)
    job.run()
    assert len(heard) == 16 - history(tmp_path)["skipped"].sum() < 16
    assert not any(torch.equal(a, b) for a, b in pairwise(heard))


def test_a_fold_says_how_many_steps_were_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scales(monkeypatch, 2.0**24)
    folder, config = FoldFolder(tmp_path, 0), tiny_config({"name": "a", "epochs": 3})
    summary = train_fold(config, tiny_tiles(), [f"t{n}" for n in range(12)], folder, HALF, Silent())
    assert summary.skipped == history(tmp_path)["skipped"].sum() > 0
    assert read_summary(folder) == summary
    told = read_json(folder.summary)
    del told["skipped"]  # as of a fold from before there was float16
    write_json(folder.summary, told)
    assert read_summary(folder).skipped == 0


# --- other ways through the network


def test_rates_are_swept_with_a_scaled_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    config, rates = tiny_config(), [1e-4 * 2**k for k in range(10)]

    def sweep(compute: Compute) -> Any:
        return sweep_stage(config, config.stage[0], tiny_tiles(), 0, rates, compute, Silent())

    half, full = sweep(HALF), sweep(COMPUTE)
    assert np.allclose(half["loss"], full["loss"], rtol=0.05)
    assert not half["loss"].equals(full["loss"])
    scales(monkeypatch, 2.0**120)
    still = sweep(HALF)  # each step is skipped: two batches of an epoch, over and over
    assert len(still) == 10


class Large(nn.Module):
    """In float16, infinity less infinity."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(self.convolution.weight, 6e4)

    def forward(self, x: Tensor) -> Tensor:
        large = self.convolution(x.abs() + 2)
        return large - large


def test_what_float16_cannot_hold_is_no_prediction() -> None:
    tiles = tiny_tiles().images
    out = np.zeros_like(tiles)
    framing = Framing((SIDE, SIDE), tiny_config().input)
    settings: dict[str, Any] = {"framing": framing, "config": InferenceConfig()}
    with pytest.raises(TrainingError, match=r"float16 cannot hold(.|\n)*--device cpu"):
        predict([Large()], tiles, out, compute=HALF, **settings)
    predict([Large()], tiles, out, compute=BF16, **settings)
    assert (out == 128).all()


@pytest.mark.gpu
def test_a_training_in_float16_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scales(monkeypatch, 2.0**24)
    compute = Compute(torch.device("cuda"), "float16")
    tiles = replace(tiny_tiles(), unlabelled=tiny_tiles(seed=5).images)
    job = start(two_stages(), tmp_path, PowerCut("epoch starts", 3), tiles, compute)
    with pytest.raises(KeyboardInterrupt):
        job.run()
    skipped = int(history(tmp_path)["skipped"].sum())
    assert skipped > 0
    assert job.progress.kept["average"]["count"] == 4 - skipped
    resumed = start(two_stages(), tmp_path, None, tiles, compute)
    resumed.run()
    assert resumed.progress.epoch == 5
    assert all(torch.isfinite(p).all() for p in resumed.network.parameters())
    out = np.zeros_like(tiles.images)
    framing = Framing((SIDE, SIDE), two_stages().input)
    predict([resumed.network], tiles.images, out, framing=framing, compute=compute,
            config=InferenceConfig())  # fmt: skip


@pytest.mark.gpu
@pytest.mark.parametrize("config", OPTIMIZERS, ids=lambda c: f"{c.name}-{c.clip:g}-{c.normalized}")
def test_steps_on_a_gpu_are_made_or_skipped_as_told(config: OptimizerConfig) -> None:
    compute = Compute(torch.device("cuda"), "float16")
    network = linear().cuda()
    scaled, optimizer = LossScaling(compute), make_optimizer(config, network)
    for _ in range(8):
        before = copy_state(network)
        loss = LARGE * (network(torch.ones(4, 3, device="cuda")) - 3).square().mean()
        made = scaled.step(loss, network, optimizer, config.clip)
        assert made != same_bits(copy_state(network), before)
    assert 0 < scaled.skipped <= 8
