from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from kaggle_salt.config import OptimizerConfig, ScheduleConfig
from kaggle_salt.learning.optim import Schedule, make_optimizer, set_learning_rate


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))


def rates(epochs: int, steps: int, **keys: Any) -> list[float]:
    """Learning rates of all steps of a stage, highest rate 1."""
    schedule = Schedule(ScheduleConfig(**keys), 1.0, epochs, steps)
    return [schedule.learning_rate(step) for step in range(epochs * steps)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)],
)
def test_weight_decay_spares_biases_and_norms(name: Any, kind: type) -> None:
    optimizer = make_optimizer(OptimizerConfig(name=name, lr=0.3, weight_decay=0.01), network())
    assert type(optimizer) is kind
    decayed, spared = optimizer.param_groups
    assert [p.ndim for p in decayed["params"]] == [4, 4]
    assert [p.ndim for p in spared["params"]] == [1, 1, 1, 1]
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.01, 0.0)
    assert {group["lr"] for group in optimizer.param_groups} == {0.3}


def test_frozen_parameters_are_left_out() -> None:
    net = network()
    net[0].requires_grad_(False)
    optimizer = make_optimizer(OptimizerConfig(), net)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4


def test_a_group_without_parameters_is_left_out() -> None:
    assert len(make_optimizer(OptimizerConfig(), nn.Linear(2, 2, bias=False)).param_groups) == 1


def test_momentum_is_nesterovs_or_the_first_beta() -> None:
    sgd = make_optimizer(OptimizerConfig(name="sgd", momentum=0.8), network())
    assert (sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.8, True)
    adam = make_optimizer(OptimizerConfig(name="adam", momentum=0.8), network())
    assert adam.defaults["betas"] == (0.8, 0.999)


def test_plain_gradient_descent_without_momentum() -> None:
    optimizer = make_optimizer(OptimizerConfig(name="sgd", momentum=0), network())
    assert (optimizer.defaults["momentum"], optimizer.defaults["nesterov"]) == (0, False)


def test_the_learning_rate_reaches_every_group() -> None:
    optimizer = make_optimizer(OptimizerConfig(lr=1.0), network())
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


def test_the_rate_is_a_share_of_the_highest() -> None:
    schedule = Schedule(ScheduleConfig(name="cosine", floor=0), 0.02, epochs=2, steps_per_epoch=5)
    assert schedule.learning_rate(5) == pytest.approx(0.01)


def test_constant() -> None:
    assert rates(2, 3, name="constant") == [1.0] * 6


def test_cosine_by_hand() -> None:
    # 0, a quarter, a half, three quarters of the way from 1 to .2
    quarter = 0.2 + 0.4 * (1 + math.sqrt(0.5))
    assert rates(2, 2, name="cosine", floor=0.2) == pytest.approx([1, quarter, 0.6, 1.2 - quarter])


def test_cosine_ends_just_above_its_floor() -> None:
    last = rates(10, 10, name="cosine", floor=0.1)[-1]
    assert 0.1 < last < 0.101


def test_cosine_restarts_begin_anew_with_each_cycle() -> None:
    shares = rates(4, 2, name="cosine-restarts", cycle=2, floor=0)
    assert shares[:4] == pytest.approx([1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)])
    assert shares[4:] == shares[:4]


def test_one_cycle_rises_peaks_and_falls_to_its_floor() -> None:
    shares = rates(10, 10, name="one-cycle", warmup=0.2, floor=0.01)
    assert shares[0] == pytest.approx(0.04)
    assert shares[10] == pytest.approx(0.52)  # half way up
    assert shares[20] == pytest.approx(1)
    assert shares[60] == pytest.approx((1 + 0.01) / 2)  # half way down
    assert 0.01 < shares[-1] < 0.0105
    assert shares[:21] == sorted(shares[:21])
    assert shares[20:] == sorted(shares[20:], reverse=True)


def test_one_cycle_without_warmup_starts_at_the_peak() -> None:
    assert rates(2, 2, name="one-cycle", warmup=0)[0] == 1


def plateau(**keys: Any) -> Schedule:
    config = ScheduleConfig(name="plateau", factor=0.1, patience=2, floor=0.005, **keys)
    return Schedule(config, 1.0, 20, 1)


def test_plateau_by_hand() -> None:
    schedule = plateau()
    shares = []
    for cost in [5, 4, 4, 4, 3, 3, 3.5, 3.1, 3.1]:
        schedule.end_epoch(cost)
        shares.append(schedule.learning_rate(0))
    # two epochs without improvement divide the rate by ten; the floor is the end
    assert shares == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.005])


def test_plateau_goes_on_from_its_state() -> None:
    whole, half = plateau(), plateau()
    costs = [5.0, 4.0, 4.0, 4.0, 3.9, 3.9, 3.9]
    for cost in costs[:3]:
        whole.end_epoch(cost)
        half.end_epoch(cost)
    resumed = plateau()
    resumed.state = dict(half.state)
    for cost in costs[3:]:
        whole.end_epoch(cost)
        resumed.end_epoch(cost)
        assert resumed.learning_rate(0) == whole.learning_rate(0)
    assert whole.learning_rate(0) == pytest.approx(0.01)


def test_other_schedules_do_not_listen_to_costs() -> None:
    schedule = Schedule(ScheduleConfig(name="cosine", patience=1), 1.0, 4, 1)
    for _ in range(3):
        schedule.end_epoch(1.0)
    assert schedule.learning_rate(0) == 1
