from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from kaggle_salt.learning.averaging import WeightAverage, reestimate_batch_norm


def run(network: nn.Module, batch: Tensor) -> Tensor:
    output: Tensor = network(batch)
    return output


def short_last() -> Iterator[Tensor]:
    """A full batch around 0 and a short one around 10."""
    generator = torch.Generator().manual_seed(0)
    yield torch.randn(6, 2, 4, 4, generator=generator)
    yield torch.randn(2, 2, 4, 4, generator=generator) + 10


def test_the_mean_of_three_snapshots_is_exact() -> None:
    network, average = nn.Linear(2, 1), WeightAverage()
    for values in ([3.0, 6.0], [6.0, 0.0], [0.0, 12.0]):
        network.weight.data = torch.tensor([values])
        network.bias.data = torch.tensor([values[0]])
        average.update(network)
    average.apply(network)
    assert network.weight.tolist() == [[3.0, 6.0]]
    assert network.bias.tolist() == [3.0]


def test_a_mean_does_not_follow_the_network_on() -> None:
    network, average = nn.Linear(1, 1), WeightAverage()
    average.update(network)
    before = network.weight.item()
    network.weight.data += 1
    average.apply(network)
    assert network.weight.item() == before


def test_a_mean_goes_on_from_its_state() -> None:
    network, whole = nn.Linear(1, 1), WeightAverage()
    snapshots = [torch.tensor([[value]]) for value in (1.0, 2.0, 6.0)]
    for weight in snapshots[:2]:
        network.weight.data = weight.clone()
        whole.update(network)
    resumed = WeightAverage()
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    network.weight.data = snapshots[2].clone()
    resumed.update(network)
    resumed.apply(network)
    assert network.weight.item() == 3.0


def test_an_exponential_average_by_hand() -> None:
    """Decay 1/2: the first two weigh the same, and from then on the latest half of all."""
    network, average = nn.Linear(1, 1), WeightAverage(decay=0.5)
    means = []
    for value in (4.0, 8.0, 2.0, 12.0):
        network.weight.data = torch.tensor([[value]])
        average.update(network)
        means.append(average.mean["weight"].item())
    assert means == [4.0, 6.0, 4.0, 8.0]


def test_a_slow_decay_is_an_equal_mean_as_long_as_that_is_faster() -> None:
    network, slow, equal = nn.Linear(1, 1), WeightAverage(decay=0.9), WeightAverage()
    for number in range(12):
        network.weight.data = torch.tensor([[float(number**2)]])
        slow.update(network)
        equal.update(network)
        same = slow.mean["weight"].item() == equal.mean["weight"].item()
        assert same == (number < 10)  # 1/10 is the rate of both at the tenth


def test_batch_norm_gets_the_weighted_mean_of_the_batches_statistics() -> None:
    network = nn.Sequential(nn.BatchNorm2d(2))
    reestimate_batch_norm(network, short_last(), run)
    full, short = short_last()
    norm = network[0]
    assert isinstance(norm, nn.BatchNorm2d)
    means = 6 / 8 * full.mean((0, 2, 3)) + 2 / 8 * short.mean((0, 2, 3))
    variances = 6 / 8 * full.var((0, 2, 3)) + 2 / 8 * short.var((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
    # the mean is that of all tiles, whatever batches they came in
    torch.testing.assert_close(norm.running_mean, torch.cat([full, short]).mean((0, 2, 3)))


def test_torchs_own_function_counts_a_short_batch_like_a_full_one() -> None:
    ours, theirs = nn.Sequential(nn.BatchNorm2d(2)), nn.Sequential(nn.BatchNorm2d(2))
    reestimate_batch_norm(ours, short_last(), run)
    update_bn(short_last(), theirs)
    for network, expected in ((ours, 2.5), (theirs, 5.0)):
        norm = network[0]
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_mean.tolist() == pytest.approx([expected, expected], abs=0.3)


def test_statistics_of_before_are_forgotten() -> None:
    network, fresh = nn.Sequential(nn.BatchNorm2d(2)), nn.Sequential(nn.BatchNorm2d(2))
    network(torch.full((4, 2, 3, 3), 1000.0))
    reestimate_batch_norm(network, short_last(), run)
    reestimate_batch_norm(fresh, short_last(), run)
    assert torch.equal(network.state_dict()["0.running_mean"], fresh.state_dict()["0.running_mean"])


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_momentum_stay_and_weights_too(training: bool) -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3, momentum=0.3), nn.Dropout(0.5))
    network.train(training)
    weights = {name: p.detach().clone() for name, p in network.named_parameters()}
    reestimate_batch_norm(network, short_last(), run)
    assert {module.training for module in network.modules()} == {training}
    assert isinstance(network[1], nn.BatchNorm2d)
    assert network[1].momentum == 0.3
    assert all(torch.equal(weights[name], p) for name, p in network.named_parameters())


def test_dropout_is_off_meanwhile() -> None:
    with_dropout = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(2))
    without = nn.Sequential(nn.Identity(), nn.BatchNorm2d(2))
    reestimate_batch_norm(with_dropout, short_last(), run)
    reestimate_batch_norm(without, short_last(), run)
    for name, value in without.state_dict().items():
        assert torch.equal(value, with_dropout.state_dict()[name])


def test_a_second_norm_sees_what_the_first_lets_through_in_its_batch() -> None:
    network = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    reestimate_batch_norm(network, short_last(), run)
    # each batch is normalised by itself, so that the second norm finds mean 0 both times
    mean = network.state_dict()["1.running_mean"]
    assert mean.tolist() == pytest.approx([0, 0], abs=1e-5)


def test_a_network_without_batch_norm_is_not_run() -> None:
    def never(network: nn.Module, batch: Tensor) -> Tensor:
        raise AssertionError("there is nothing to estimate")

    reestimate_batch_norm(nn.Conv2d(2, 1, 1), short_last(), never)
    reestimate_batch_norm(nn.BatchNorm2d(2, track_running_stats=False), short_last(), never)
