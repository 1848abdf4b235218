from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from kaggle_salt.config.stage import OptimizerConfig
from kaggle_salt.errors import TrainingError
from kaggle_salt.learning.batches import targets_of
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.losses import binary_cross_entropy
from kaggle_salt.learning.rate_sweep import suggest, sweep_rates, sweep_stage
from tests.learning.makers import (
    CLASSIC,
    COMPUTE,
    Silent,
    copy_state,
    same_bits,
    start,
    tiny_config,
    tiny_tiles,
)

Batch = tuple[Tensor, Tensor]
SGD = OptimizerConfig(name="sgd", momentum=0)


def batches() -> Iterator[Batch]:
    """Noise, and what a network should make of it; without end, the same in every test."""
    generator = torch.Generator().manual_seed(0)
    while True:
        inputs = torch.randn(4, 1, 4, 4, generator=generator)
        yield inputs, inputs > 0


def network_with_everything() -> nn.Module:
    """Batch norm keeps statistics, dropout draws from torch's generator."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5),
                         nn.Conv2d(4, 1, 1))  # fmt: skip


def sweep(network: nn.Module, rates: list[float], **keys: Any) -> pd.DataFrame:
    def loss_of(batch: Batch) -> Tensor:
        inputs, target = batch
        return nn.functional.binary_cross_entropy_with_logits(network(inputs), target.float())

    config = OptimizerConfig.model_validate({"name": "sgd", "momentum": 0, **keys})
    return sweep_rates(network, batches(), loss_of, config, rates, lambda *_: None, COMPUTE)


class Weight(nn.Module):
    """One number w, whose loss is w squared."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([value]))


def descend(weight: Weight, rates: list[float], config: OptimizerConfig = SGD) -> pd.DataFrame:
    return sweep_rates(
        weight, batches(), lambda _: weight.w.square().sum(), config, rates, lambda *_: None,
        COMPUTE,
    )  # fmt: skip


def test_a_sweep_by_hand() -> None:
    curve = descend(Weight(1.0), [0.25, 0.5, 0.1])
    # w goes 1, 1 - .25 * 2 = .5, .5 - .5 * 1 = 0
    assert list(curve["lr"]) == [0.25, 0.5, 0.1]
    assert list(curve["loss"]) == [1, 0.25, 0]
    # averages .1, .115, .1035 over 1 - .9, 1 - .81, 1 - .729
    assert list(curve["smoothed"]) == pytest.approx([1, 0.115 / 0.19, 0.1035 / 0.271])


def test_the_gradient_is_clipped_as_in_training() -> None:
    clipped = OptimizerConfig(name="sgd", momentum=0, clip=0.5)
    curve = descend(Weight(1.0), [1.0, 1.0], clipped)
    assert list(curve["loss"]) == pytest.approx([1, 0.25])  # a step of 1 * .5


def test_a_sweep_that_diverges_ends_there() -> None:
    # each step multiplies the weight by 1 - 2 * 5 = -9 and the loss by 81
    curve = descend(Weight(1.0), [5.0] * 20)
    assert list(curve["loss"]) == [1, 81]
    assert curve["smoothed"].iloc[-1] > 4 * curve["smoothed"].min()


def test_a_loss_that_is_no_number_ends_the_sweep_and_is_left_out() -> None:
    curve = descend(Weight(1e18), [0.1, 1e38, 0.1, 0.1])
    assert len(curve) == 2
    assert np.isfinite(curve).all(axis=None)
    assert descend(Weight(float("nan")), [0.1]).empty


def test_every_step_is_told() -> None:
    told: list[tuple[int, float]] = []
    weight = Weight(1.0)
    curve = sweep_rates(
        weight, batches(), lambda _: weight.w.square().sum(), SGD, [0.1] * 3,
        lambda step, loss: told.append((step, loss)), COMPUTE,
    )  # fmt: skip
    assert told == [(1, *curve["smoothed"][:1]), (2, *curve["smoothed"][1:2]),
                    (3, *curve["smoothed"][2:])]  # fmt: skip


@pytest.mark.parametrize("training", [False, True])
def test_a_sweep_leaves_network_and_random_state_to_the_bit(training: bool) -> None:
    network = network_with_everything().train(training)
    before, state = copy_state(network), torch.get_rng_state()
    curve = sweep(network, [0.1] * 5, name="adamw")
    assert curve["loss"].nunique() == 5
    assert same_bits(copy_state(network), before)
    assert network.training == training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_sweep_leaves_the_network_as_it_was_when_it_is_interrupted() -> None:
    network = network_with_everything().eval()
    before = copy_state(network)

    def interrupted(step: int, _: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep_rates(
            network,
            batches(),
            lambda batch: network(batch[0]).mean(),
            SGD,
            [0.1] * 5,
            interrupted,
            COMPUTE,
        )
    assert same_bits(copy_state(network), before)
    assert not network.training


def test_a_sweep_trains_in_training_mode_and_repeats_to_the_bit() -> None:
    network = network_with_everything().eval()
    seen: list[bool] = []
    network.register_forward_hook(lambda module, *_: seen.append(module.training))
    assert sweep(network, [0.1] * 3).equals(sweep(network, [0.1] * 3))
    assert seen == [True] * 6


# A stage


def stage_sweep(stage: dict[str, Any], n: int = 12, **keys: Any) -> pd.DataFrame:
    config = tiny_config({"name": "one", "epochs": 1, **stage}, **keys)
    rates = [float(rate) for rate in np.geomspace(1e-4, 1e-1, n)]
    return sweep_stage(config, config.stage[0], tiny_tiles(), 0, rates, COMPUTE, Silent())


def test_the_sweep_of_a_stage_goes_on_beyond_an_epoch() -> None:
    curve = stage_sweep({})  # eight tiles in batches of four: two batches an epoch
    assert len(curve) == 12
    assert curve["loss"].nunique() == 12
    assert curve.equals(stage_sweep({}))


@pytest.mark.parametrize(
    "stage",
    [
        {"loss": {"name": "lovasz"}},
        {"shrink": 2},
        {"optimizer": {"name": "sgd"}},
        {"optimizer": {"normalized": True}},
        {"optimizer": {"clip": 1e-6}},
    ],
    ids=str,
)
def test_what_a_stage_says_of_loss_size_and_optimiser_counts(stage: dict[str, Any]) -> None:
    assert not stage_sweep(stage, n=4).equals(stage_sweep({}, n=4))


def test_epochs_schedule_and_rate_of_a_stage_do_not_count() -> None:
    stage = {"epochs": 3, "optimizer": {"lr": 0.5}, "schedule": {"name": "poly", "warmup": 0.5}}
    assert stage_sweep(stage, n=4).equals(stage_sweep({}, n=4))


def test_a_sweep_begins_as_the_training_does(tmp_path: Path) -> None:
    config = tiny_config({"name": "one", "epochs": 1}, model=CLASSIC)  # with dropout
    training = start(config, tmp_path)
    framing = Framing(training.tiles.tile_shape, config.input)
    tiles, labels = next(iter(training.loader))
    outputs = COMPUTE.outputs(training.network.train(), framing.prepare(tiles))
    logits = framing.unframe(outputs.logits).detach()
    first = float(binary_cross_entropy(logits, targets_of(labels)))
    assert stage_sweep({}, n=1, model=CLASSIC)["loss"][0] == first


# Reading a sweep


def curve_of(smoothed: list[float]) -> pd.DataFrame:
    rates = np.geomspace(1e-6, 1, len(smoothed))
    return pd.DataFrame({"lr": rates, "loss": smoothed, "smoothed": smoothed})


def test_a_reading_by_hand() -> None:
    # a slow descent, a fast one of 21 steps (just the line's width), a plateau, a rise
    slow = [2 - 0.001 * step for step in range(40)]
    fast = [slow[-1] - 0.02 * step for step in range(1, 21)]
    smoothed = [*slow, *fast, fast[-1] - 0.001, *np.linspace(fast[-1], 4, 39)]
    curve = curve_of(smoothed)
    found = suggest(curve)
    assert f"{found.steepest:.1e}" == f"{curve['lr'][49]:.1e}"
    assert f"{found.tenth_of_lowest:.1e}" == f"{curve['lr'][60] / 10:.1e}"
    assert found.steepest == float(f"{found.steepest:.2g}")


def test_one_lucky_batch_does_not_decide() -> None:
    descent = np.concatenate([np.full(40, 1.0), np.linspace(1, 0.5, 31), np.linspace(0.5, 0.9, 29)])
    plain = suggest(curve_of(list(descent))).steepest
    lucky = descent.copy()
    lucky[20] -= 0.1  # a fall six times as steep as the descent, and at once a rise
    assert suggest(curve_of(list(lucky))).steepest == pytest.approx(plain, rel=0.5)


@pytest.mark.parametrize(
    "smoothed",
    [[], [1.0], [1.0, 0.5], [1.0] * 50, list(np.linspace(1, 3, 50))],
    ids=["none", "one", "two", "flat", "rising"],
)
def test_a_sweep_without_a_descent_has_no_reading(smoothed: list[float]) -> None:
    text = rf"falls nowhere in the {len(smoothed)} steps(.|\n)*lower --min and --max"
    with pytest.raises(TrainingError, match=text):
        suggest(curve_of(smoothed))
