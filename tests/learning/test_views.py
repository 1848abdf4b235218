"""Two views of a tile: the same place is read in both, and VICReg is what its paper says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kaggle_salt.config.schema import Config, ModelConfig
from kaggle_salt.learning.networks import build
from kaggle_salt.learning.views import (
    FeatureNetwork,
    View,
    common_places,
    principal_colours,
    vicreg_loss,
)
from tests.learning.makers import COMPACT

#: Small networks of every make, with all heads where they can have some.
MODELS = [
    COMPACT,
    {"architecture": "classic-unet", "options": {"widths": [4, 8]}},
    {"architecture": "resunet", "options": {"widths": [4, 8, 8]}},
    {
        "architecture": "unet",
        "encoder": "tu-test_resnet",
        "options": {"deep_supervision": True, "empty_head": True, "hypercolumn": True},
    },
    {"architecture": "fpn", "encoder": "tu-test_resnet"},
]


def pair(seed: int = 0, count: int = 6) -> tuple[View, View]:
    torch.manual_seed(seed)
    cpu = torch.device("cpu")
    return View.draw(count, 0.6, cpu), View.draw(count, 0.6, cpu)


def ramps(count: int, side: int) -> Tensor:
    """Two channels that tell the place, x and y from -1 to 1."""
    places = (torch.arange(side) + 0.5) / side * 2 - 1
    x, y = places.expand(side, side), places[:, None].expand(side, side)
    return torch.stack([x, y]).expand(count, 2, side, side).clone()


def test_views_lie_in_the_tile_and_half_of_them_are_mirrored() -> None:
    view, _ = pair(count=400)
    assert (view.half.abs() >= 0.6).all()
    assert (view.centre.abs() + view.half.abs() <= 1 + 1e-6).all()
    assert 0.4 < float((view.half[:, 0] < 0).float().mean()) < 0.6
    assert (view.half[:, 1] > 0).all(), "gravity tells up from down"


def test_a_whole_view_is_the_tile_and_a_mirrored_one_its_mirror_image() -> None:
    tile = torch.rand(1, 1, 8, 8)
    whole = View(torch.zeros(1, 2), torch.ones(1, 2))
    assert torch.allclose(whole.of(tile), tile, atol=1e-5)
    mirrored = View(torch.zeros(1, 2), torch.tensor([[-1.0, 1.0]]))
    assert torch.allclose(mirrored.of(tile), tile.flip(3), atol=1e-5)


def test_places_are_seen_by_both_views_and_are_the_same_there() -> None:
    views = pair()
    places = common_places(*views, 50)
    for view in views:
        assert ((places - view.centre[:, None]).abs() <= view.half[:, None].abs() + 1e-6).all()
        seen = view.of(ramps(6, 64))  # as if the features told the place
        read = view.read(seen, places)  # [6, 50, 2]
        assert torch.allclose(read, places, atol=0.02)


def slow_vicreg(one: np.ndarray, other: np.ndarray, weight: float) -> float:
    """Term by term, tile by tile."""
    total = float(((one - other) ** 2).mean())
    for seen in (one, other):
        tiles, places, width = seen.shape
        rest = seen - seen.mean(axis=1, keepdims=True)
        rest = rest - rest.mean(axis=0, keepdims=True)
        pooled = sum(tile.T @ tile for tile in rest) / ((tiles - 1) * (places - 1))
        lacking = [max(0.0, 1 - np.sqrt(pooled[d, d] + 1e-4)) for d in range(width)]
        mixed = [pooled[i, j] ** 2 for i in range(width) for j in range(width) if i != j]
        total += float(np.mean(lacking)) / 2 + weight * sum(mixed) / width
    return total


def test_vicreg_is_that_of_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 4, 6, 3)) * 0.7
    found = vicreg_loss(torch.from_numpy(one), torch.from_numpy(other), 0.04)
    assert float(found) == pytest.approx(slow_vicreg(one, other, 0.04), rel=1e-6)


def test_features_that_only_know_tile_and_place_cost_as_much_as_none() -> None:
    """They agree perfectly and differ, and nothing could be segmented by them."""
    of_tiles = torch.randn(8, 1, 4) + torch.randn(1, 16, 4)
    nothing = torch.zeros(8, 16, 4)
    assert float(vicreg_loss(of_tiles, of_tiles, 0.04)) == pytest.approx(0.99, abs=0.01)
    assert float(vicreg_loss(nothing, nothing, 0.04)) == pytest.approx(0.99, abs=0.01)
    torch.manual_seed(0)
    of_places = torch.randn(64, 64, 4)
    assert float(vicreg_loss(of_places, of_places, 0.04)) < 0.05


@pytest.mark.parametrize("model", MODELS, ids=lambda model: str(model["architecture"]))
def test_features_are_what_the_logits_are_made_of(model: dict[str, object]) -> None:
    """Where they are zero, the logits are the last convolution's bias, or zero."""
    torch.manual_seed(0)
    network = build(ModelConfig.model_validate({"weights": "none", **model}), 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    learner = FeatureNetwork(network, 1, (32, 32))
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    learner.eval()
    inputs = torch.randn(2, 1, 32, 32)
    features = learner(inputs)
    assert features.ndim == 4
    assert len(features) == 2
    first = learner.projector[0]
    assert isinstance(first, nn.Linear)
    assert first.in_features == features.shape[1]
    for parameter in network.parameters():
        parameter.grad = None
    features.square().sum().backward()
    convolutions = [one for one in network.modules() if isinstance(one, nn.Conv2d)]
    unused = [one for one in convolutions if one.weight.grad is None]
    outputs = {one.out_channels for one in unused}
    assert outputs <= {1, 4, network_hidden(network)}, "only heads lie behind the features"


def network_hidden(network: nn.Module) -> int:
    """Channels between the two convolutions of a head that only training runs."""
    branch = getattr(getattr(network, "empty_head", None), "nonempty", None)
    return branch[1][0].out_channels if branch is not None else 1


def test_training_the_features_trains_the_network_itself() -> None:
    network = build(Config.model_validate({"model": COMPACT, "stage": [
        {"name": "a", "epochs": 1}]}).model, 1)  # fmt: skip
    learner = FeatureNetwork(network, 1, (32, 32))
    names = {name for name, _ in learner.named_parameters()}
    assert {f"network.{name}" for name, _ in network.named_parameters()} < names
    assert any(name.startswith("projector.") for name in names)


def test_colours_are_the_principal_components() -> None:
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    strengths = np.array([9.0, 4.0, 2.0, 0.01, 0.01])
    scores = rng.uniform(-1, 1, (2 * 6 * 7, 5)) * strengths
    features = (scores @ axes.T).reshape(2, 6, 7, 5).transpose(0, 3, 1, 2).astype(np.float32)
    colours = principal_colours(features).reshape(-1, 3)
    assert colours.min() == 0
    assert colours.max() == 1
    for component in range(3):
        found = abs(np.corrcoef(colours[:, component], scores[:, component])[0, 1])
        assert found > 0.9


def test_two_features_leave_a_colour_in_the_middle() -> None:
    colours = principal_colours(np.random.default_rng(0).random((1, 2, 4, 4), np.float32))
    assert (colours[..., 2] == 0.5).all()
