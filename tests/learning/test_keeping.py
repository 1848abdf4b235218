"""What each ``keep`` collects, on a network of one weight that counts the epochs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from kaggle_salt.config.stage import StageConfig
from kaggle_salt.learning.keeping import Keeper, save_weights
from kaggle_salt.runs import FoldFolder

RESTARTS = {"name": "cosine-restarts", "cycle": 2}


def stage(keep: str, **keys: Any) -> StageConfig:
    return StageConfig.model_validate({"name": "s", "epochs": 4, "keep": keep, **keys})


def set_weight(network: nn.Linear, value: float) -> None:
    network.weight.data = torch.tensor([[float(value)]])


def follow(keeper: Keeper, network: nn.Linear, epochs: range, best: int = 0) -> None:
    """Two steps an epoch; the weight ends epoch n at 10 n, and at 10 n - 5 after one step."""
    for epoch in epochs:
        for value in (10 * epoch - 5, 10 * epoch):
            set_weight(network, value)
            keeper.after_step(network)
        keeper.after_epoch(network, epoch, improved=epoch == best)


@pytest.mark.parametrize(
    ("keys", "weight", "batch_norm"),
    [
        ({"keep": "last"}, 40, False),
        ({"keep": "best"}, 30, False),
        ({"keep": "average"}, (10 + 20 + 30 + 40) / 4, True),
        ({"keep": "average", "average_over": "cycles", "schedule": RESTARTS}, 30, True),
        ({"keep": "ema", "ema_decay": 0.0}, 40, True),
        ({"keep": "ema", "ema_decay": 0.5}, 35.0390625, True),
        ({"keep": "snapshots", "schedule": RESTARTS}, 40, False),
    ],
)
def test_by_hand(keys: dict[str, Any], weight: float, batch_norm: bool, tmp_path: Path) -> None:
    """With decay .5 the mean goes half the way to each of 5, 10, 15, ... 40: 5, 7.5, 11.25, ..."""
    network = nn.Linear(1, 1, bias=False)
    keeper = Keeper(stage(**keys), FoldFolder(tmp_path, 0), {})
    follow(keeper, network, range(1, 5), best=3)
    assert keeper.hand_on(network) is batch_norm
    assert network.weight.item() == pytest.approx(weight)


def test_snapshots_are_the_weights_at_the_ends_of_the_cycles(tmp_path: Path) -> None:
    folder, network = FoldFolder(tmp_path, 0), nn.Linear(1, 1, bias=False)
    follow(Keeper(stage("snapshots", schedule=RESTARTS), folder, {}), network, range(1, 5))
    files = [path.name for path in folder.weight_files]
    assert files == ["snapshot1.safetensors", "snapshot2.safetensors"]
    weights = [safetensors.torch.load_file(path)["weight"].item() for path in folder.weight_files]
    assert weights == [20, 40]


@pytest.mark.parametrize("keep", ["best", "average", "ema"])
def test_a_keeper_goes_on_from_its_state(keep: str, tmp_path: Path) -> None:
    folder, network = FoldFolder(tmp_path, 0), nn.Linear(1, 1, bias=False)
    whole = Keeper(stage(keep), folder, {})
    follow(whole, network, range(1, 5), best=2)
    begun = Keeper(stage(keep), folder, {})
    follow(begun, network, range(1, 3), best=2)
    state = copy.deepcopy(begun.state_dict())
    follow(begun, network, range(3, 5))  # what it does after the checkpoint is lost
    resumed = Keeper(stage(keep), folder, state)
    follow(resumed, network, range(3, 5))
    whole.hand_on(network)
    expected = network.weight.item()
    set_weight(network, -1)
    resumed.hand_on(network)
    assert network.weight.item() == expected


def test_best_is_a_copy_that_the_next_step_does_not_change(tmp_path: Path) -> None:
    network = nn.Linear(1, 1, bias=False)
    keeper = Keeper(stage("best"), FoldFolder(tmp_path, 0), {})
    keeper.after_epoch(network, 1, improved=True)
    before = network.weight.item()
    with torch.no_grad():
        network.weight += 1
    keeper.hand_on(network)
    assert network.weight.item() == before


def test_weights_and_buffers_are_written(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 1).to(memory_format=torch.channels_last),
                            nn.BatchNorm2d(3))  # fmt: skip
    save_weights(network, tmp_path / "w.safetensors", {})
    tensors = safetensors.torch.load_file(tmp_path / "w.safetensors")
    assert tensors.keys() == network.state_dict().keys()
    assert all(torch.equal(tensors[name], value) for name, value in network.state_dict().items())
