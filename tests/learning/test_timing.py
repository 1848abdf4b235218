from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor

from kaggle_salt.learning.consistency import MeanTeacher
from kaggle_salt.learning.timing import (
    STEPS,
    TIMED,
    WARM_UP,
    StageTime,
    stage_costs,
    time_stages,
)
from tests.learning.makers import COMPUTE, tiny_config, tiny_tiles

BCE = {"name": "bce", "epochs": 20, "optimizer": {"lr": 0.1}}
LOVASZ = {"name": "lovasz", "epochs": 9, "loss": {"name": "lovasz"}}


class Ticks:
    """A clock that is a second later whenever it is looked at; told seconds come on top."""

    def __init__(self, *more: float) -> None:
        self.now, self.looks = 0.0, 0
        self.more = dict(enumerate(more))

    def __call__(self) -> float:
        self.now += 1 + self.more.get(self.looks, 0)
        self.looks += 1
        return self.now


def test_each_stage_is_timed_after_a_warm_up() -> None:
    """The clock is looked at when an epoch begins, is trained and is validated."""
    clock = Ticks(0, 8)  # the first epoch is trained eight seconds longer
    config = tiny_config(BCE, LOVASZ)
    tiles = tiny_tiles(n=24)  # 20 to train on: STEPS batches of 4 are taken; 4 to validate
    first, second = time_stages(config, tiles, COMPUTE, clock=clock)
    assert first == StageTime(step=1 / STEPS, validation=1 / 4, checkpoint=1, warm_up=8)
    assert second == StageTime(step=1 / STEPS, validation=1 / 4, checkpoint=1, warm_up=0)
    assert clock.looks == 3 * 2 * (WARM_UP + TIMED)


def test_stages_that_cost_the_same_are_timed_once() -> None:
    swa = {**LOVASZ, "name": "swa", "keep": "average", "optimizer": {"lr": 0.001}}
    half = {**LOVASZ, "name": "half", "shrink": 2}
    clock = Ticks(*[0] * 9, 0, 8)  # the second kind warms up for eight seconds
    times = time_stages(tiny_config(BCE, LOVASZ, swa, half), tiny_tiles(24), COMPUTE, clock=clock)
    assert [time.warm_up for time in times] == [0, 8, 0, 0], "what comes once comes once"
    assert times[2] == replace(times[1], warm_up=0)
    assert clock.looks == 3 * 3 * (WARM_UP + TIMED)


def test_timing_leaves_the_tiles_as_they_are_and_needs_few() -> None:
    tiles = tiny_tiles(n=6, n_validation=3)  # fewer than a batch
    before = tiles.images.copy()
    [time] = time_stages(tiny_config(), tiles, COMPUTE, clock=Ticks())
    assert time.step == 1, "an epoch of one step"
    np.testing.assert_array_equal(tiles.images, before)


def test_a_rate_at_which_the_training_would_diverge_is_timed_as_any() -> None:
    wild = {**BCE, "optimizer": {"lr": 1e30}}
    assert len(time_stages(tiny_config(wild), tiny_tiles(24), COMPUTE, clock=Ticks())) == 1


def test_tiles_without_masks_are_timed_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    usual = MeanTeacher.next_tiles

    def next_tiles(self: MeanTeacher) -> Tensor:
        asked.append(1)
        return usual(self)

    monkeypatch.setattr(MeanTeacher, "next_tiles", next_tiles)
    tiles = replace(tiny_tiles(24), unlabelled=tiny_tiles(5).images)
    time_stages(tiny_config({**BCE, "consistency": {"weight": 1.0}}), tiles, COMPUTE, clock=Ticks())
    assert len(asked) == STEPS * (WARM_UP + TIMED)


TIME = StageTime(step=2, validation=0.5, checkpoint=1, warm_up=7)


@pytest.mark.parametrize(
    ("stage", "once"),
    [
        ({}, 2 * 4 * 0.5),  # out of fold, twice as flipped
        ({"keep": "average"}, (20 + 2 * 4) * 0.5),  # batch norm sees the training tiles again
        ({"keep": "snapshots", "schedule": {"name": "cosine-restarts", "cycle": 2}}, 3 * 2 * 2.0),
    ],
)
def test_validation_loader_and_the_end_are_counted(stage: dict[str, object], once: float) -> None:
    config = tiny_config(BCE, {"name": "last", "epochs": 6, **stage})
    costs = stage_costs(config, [TIME, TIME], tiny_tiles(n=24))
    assert [cost.epoch for cost in costs] == [5 * 2 + 4 * 0.5 + 1] * 2
    assert [cost.once for cost in costs] == [7, 7 + once]


def test_pseudo_labelled_tiles_make_an_epoch_longer() -> None:
    tiles = replace(tiny_tiles(n=24), pseudo_rows=np.arange(4))
    mixed = tiny_config(BCE, {**LOVASZ, "tiles": "masks"})
    costs = stage_costs(mixed, [TIME, TIME], tiles)
    # two tiles of four in a mixed batch have true masks: twice as many batches see them all
    assert [cost.epoch for cost in costs] == [10 * 2 + 3, 5 * 2 + 3]
    times = time_stages(mixed, tiles, COMPUTE, clock=itertools.count().__next__)
    assert times[0].step < times[1].step, "as many ticks, over more steps"
