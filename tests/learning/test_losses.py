from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kaggle_salt.config import LossConfig
from kaggle_salt.learning.losses import (
    _jaccard_increments,
    binary_cross_entropy,
    lovasz_hinge,
    make_loss,
)
from tests.learning.makers import random_masks

PHIS: list[Literal["relu", "elu"]] = ["relu", "elu"]

# The case worked out by hand: margin errors 2, 1.5, .5, -1 (already largest first).
HAND_LOGITS = torch.tensor([[[[1.0, -0.5], [0.5, -2.0]]]])
HAND_TARGET = torch.tensor([[[[False, True], [True, False]]]])
# increments 1/3, 1/3, 1/3, 0; of the mirrored case 1/2, 1/6, 1/12, 1/4
HAND = {
    ("relu", False): 4 / 3,
    ("relu", True): (4 / 3 + 31 / 24) / 2,
    ("elu", False): 7 / 3,
    ("elu", True): (7 / 3 + 3 / 2 + 2.5 / 6 + 1.5 / 12 + math.exp(-1) / 4) / 2,
}


def example(seed: int = 0, n: int = 5, side: int = 7) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.normal(0, 2, (n, 1, side, side)).astype(np.float32))
    return logits, torch.from_numpy(random_masks(rng, n, side))[:, None]


def slow_lovasz(logits: Tensor, target: Tensor, phi: str) -> Tensor:
    """Tile by tile and pixel by pixel, as the definition reads."""
    losses = []
    for f, y in zip(logits.flatten(1), target.flatten(1).to(logits.dtype), strict=True):
        margins = [1 - f[i] * (2 * y[i] - 1) for i in range(len(f))]
        order = sorted(range(len(f)), key=lambda i: -float(margins[i].detach()))
        salt, jaccard_before, loss = float(y.sum()), 0.0, f.new_zeros(())
        hit = missed = 0.0
        for i in order:
            hit, missed = hit + float(y[i]), missed + 1 - float(y[i])
            jaccard = 1 - (salt - hit) / (salt + missed)
            outer = F.relu(margins[i]) if phi == "relu" else F.elu(margins[i]) + 1
            loss = loss + outer * (jaccard - jaccard_before)
            jaccard_before = jaccard
        losses.append(loss)
    return torch.stack(losses).mean()


@pytest.mark.parametrize(("phi", "symmetric"), HAND)
def test_lovasz_of_four_pixels_by_hand(phi: Literal["relu", "elu"], symmetric: bool) -> None:
    loss = lovasz_hinge(HAND_LOGITS, HAND_TARGET, phi=phi, symmetric=symmetric)
    assert float(loss) == pytest.approx(HAND[phi, symmetric], abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_lovasz_is_that_of_segmentation_models_pytorch(seed: int) -> None:
    logits, target = example(seed)
    theirs = smp.losses.LovaszLoss("binary", per_image=True)(logits, target.float())
    assert float(lovasz_hinge(logits, target)) == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.parametrize("phi", PHIS)
@pytest.mark.parametrize("symmetric", [False, True])
def test_loss_and_gradient_are_those_of_the_definition(
    phi: Literal["relu", "elu"], symmetric: bool
) -> None:
    logits, target = example(n=4, side=4)
    fast, slow = logits.clone().requires_grad_(), logits.double().requires_grad_()
    lovasz_hinge(fast, target, phi=phi, symmetric=symmetric).backward()  # type: ignore[no-untyped-call]
    expected = slow_lovasz(slow, target, phi)
    if symmetric:
        expected = (expected + slow_lovasz(-slow, ~target, phi)) / 2
    expected.backward()  # type: ignore[no-untyped-call]
    assert fast.grad is not None
    assert slow.grad is not None
    torch.testing.assert_close(fast.grad.double(), slow.grad, atol=1e-6, rtol=1e-5)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_jaccard_increments_sum_to_one_and_none_is_negative(labels: list[bool]) -> None:
    increments = _jaccard_increments(torch.tensor([labels], dtype=torch.float32))
    assert float(increments.min()) >= -1e-6
    # they telescope to the last Jaccard loss, where every pixel is wrong
    assert float(increments.sum()) == pytest.approx(1, abs=1e-5)


def test_plain_lovasz_reaches_one_pixel_of_an_empty_tile_and_symmetric_all() -> None:
    target = torch.zeros(1, 1, 4, 4)
    touched = {}
    for symmetric in (False, True):
        logits = torch.linspace(-0.5, 0.5, 16).view(1, 1, 4, 4).requires_grad_()
        lovasz_hinge(logits, target, symmetric=symmetric).backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        touched[symmetric] = int((logits.grad != 0).sum())
    assert touched == {False: 1, True: 16}


def test_symmetric_lovasz_does_not_change_when_salt_and_rest_change_places() -> None:
    logits, target = example()
    one = lovasz_hinge(logits, target, phi="elu", symmetric=True)
    other = lovasz_hinge(-logits, ~target, phi="elu", symmetric=True)
    assert float(one) == pytest.approx(float(other), abs=1e-6)


def test_ignore_empty_averages_over_the_tiles_with_salt() -> None:
    logits, target = example(n=5)  # the first tile is empty
    assert float(lovasz_hinge(logits, target, ignore_empty=True)) == pytest.approx(
        float(lovasz_hinge(logits[1:], target[1:])), abs=1e-6
    )
    assert float(lovasz_hinge(logits, target)) != pytest.approx(
        float(lovasz_hinge(logits[1:], target[1:])), abs=1e-3
    )


def test_ignore_empty_is_zero_where_no_tile_has_salt() -> None:
    logits = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = lovasz_hinge(logits, torch.zeros(2, 1, 3, 3), ignore_empty=True)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


LOSSES = [
    LossConfig(name=name, phi=phi, symmetric=symmetric)
    for name in ("bce", "lovasz", "bce+lovasz")
    for phi in PHIS
    for symmetric in (False, True)
]


@pytest.mark.parametrize("config", LOSSES, ids=lambda c: f"{c.name}-{c.phi}-{c.symmetric}")
def test_every_loss_is_float32_for_half_logits_under_autocast(config: LossConfig) -> None:
    logits, target = example()
    half = logits.to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = make_loss(config)(half, target)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, make_loss(config)(half.float(), target))


@pytest.mark.parametrize("config", LOSSES, ids=lambda c: f"{c.name}-{c.phi}-{c.symmetric}")
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_every_loss_takes_masks_of_any_type(config: LossConfig, kind: torch.dtype) -> None:
    logits, target = example()
    loss = make_loss(config)
    assert torch.equal(loss(logits, target.to(kind)), loss(logits, target))


def test_bce_by_hand() -> None:
    logits, target = torch.tensor([[0.0, 2.0]]), torch.tensor([[True, False]])
    expected = (math.log(2) + math.log(1 + math.exp(2))) / 2
    assert float(binary_cross_entropy(logits, target)) == pytest.approx(expected, abs=1e-6)


def test_each_key_of_the_loss_table_changes_the_loss() -> None:
    logits, target = example()

    def value(**keys: Any) -> float:
        return float(make_loss(LossConfig(**keys))(logits, target))

    plain = value(name="lovasz", phi="relu", symmetric=False)
    assert plain == pytest.approx(float(lovasz_hinge(logits, target)), abs=1e-6)
    assert value(name="lovasz", phi="elu", symmetric=False) != plain
    assert value(name="lovasz", phi="relu", symmetric=True) != plain
    both = value(name="bce+lovasz", phi="relu", symmetric=False)
    assert both == pytest.approx((plain + value(name="bce")) / 2, abs=1e-6)
