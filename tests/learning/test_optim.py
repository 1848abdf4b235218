from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from kaggle_salt.config.stage import OptimizerConfig, ScheduleConfig
from kaggle_salt.learning.optim import (
    Schedule,
    make_optimizer,
    normalize_gradients,
    set_learning_rate,
)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))


def rates(epochs: int, steps: int, **keys: Any) -> list[float]:
    """Learning rates of all steps of a stage, highest rate 1."""
    schedule = Schedule(ScheduleConfig(**keys), 1.0, epochs, steps)
    return [schedule.learning_rate(step) for step in range(epochs * steps)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adam", torch.optim.Adam), ("adamw", torch.optim.Adam), ("sgd", torch.optim.SGD)],
)
def test_weight_decay_spares_biases_and_norms(name: Any, kind: type) -> None:
    optimizer = make_optimizer(OptimizerConfig(name=name, lr=0.3, weight_decay=0.01), network())
    assert isinstance(optimizer, kind)
    decayed, spared = optimizer.param_groups
    assert [p.ndim for p in decayed["params"]] == [4, 4]
    assert [p.ndim for p in spared["params"]] == [1, 1, 1, 1]
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.01, 0.0)
    assert {group["lr"] for group in optimizer.param_groups} == {0.3}


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_adam_is_torchs_to_the_bit_in_either_layout(name: Any, kind: Any, layout: Any) -> None:
    steps = []
    for ours in (True, False):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(5, 7, 3), nn.Conv2d(7, 3, 1)).to(memory_format=layout)
        config = OptimizerConfig(name=name, lr=0.1, weight_decay=0.2)
        optimizer = make_optimizer(config, net)
        if not ours:
            groups = [
                {key: group[key] for key in ("params", "weight_decay")}
                for group in optimizer.param_groups
            ]
            optimizer = kind(groups, lr=0.1, betas=(config.momentum, 0.999), fused=True)
        for _ in range(3):
            net(torch.randn(2, 5, 6, 6)).square().mean().backward()
            optimizer.step()
        steps.append((net.state_dict(), optimizer.state_dict()))
    (weights, state), (torchs_weights, torchs_state) = steps
    assert state["param_groups"] == torchs_state["param_groups"]  # a resume takes either
    assert all(torch.equal(weights[key], torchs_weights[key]) for key in weights)
    for number, moments in state["state"].items():
        for key, moment in moments.items():
            torchs = torchs_state["state"][number][key]
            assert torch.equal(moment, torchs)
            assert moment.stride() == torchs.stride()


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


def test_cosine_restarts_begin_anew_with_each_cycle() -> None:
    shares = rates(4, 2, name="cosine-restarts", cycle=2, floor=0)
    assert shares[:4] == pytest.approx([1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)])
    assert shares[4:] == shares[:4]


def test_cosine_restarts_over_the_whole_stage_are_the_cosine() -> None:
    plain = rates(3, 4, name="cosine", warmup=0.2)
    assert rates(3, 4, name="cosine-restarts", cycle=3, warmup=0.2) == plain


def test_poly_by_hand() -> None:
    # three quarters, a half and a quarter of the way are left, squared
    shares = rates(2, 2, name="poly", power=2, floor=0.2)
    assert shares == pytest.approx([1, 0.2 + 0.8 * 0.5625, 0.2 + 0.8 * 0.25, 0.2 + 0.8 * 0.0625])


@pytest.mark.parametrize("name", ["cosine", "cosine-restarts", "poly"])
def test_a_descent_ends_just_above_its_floor(name: str) -> None:
    shares = rates(100, 10, name=name, cycle=100, floor=0.1)
    assert min(shares) == shares[-1]
    assert 0.1 < shares[-1] < 0.102


def test_cosine_with_warmup_rises_peaks_and_falls_to_its_floor() -> None:
    shares = rates(10, 10, name="cosine", warmup=0.2, floor=0.01)
    assert shares[0] == pytest.approx(0.04)
    assert shares[10] == pytest.approx(0.52)  # half way up
    assert shares[20] == pytest.approx(1)
    assert shares[60] == pytest.approx((1 + 0.01) / 2)  # half way down
    assert 0.01 < shares[-1] < 0.0105
    assert shares[:21] == sorted(shares[:21])
    assert shares[20:] == sorted(shares[20:], reverse=True)


def test_warmup_of_the_other_schedules() -> None:
    rise = [0.04, 0.28, 0.52, 0.76]
    assert rates(2, 4, name="constant", warmup=0.5) == pytest.approx([*rise, 1, 1, 1, 1])
    falling = [1, 0.75, 0.5, 0.25]
    poly = rates(2, 4, name="poly", warmup=0.5, power=1, floor=0)
    assert poly == pytest.approx([*rise, *falling])
    schedule = Schedule(ScheduleConfig(name="plateau", warmup=0.5, patience=1), 1.0, 2, 4)
    schedule.end_epoch(1.0)
    schedule.end_epoch(1.0)
    warm = [schedule.learning_rate(step) for step in range(8)]
    assert warm == pytest.approx([*rise, 0.1, 0.1, 0.1, 0.1])


def test_warmup_takes_the_first_cycle_only_and_moves_no_restart() -> None:
    shares = rates(12, 2, name="cosine-restarts", cycle=4, warmup=0.5, floor=0)
    falling = [1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)]
    assert shares[:8] == pytest.approx([0.04, 0.28, 0.52, 0.76, *falling])
    plain = rates(12, 2, name="cosine-restarts", cycle=4, floor=0)
    assert shares[8:] == plain[8:]
    assert (plain[8], plain[16]) == (1, 1)


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


# Normalised gradients

Vectors = list[list[float]]
GRADIENTS: list[Vectors] = [  # of two tensors, in three steps; the norms are 5, 2, 0, 1, 10, 4
    [[3.0, 4.0], [2.0]],
    [[0.0, 0.0], [-1.0]],
    [[-6.0, 8.0], [4.0]],
]


def vectors() -> list[nn.Parameter]:
    return [nn.Parameter(torch.tensor([1.0, -1.0])), nn.Parameter(torch.tensor([2.0]))]


def walk(
    optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], scale: float = 1.0
) -> list[Vectors]:
    """Where the parameters are after each step with the gradients above."""
    path = []
    for gradients in GRADIENTS:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = scale * torch.tensor(gradient)
        optimizer.step()
        path.append([parameter.tolist() for parameter in parameters])
    return path


def flat(path: list[Vectors]) -> list[float]:
    return [number for vectors in path for vector in vectors for number in vector]


def unit(gradient: list[float]) -> list[float]:
    norm = math.sqrt(sum(number**2 for number in gradient))
    return [number / norm if norm else 0.0 for number in gradient]


def slow_adam(lr: float) -> list[Vectors]:
    """Adam on normalised gradients, number by number, as its paper writes it."""
    path: list[Vectors] = []
    moments: dict[tuple[int, int], tuple[float, float]] = {}
    places = [parameter.tolist() for parameter in vectors()]
    for step, gradients in enumerate(GRADIENTS, start=1):
        for t, gradient in enumerate(gradients):
            for i, g in enumerate(unit(gradient)):
                first, second = moments.get((t, i), (0.0, 0.0))
                first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g**2
                moments[t, i] = first, second
                mean, square = first / (1 - 0.9**step), second / (1 - 0.999**step)
                places[t][i] -= lr * mean / (math.sqrt(square) + 1e-8)
        path.append([list(place) for place in places])
    return path


def test_a_normalised_step_with_momentum_by_hand() -> None:
    parameters = vectors()
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.5)
    normalize_gradients(optimizer)
    # velocities (.6, .8), 1; then (.3, .4), -.5; then (-.45, 1), .75
    assert flat(walk(optimizer, parameters)) == pytest.approx(
        [0.94, -1.08, 1.9, 0.91, -1.12, 1.95, 0.955, -1.22, 1.875]
    )


def test_normalised_adam_is_adam_on_unit_vectors() -> None:
    parameters = vectors()
    optimizer = torch.optim.Adam(parameters, lr=0.1, fused=True)
    normalize_gradients(optimizer)
    assert flat(walk(optimizer, parameters)) == pytest.approx(flat(slow_adam(0.1)), abs=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_configuration_decides_whether_gradients_are_normalised(name: Any) -> None:
    norms = {}
    for normalized in (False, True):
        net = network()
        optimizer = make_optimizer(OptimizerConfig(name=name, normalized=normalized), net)
        net(torch.linspace(0, 1, 32).view(2, 1, 4, 4)).square().sum().backward()
        optimizer.step()
        norms[normalized] = [float(p.grad.norm()) for p in net.parameters() if p.grad is not None]
    # the first bias has no say before the batch norm: its gradient is rounding, or zero
    assert [norm for n, norm in enumerate(norms[True]) if n != 1] == pytest.approx([1.0] * 5)
    assert norms[False] != pytest.approx(norms[True])


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_size_of_the_loss_does_not_matter(name: Any) -> None:
    def path(scale: float) -> list[float]:
        parameters = nn.ParameterList(vectors())
        config = OptimizerConfig(name=name, lr=0.1, weight_decay=0.1, normalized=True)
        return flat(walk(make_optimizer(config, parameters), list(parameters), scale))

    assert path(1000) == pytest.approx(path(1), abs=1e-6)


def test_zero_tiny_and_missing_gradients_stay_finite() -> None:
    zero, tiny, missing = (nn.Parameter(torch.ones(2)) for _ in range(3))
    zero.grad, tiny.grad = torch.zeros(2), torch.full((2,), 1e-30)
    optimizer = torch.optim.SGD([zero, tiny, missing], lr=1.0)
    normalize_gradients(optimizer)
    optimizer.step()
    assert zero.tolist() == missing.tolist() == [1, 1]
    assert torch.isfinite(tiny).all()
    assert missing.grad is None


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_normalised_steps_go_on_from_a_state(name: Any) -> None:
    config = OptimizerConfig(name=name, lr=0.1, normalized=True)
    straight = nn.ParameterList(vectors())
    optimizer = make_optimizer(config, straight)
    walk(optimizer, list(straight))
    resumed = nn.ParameterList([nn.Parameter(p.detach().clone()) for p in straight])
    again = make_optimizer(config, resumed)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert walk(again, list(resumed)) == walk(optimizer, list(straight))
