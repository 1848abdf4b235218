from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kaggle_salt.config.schema import AugmentConfig, Config
from kaggle_salt.learning import consistency
from kaggle_salt.learning.augment import Augmenter
from kaggle_salt.learning.batches import TrainingTiles, train_loader
from kaggle_salt.learning.consistency import (
    MeanTeacher,
    UnlabelledDataset,
    UnlabelledSampler,
    Views,
)
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.networks import build
from kaggle_salt.learning.outputs import Outputs
from tests.learning.makers import (
    CLASSIC,
    COMPUTE,
    SIDE,
    PowerCut,
    copy_state,
    same_bits,
    start,
    tiny_config,
    tiny_tiles,
)

#: torch advises against more workers than cores; here they are to be there, not to be fast.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

CPU = torch.device("cpu")
WITHOUT_MASKS = 255 - tiny_tiles(10, seed=3).images


def tiles() -> TrainingTiles:
    return replace(tiny_tiles(), unlabelled=WITHOUT_MASKS)


def config_of(model: dict[str, Any] | None = None, epochs: int = 2, **keys: Any) -> Config:
    """A stage with consistency, and one of another size that has it too."""
    wanted = {"weight": 1.0, **keys}
    return tiny_config(
        {"name": "half", "epochs": epochs, "shrink": 2, "consistency": wanted},
        {"name": "ema", "epochs": epochs, "keep": "ema", "consistency": wanted},
        model=model or CLASSIC,
    )


def teacher_of(network: nn.Module, config: Config, steps: int = 4) -> MeanTeacher:
    framing = Framing((SIDE, SIDE), config.input)
    return MeanTeacher(
        config, config.stage[0], network, WITHOUT_MASKS, framing, COMPUTE,
        seed=0, steps=steps, state={},
    )  # fmt: skip


# --- what teacher and student see


def views(epochs: list[int], workers: int = 0, pipeline: str = "light") -> list[Views]:
    sampler = UnlabelledSampler(len(WITHOUT_MASKS), 4, 3, seed=7)
    dataset = UnlabelledDataset(WITHOUT_MASKS, AugmentConfig(pipeline=pipeline), 0.5, 7)
    loader = train_loader(dataset, sampler, CPU, workers)
    found: list[Views] = []
    for sampler.epoch in epochs:
        found += [(weak.clone(), strong.clone(), part.clone()) for weak, strong, part in loader]
    return found


def equal(one: list[Views], other: list[Views]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b)
        for x, y in zip(one, other, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def test_views_depend_on_seed_epoch_and_row_alone() -> None:
    both = views([0, 1])
    assert equal(both, views([0, 1], workers=2))
    assert equal(both[3:], views([1]))
    assert not equal(both[:3], both[3:])


def test_both_see_the_same_tile_at_the_same_place() -> None:
    """The student's is the teacher's with other grey levels; its mirror image it is not."""
    alike, changed = [], 0
    for weak, strong, _ in views(list(range(8)), pipeline="flip"):
        for one, other in zip(weak.double(), strong.double(), strict=True):
            changed += not torch.equal(one, other)
            alike.append(float(torch.corrcoef(torch.stack([one.ravel(), other.ravel()]))[0, 1]))
    assert changed > 0.8 * len(alike)
    assert np.median(alike) > 0.9
    assert len(set(alike)) > 20


def test_what_the_student_sees_is_made_harder_without_moving_anything() -> None:
    mask = tiny_tiles().masks[1]
    for seed in range(20):
        _, moved = Augmenter("none", consistency.HARDER)(WITHOUT_MASKS[0], mask, seed)
        assert np.array_equal(moved, mask)


def test_tiles_come_round_before_any_comes_twice() -> None:
    sampler = UnlabelledSampler(10, 4, 5, seed=0)
    batches = list(sampler)
    assert [len(batch) for batch in batches] == [4] * len(sampler) == [4] * 5
    rows = [row for batch in batches for _, row in batch]
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    sampler.epoch = 1
    assert [row for batch in sampler for _, row in batch] != rows
    assert {epoch for batch in sampler for epoch, _ in batch} == {1}


class Pointwise(nn.Module):
    """Says of each pixel what its own brightness says."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.slope * x


@pytest.mark.parametrize("colour", [False, True])
def test_the_teachers_answers_are_cut_as_the_student_sees_the_tiles(
    colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is made harder, a student with the teacher's weights is never wrong."""
    monkeypatch.setattr(consistency, "HARDER", ())
    config = config_of(cutmix=1.0, loss="mse", tiles=1.0)
    if colour:
        monkeypatch.setattr("tests.learning.test_consistency.WITHOUT_MASKS",
                            np.stack([WITHOUT_MASKS] * 3, axis=-1))  # fmt: skip
    network = Pointwise()
    teacher = teacher_of(network, config)
    framing = Framing((SIDE, SIDE), config.input)
    teacher.begin_epoch(0, 100)
    for _ in range(4):
        seen = teacher.next_tiles()
        assert seen.shape[:3] == (4, SIDE, SIDE)
        logits = framing.unframe(network(framing.prepare(seen)))
        assert teacher.loss(logits).item() == 0
        assert teacher.loss(logits.roll(1, dims=0)).item() > 0


# --- the loss


def test_the_loss_by_hand() -> None:
    """Teacher .5, .75 and 1 - .9; the student says .5 of all: the unsure pixel counts nothing."""
    q = torch.tensor([0.5, 0.75, 0.1])
    by_hand = {
        "mse": (0 + 0.5 * 0.0625 + 0.8 * 0.16) / 3,
        "bce": (0 + 0.5 * math.log(2) + 0.8 * math.log(2)) / 3,
    }
    for name, expected in by_hand.items():
        teacher = teacher_of(Pointwise(), config_of(loss=name, weight=3.0))
        teacher._answers = q
        teacher.begin_epoch(0, 1000)
        logits = torch.zeros(3, requires_grad=True)
        loss = teacher.loss(logits)
        assert loss.item() == pytest.approx(3 * expected)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient[0] == 0
        assert gradient[1] < 0 < gradient[2]


@pytest.mark.parametrize(
    ("step", "share"), [(0, math.exp(-5)), (4, math.exp(-5 / 4)), (8, 1.0), (16, 1.0)]
)
def test_its_weight_rises_over_the_ramp(step: int, share: float) -> None:
    """Half of four epochs of four steps are eight."""
    teacher = teacher_of(Pointwise(), config_of(ramp=0.5, epochs=4, loss="mse"))
    teacher.begin_epoch(0, step)
    teacher._answers = torch.ones(1)
    assert teacher.loss(torch.zeros(1)).item() == pytest.approx(share / 4)


def test_without_a_ramp_it_counts_whole_after_a_step() -> None:
    teacher = teacher_of(Pointwise(), config_of(ramp=0.0, loss="mse"))
    teacher.begin_epoch(0, 0)
    teacher.after_step(Pointwise())
    teacher._answers = torch.ones(1)
    assert teacher.loss(torch.zeros(1)).item() == 0.25


def test_the_teacher_is_the_moving_average_of_the_student() -> None:
    student = Pointwise()
    teacher = teacher_of(student, config_of(decay=0.75, cutmix=0.0))
    mean, count = 2.0, 1
    for value in (4.0, -1.0, 3.0, 0.0, 8.0):
        student.slope.data.fill_(value)
        teacher.after_step(student)
        count += 1
        rate = max(1 / count, 0.25)
        mean += rate * (value - mean)
    teacher.begin_epoch(0, 0)
    teacher.next_tiles()
    assert teacher.network.slope.item() == pytest.approx(mean)
    assert not teacher.network.slope.requires_grad


def test_the_teacher_has_no_dropout_and_leaves_student_and_generator_alone() -> None:
    config = config_of(cutmix=0.0)
    network = build(config.model, 1)
    before, drawn = copy_state(network), torch.get_rng_state()
    answers = []
    for _ in range(2):
        teacher = teacher_of(network.train(), config)
        teacher.begin_epoch(0, 0)
        teacher.next_tiles()
        answers.append(teacher._answers)
        assert not teacher._answers.requires_grad
    assert torch.equal(*answers)
    assert network.training
    assert same_bits(before, copy_state(network))
    assert torch.equal(drawn, torch.get_rng_state())


def test_the_first_of_all_outputs() -> None:
    maps = [torch.arange(3.0).reshape(3, 1, 1, 1) + k for k in range(4)]
    outputs = Outputs(maps[0], (maps[1], maps[2]), maps[3], torch.arange(3.0)).first(2)
    assert outputs.logits.flatten().tolist() == [0, 1]
    assert [side.flatten().tolist() for side in outputs.sides] == [[1, 2], [2, 3]]
    assert outputs.nonempty is not None
    assert outputs.nonempty.flatten().tolist() == [3, 4]
    assert outputs.has_salt is not None
    assert outputs.has_salt.tolist() == [0, 1]


# --- in a training


def trained(config: Config, folder: Path, cut: PowerCut | None = None,
            given: TrainingTiles | None = None) -> dict[str, Tensor]:  # fmt: skip
    job = start(config, folder, cut, given or tiles())
    job.run()
    return copy_state(job.network)


def test_tiles_without_masks_change_the_weights_and_without_weight_nothing(tmp_path: Path) -> None:
    plain = trained(config_of(weight=0.0), tmp_path / "plain", given=tiny_tiles())
    off = trained(config_of(weight=0.0), tmp_path / "off")
    on = trained(config_of(), tmp_path / "on")
    assert same_bits(plain, off)
    assert not same_bits(plain, on)
    others = replace(tiles(), unlabelled=WITHOUT_MASKS[::-1].copy())
    assert not same_bits(on, trained(config_of(), tmp_path / "others", given=others))


def test_workers_do_not_change_the_bits(tmp_path: Path) -> None:
    config = config_of(epochs=1)
    workers = config.training.model_copy(update={"workers": 1})
    two = config.model_copy(update={"training": workers})
    assert same_bits(trained(config, tmp_path / "a"), trained(two, tmp_path / "b"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return trained(config_of(), tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(("moment", "epoch"), [("epoch ends", 1), ("epoch starts", 2),
                                               ("epoch starts", 3), ("steps done", 4)])  # fmt: skip
def test_a_resume_gives_the_bits_of_an_uninterrupted_run(
    moment: str, epoch: int, tmp_path: Path, whole: dict[str, Tensor]
) -> None:
    """In the middle of a stage, between two, and in the last epoch; dropout in the student."""
    with pytest.raises(KeyboardInterrupt, match=moment):
        trained(config_of(), tmp_path, PowerCut(moment, epoch))
    torch.manual_seed(999)
    assert same_bits(trained(config_of(), tmp_path), whole)


def test_a_network_with_every_head_learns_so_too(tmp_path: Path) -> None:
    model = {
        "architecture": "unet", "encoder": "tu-test_resnet", "weights": "none",
        "options": {"deep_supervision": True, "empty_head": True},
    }  # fmt: skip
    final = trained(config_of(model, epochs=1), tmp_path)
    assert all(torch.isfinite(tensor).all() for tensor in final.values())
