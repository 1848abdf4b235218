from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kaggle_salt.config.stage import LossConfig
from kaggle_salt.learning.losses import (
    binary_cross_entropy,
    dice_loss,
    focal_loss,
    lovasz_hinge,
    make_loss,
)
from kaggle_salt.learning.lovasz import _jaccard_increments, _largest_that_count
from kaggle_salt.learning.outputs import Outputs
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


def backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


# The Lovász hinge


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
    backward(lovasz_hinge(fast, target, phi=phi, symmetric=symmetric))
    expected = slow_lovasz(slow, target, phi)
    if symmetric:
        expected = (expected + slow_lovasz(-slow, ~target, phi)) / 2
    backward(expected)
    assert fast.grad is not None
    assert slow.grad is not None
    torch.testing.assert_close(fast.grad.double(), slow.grad, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
def test_pixels_beyond_the_margin_change_nothing_with_relu(symmetric: bool) -> None:
    """Only the others are sorted; a batch whose tiles differ in how many those are, or has none."""
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, 40, generator=generator) < 0.4
    sign = 2 * target.float() - 1
    logits = sign * (1 + torch.rand(3, 40, generator=generator))  # all beyond the margin
    assert float(lovasz_hinge(logits, target, symmetric=symmetric)) == 0
    logits[1, :5] *= -1  # five of one tile are wrong, and thirty of another
    logits[2, :30] *= -1
    both = (logits.clone().requires_grad_(), logits.double().requires_grad_())
    loss = lovasz_hinge(both[0], target, symmetric=symmetric)
    slow = slow_lovasz(both[1], target, "relu")
    if symmetric:
        slow = (slow + slow_lovasz(-both[1], ~target, "relu")) / 2
    torch.testing.assert_close(loss.double(), slow)
    backward(loss)
    backward(slow)
    assert both[0].grad is not None
    assert both[1].grad is not None
    torch.testing.assert_close(both[0].grad.double(), both[1].grad, atol=1e-6, rtol=1e-5)
    assert torch.count_nonzero(both[0].grad[0]) == 0


@pytest.mark.parametrize("symmetric", [False, True])
def test_all_margins_that_count_are_found_and_no_others(symmetric: bool) -> None:
    """Few are, so that they are picked before they are sorted: another number in each tile."""
    generator = torch.Generator().manual_seed(1)
    target = torch.rand(4, 80, generator=generator) < 0.4
    sign = 2 * target.float() - 1
    margins = -0.5 - torch.rand(4, 80, generator=generator)
    margins[0, [7]] = 1e-3  # hardly within the margin
    margins[1, [3, 30, 60]] = torch.tensor([0.4, 0.9, 1e-4])
    margins[2, 11:20] = torch.linspace(0.01, 1.9, 9)  # the most that are picked: 9 of 80
    both = ((sign * (1 - margins)).requires_grad_(), (sign * (1 - margins)).double())
    both[1].requires_grad_()
    loss = lovasz_hinge(both[0], target, symmetric=symmetric)
    slow = slow_lovasz(both[1], target, "relu")
    if symmetric:
        slow = (slow + slow_lovasz(-both[1], ~target, "relu")) / 2
    torch.testing.assert_close(loss.double(), slow)
    backward(loss)
    backward(slow)
    assert both[0].grad is not None
    assert both[1].grad is not None
    torch.testing.assert_close(both[0].grad.double(), both[1].grad, atol=1e-6, rtol=1e-5)
    assert [len(row.nonzero()) for row in both[1].grad] == [1, 3, 9, 0]


@pytest.mark.parametrize(("wrong", "picked"), [(0, 1), (1, 1), (4, 4), (9, 9), (10, 80), (80, 80)])
def test_margins_are_picked_where_they_are_fewer_than_an_eighth(wrong: int, picked: int) -> None:
    margins = torch.full((2, 80), -1e-3)  # hardly beyond the margin
    margins[1, 80 - wrong :] = torch.linspace(0.1, 1, wrong)
    order = _largest_that_count(margins, "relu")
    assert order.shape == (2, picked)
    assert order[1, :wrong].tolist() == list(range(79, 79 - wrong, -1))
    assert _largest_that_count(margins, "elu").shape == (2, 80)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_jaccard_increments_sum_to_one_and_none_is_negative(labels: list[bool]) -> None:
    order = torch.tensor([labels], dtype=torch.float32)
    increments = _jaccard_increments(order, order.sum(dim=1, keepdim=True))
    assert float(increments.min()) >= -1e-6
    # they telescope to the last Jaccard loss, where every pixel is wrong
    assert float(increments.sum()) == pytest.approx(1, abs=1e-5)


def test_plain_lovasz_reaches_one_pixel_of_an_empty_tile_and_symmetric_all() -> None:
    target = torch.zeros(1, 1, 4, 4)
    touched = {}
    for symmetric in (False, True):
        logits = torch.linspace(-0.5, 0.5, 16).view(1, 1, 4, 4).requires_grad_()
        backward(lovasz_hinge(logits, target, symmetric=symmetric))
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
    backward(loss)
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


# Cross-entropy, Dice, focal


def test_bce_by_hand() -> None:
    logits, target = torch.tensor([[0.0, 2.0]]), torch.tensor([[True, False]])
    expected = (math.log(2) + math.log(1 + math.exp(2))) / 2
    assert float(binary_cross_entropy(logits, target)) == pytest.approx(expected, abs=1e-6)


def test_bce_is_that_of_torch() -> None:
    logits, target = example()
    theirs = F.binary_cross_entropy_with_logits(logits, target.float())
    assert float(binary_cross_entropy(logits, target)) == pytest.approx(float(theirs), abs=1e-6)


def test_dice_by_hand() -> None:
    # probabilities 1/2, 3/4, 1/4, 0; first tile: 2 (1/2 + 3/4) + 1 over 3/2 + 2 + 1
    logits = torch.tensor([[0.0, math.log(3), -math.log(3), -100.0]]).repeat(2, 1)
    target = torch.tensor([[True, True, False, False], [False] * 4])
    empty = 1 - 1 / 2.5  # the sum of the probabilities keeps its slope
    assert float(dice_loss(logits[:1], target[:1])) == pytest.approx(1 - 3.5 / 4.5, abs=1e-6)
    assert float(dice_loss(logits[1:], target[1:])) == pytest.approx(empty, abs=1e-6)
    expected = (1 - 3.5 / 4.5 + empty) / 2
    assert float(dice_loss(logits, target)) == pytest.approx(expected, abs=1e-6)


def test_dice_is_that_of_segmentation_models_pytorch_tile_by_tile() -> None:
    logits, target = example(n=6)
    logits, target = logits[1:], target[1:]  # theirs gives an empty tile no loss
    peer = smp.losses.DiceLoss("binary", smooth=0.5)  # of half the sums: 1 in ours
    theirs = torch.stack([peer(f[None], y[None]) for f, y in zip(logits, target, strict=True)])
    assert float(dice_loss(logits, target)) == pytest.approx(float(theirs.mean()), abs=1e-6)


def test_dice_of_a_perfect_empty_tile_is_zero_and_of_a_wrong_one_almost_one() -> None:
    empty = torch.zeros(1, 1, 9, 9)
    assert float(dice_loss(empty - 100, empty)) == 0
    assert float(dice_loss(empty + 100, empty)) == pytest.approx(1 - 1 / 82)


def test_focal_by_hand() -> None:
    # salt given 1/2, the rest given 3/4 salt: right with 1/2 and with 1/4
    logits, target = torch.tensor([[0.0, math.log(3)]]), torch.tensor([[True, False]])
    expected = (0.5**2 * math.log(2) + 0.75**2 * math.log(4)) / 2
    assert float(focal_loss(logits, target, gamma=2)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_is_that_of_segmentation_models_pytorch(gamma: float) -> None:
    logits, target = example()
    theirs = smp.losses.FocalLoss("binary", gamma=gamma)(logits, target)
    assert float(focal_loss(logits, target, gamma=gamma)) == pytest.approx(float(theirs), abs=1e-6)


def test_focal_without_gamma_is_cross_entropy() -> None:
    logits, target = example()
    expected = float(binary_cross_entropy(logits, target))
    assert float(focal_loss(logits, target, gamma=0)) == pytest.approx(expected, abs=1e-6)


# What make_loss makes of them


LOSSES = [
    *(LossConfig(name=name) for name in ("bce", "dice", "bce+dice")),
    *(LossConfig(name="focal", gamma=gamma) for gamma in (0.5, 2)),
    *(
        LossConfig(name=name, phi=phi, symmetric=symmetric, ignore_empty=symmetric)
        for name in ("lovasz", "bce+lovasz")
        for phi in PHIS
        for symmetric in (False, True)
    ),
]
each_loss = pytest.mark.parametrize(
    "config", LOSSES, ids=lambda c: f"{c.name}-{c.phi}-{c.symmetric}-{c.gamma}"
)


def full_outputs(seed: int = 0, n: int = 5) -> tuple[Outputs, Tensor]:
    """Outputs of a network with every head, and a target whose first tile is empty."""
    logits, target = example(seed, n)
    others = [example(seed + k, n)[0] for k in (1, 2, 3)]
    has_salt = torch.linspace(-1, 2, n)
    return Outputs(logits, (others[0], others[1]), others[2], has_salt), target


def test_every_name_of_the_configuration_is_tried() -> None:
    names = LossConfig.model_fields["name"].annotation
    assert {config.name for config in LOSSES} == set(get_args(names))


@each_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_loss_is_float32_for_half_logits_under_autocast(
    config: LossConfig, dtype: torch.dtype
) -> None:
    outputs, target = full_outputs()
    half = outputs.map(lambda logits: logits.to(dtype))
    with torch.autocast("cpu", dtype=dtype):
        loss = make_loss(config)(half, target)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, make_loss(config)(half.float(), target))


@each_loss
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_every_loss_takes_masks_of_any_type(config: LossConfig, kind: torch.dtype) -> None:
    outputs, target = full_outputs()
    loss = make_loss(config)
    assert torch.equal(loss(outputs, target.to(kind)), loss(outputs, target))


@each_loss
def test_gradients_are_finite_however_sure_the_network_is(config: LossConfig) -> None:
    _, target = example()
    sure = 200 * (2 * target.float() - 1)  # right and wrong beyond any doubt
    for logits in (sure, -sure, torch.zeros_like(sure)):
        leaves = [logits.clone().requires_grad_() for _ in range(3)]
        has_salt = logits[:, 0, 0, 0].clone().requires_grad_()
        loss = make_loss(config)(Outputs(leaves[0], (leaves[1],), leaves[2], has_salt), target)
        backward(loss)
        assert torch.isfinite(loss)
        for leaf in (*leaves, has_salt):
            assert leaf.grad is not None
            assert torch.isfinite(leaf.grad).all()


@each_loss
def test_every_loss_falls_as_the_logits_get_right(config: LossConfig) -> None:
    _, target = example()
    loss = make_loss(config)
    sign = 2 * target.float() - 1
    values = [float(loss(Outputs(size * sign), target)) for size in (-4.0, -1.0, 0.0, 1.0)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4


def test_soft_labels_by_hand() -> None:
    """Logits 0 and 1 for labels .25 and .75: BCE is log(1 + exp(f)) - y f."""
    logits, soft = torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[0.25, 0.75]]]])
    bce = (math.log(2) + math.log(1 + math.e) - 0.75) / 2
    assert make_loss(LossConfig(name="bce"))(Outputs(logits), soft).item() == pytest.approx(bce)
    sure = 1 / (1 + math.exp(-1))
    dice = 1 - (2 * (0.5 * 0.25 + sure * 0.75) + 1) / (0.5 + sure + 1 + 1)
    assert make_loss(LossConfig(name="dice"))(Outputs(logits), soft).item() == pytest.approx(dice)


@pytest.mark.parametrize("name", ["lovasz", "focal"])
def test_where_labels_cannot_be_soft_a_pixel_above_a_half_is_salt(name: Any) -> None:
    logits, target = example()
    soft = torch.where(target, 0.502, 0.498)  # levels 128 and 127
    loss = make_loss(LossConfig(name=name, ignore_empty=True))
    assert loss(Outputs(logits), soft) == loss(Outputs(logits), target)
    assert torch.equal(loss.of_tiles(logits, soft), loss.of_tiles(logits, target))


def test_names_joined_by_plus_are_the_mean_of_both() -> None:
    outputs, target = full_outputs()
    logits = outputs.logits

    def value(**keys: Any) -> float:
        return float(make_loss(LossConfig(**keys))(Outputs(logits), target))

    bce = float(binary_cross_entropy(logits, target))
    lovasz = float(lovasz_hinge(logits, target, phi="elu", symmetric=True))
    assert value(name="bce") == pytest.approx(bce)
    assert value(name="dice") == pytest.approx(float(dice_loss(logits, target)))
    assert value(name="focal", gamma=3) == pytest.approx(float(focal_loss(logits, target, gamma=3)))
    assert value(name="lovasz") == pytest.approx(lovasz)
    assert value(name="bce+lovasz") == pytest.approx((bce + lovasz) / 2)
    dice = float(dice_loss(logits, target))
    assert value(name="bce+dice") == pytest.approx((bce + dice) / 2)
    relu = float(lovasz_hinge(logits, target))
    assert value(name="lovasz", phi="relu", symmetric=False) == pytest.approx(relu)


# The composites by hand. Two tiles of two pixels, one with salt, one empty; BCE as the base loss,
# in units of ln 2: a logit of 0 costs 1, of ln 3 costs 2 (rest taken for salt) or 2 - log2(3)
# (salt), and of -ln 3 the other way round.

LN2, LN3 = math.log(2), math.log(3)
CHEAP = 2 - math.log2(3)
TWO_TILES = torch.tensor([[True, False], [False, False]]).view(2, 1, 1, 2)


def maps(*rows: list[float]) -> Tensor:
    return torch.tensor(rows).view(2, 1, 1, 2)


FINAL = maps([LN3, 0.0], [0.0, LN3])  # tiles cost (CHEAP + 1) / 2 and 3 / 2
SIDES = (maps([0.0, 0.0], [9.0, 9.0]), maps([-LN3, LN3], [9.0, 9.0]))  # with salt: 1 and 2
NONEMPTY = maps([LN3, -LN3], [9.0, 9.0])  # with salt: CHEAP
HAS_SALT = torch.tensor([LN3, LN3])  # CHEAP for the tile with salt, 2 for the empty one

FINAL_COST = ((CHEAP + 1) / 2 + 3 / 2) / 2
EMPTY_COST = (CHEAP + 2) / 2


def test_the_composite_of_the_4th_place_by_hand() -> None:
    config = LossConfig(name="bce", nonempty_weight=0.5, empty_weight=0.05)
    loss = make_loss(config)(Outputs(FINAL, (), NONEMPTY, HAS_SALT), TWO_TILES)
    expected = FINAL_COST + 0.5 * CHEAP + 0.05 * EMPTY_COST
    assert float(loss) / LN2 == pytest.approx(expected, abs=1e-6)


def test_the_composite_of_the_9th_place_by_hand() -> None:
    config = LossConfig(name="bce", side_weight=0.1, empty_weight=0.05)
    loss = make_loss(config)(Outputs(FINAL, SIDES, None, HAS_SALT), TWO_TILES)
    expected = FINAL_COST + 0.1 * (1 + 2) + 0.05 * EMPTY_COST
    assert float(loss) / LN2 == pytest.approx(expected, abs=1e-6)


def test_the_composites_are_the_defaults_with_the_symmetric_lovasz_hinge() -> None:
    outputs, target = full_outputs()
    assert outputs.nonempty is not None
    assert outputs.has_salt is not None

    def symmetric(logits: Tensor, *, ignore_empty: bool = False) -> float:
        keys: dict[str, Any] = {"phi": "elu", "symmetric": True, "ignore_empty": ignore_empty}
        return float(lovasz_hinge(logits, target, **keys))

    has_salt = target.flatten(1).any(dim=1)
    empty = float(F.binary_cross_entropy_with_logits(outputs.has_salt, has_salt.float()))
    sides = sum(symmetric(side, ignore_empty=True) for side in outputs.sides)
    nonempty = symmetric(outputs.nonempty, ignore_empty=True)
    loss = make_loss(LossConfig(name="lovasz"))
    expected = symmetric(outputs.logits) + 0.1 * sides + 0.5 * nonempty + 0.05 * empty
    assert float(loss(outputs, target)) == pytest.approx(expected, abs=1e-6)
    # in evaluation mode a network gives its final logits alone
    final = float(loss(Outputs(outputs.logits), target))
    assert final == pytest.approx(symmetric(outputs.logits), abs=1e-6)


@pytest.mark.parametrize("key", ["side_weight", "nonempty_weight", "empty_weight"])
def test_each_head_counts_with_its_weight(key: str) -> None:
    outputs, target = full_outputs()

    def value(weight: float) -> float:
        config = LossConfig.model_validate({"name": "bce", key: weight})
        return float(make_loss(config)(outputs, target))

    term = value(1) - value(0)
    assert term > 0
    assert value(3) == pytest.approx(value(0) + 3 * term, rel=1e-5)


def test_ignore_empty_leaves_the_empty_tiles_out_of_the_final_term() -> None:
    loss = make_loss(LossConfig(name="bce", ignore_empty=True))
    assert float(loss(Outputs(FINAL), TWO_TILES)) / LN2 == pytest.approx((CHEAP + 1) / 2, abs=1e-6)


@each_loss
def test_without_salt_only_the_final_logits_and_the_empty_head_count(config: LossConfig) -> None:
    outputs, _ = full_outputs()
    target = torch.zeros(5, 1, 7, 7, dtype=torch.bool)
    assert outputs.nonempty is not None
    nonempty = outputs.nonempty.clone().requires_grad_()
    side = outputs.sides[0].clone().requires_grad_()
    loss = make_loss(config)
    total = loss(outputs._replace(sides=(side,), nonempty=nonempty), target)
    backward(total)
    rest = loss(outputs._replace(sides=(), nonempty=None), target)
    assert torch.equal(total.detach(), rest)
    for leaf in (side, nonempty):
        assert leaf.grad is not None
        assert not leaf.grad.any()
    if config.ignore_empty:
        assert float(loss(Outputs(outputs.logits), target)) == 0
