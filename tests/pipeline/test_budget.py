from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_salt.config.file import load_config
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.timing import StageCost
from kaggle_salt.pipeline.budget import Budget, cost_of, fit, lengths_of, with_lengths
from kaggle_salt.presets import preset_names, preset_path

EPOCH = StageCost(epoch=1, once=0)
SNAPSHOTS = {
    "name": "cycles", "epochs": 12, "keep": "snapshots",
    "schedule": {"name": "cosine-restarts", "cycle": 4},
}  # fmt: skip


def stages(*tables: dict[str, Any]) -> Config:
    return Config.model_validate({"stage": tables})


def of_epochs(*epochs: int) -> Config:
    return stages(*({"name": f"s{n}", "epochs": own} for n, own in enumerate(epochs)))


def epochs_of(config: Config) -> list[int]:
    return [stage.epochs for stage in config.stage]


@pytest.mark.parametrize(
    ("limit", "fitted"),
    [
        (39, [20, 10, 6, 3]),  # as given
        (78, [40, 20, 12, 6]),
        (60, [31, 15, 9, 5]),  # 30.8, 15.4, 9.2, 4.6: whole, and what is left to those that lost
        (10, [5, 3, 1, 1]),  # 5.1, 2.6, 1.5, .8; one epoch is the least
        (4, [1, 1, 1, 1]),
        (1, [1, 1, 1, 1]),  # less cannot be
    ],
)
def test_epochs_keep_their_proportions(limit: float, fitted: list[int]) -> None:
    assert epochs_of(fit(of_epochs(20, 10, 6, 3), [EPOCH] * 4, limit)) == fitted


def test_a_stage_weighs_as_much_as_it_costs() -> None:
    costs = [StageCost(epoch=1, once=0), StageCost(epoch=4, once=10)]
    fitted = fit(of_epochs(8, 2), costs, limit=42)  # twice the 8 + 8, and ten once
    assert epochs_of(fitted) == [16, 4]
    assert cost_of(costs, epochs_of(fitted)) == 42


def test_what_one_stage_has_at_least_the_others_lack() -> None:
    costs = [EPOCH, StageCost(epoch=10, once=0)]
    assert epochs_of(fit(of_epochs(40, 2), costs, limit=15)) == [5, 1]


@pytest.mark.parametrize(
    ("limit", "epochs", "cycle"), [(24, 24, 8), (23, 21, 7), (9, 9, 3), (5, 3, 1), (1, 3, 1)]
)
def test_whole_cycles_remain_and_as_many(limit: float, epochs: int, cycle: int) -> None:
    [stage] = fit(stages(SNAPSHOTS), [EPOCH], limit).stage
    assert (stage.epochs, stage.cycle) == (epochs, cycle)


def test_a_cycle_that_is_cut_off_is_cut_off_as_before() -> None:
    schedule = {"name": "cosine-restarts", "cycle": 4}
    cut = stages({"name": "cut", "epochs": 10, "schedule": schedule})
    sizes = {10: (10, 4), 20: (20, 8), 5: (5, 2), 1: (1, 1)}
    for limit, expected in sizes.items():
        [stage] = fit(cut, [EPOCH], limit).stage
        assert (stage.epochs, stage.cycle) == expected


@pytest.mark.parametrize(
    ("limit", "fitted"),
    [
        (90, [80, 10]),
        (18, [16, 2]),
        (8, [6, 2]),  # 7 and 1: of one there is nothing to average
        (1, [1, 2]),
    ],
)
def test_an_average_remains_one(limit: float, fitted: list[int]) -> None:
    swa = {"name": "swa", "epochs": 10, "keep": "average"}
    given = stages({"name": "a", "epochs": 80}, swa)
    assert epochs_of(fit(given, [EPOCH] * 2, limit)) == fitted


def test_an_average_of_one_stays_as_it_was() -> None:
    swa = {"name": "swa", "epochs": 1, "keep": "average"}
    assert epochs_of(fit(stages({"name": "a", "epochs": 8}, swa), [EPOCH] * 2, 5)) == [4, 1]


def test_averaged_cycles_remain_as_many() -> None:
    schedule = {"name": "cosine-restarts", "cycle": 4}
    swa = {"name": "swa", "epochs": 8, "keep": "average", "average_over": "cycles"}
    [stage] = fit(stages({**swa, "schedule": schedule}), [EPOCH], 5).stage
    assert (stage.epochs, stage.cycle) == (4, 2)


@pytest.mark.parametrize(
    ("limit", "patience", "waits"), [(300, 5, 30), (600, 10, 60), (150, 3, 15), (20, 2, 5)]
)
def test_patience_is_a_share_of_the_stage_but_never_noise(
    limit: float, patience: int, waits: int
) -> None:
    schedule = {"name": "plateau", "patience": 5}
    given = stages({"name": "a", "epochs": 300, "schedule": schedule, "early_stopping": 30})
    [stage] = fit(given, [EPOCH], limit).stage
    assert (stage.schedule.patience, stage.early_stopping) == (patience, waits)


def test_patience_that_was_less_than_the_least_stays() -> None:
    schedule = {"name": "plateau", "patience": 1}
    given = stages({"name": "a", "epochs": 300, "schedule": schedule, "early_stopping": 3})
    [stage] = fit(given, [EPOCH], 20).stage
    assert (stage.schedule.patience, stage.early_stopping) == (1, 3)


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("share", [0.01, 0.3, 1, 2.5])
def test_every_preset_scales(name: str, share: float) -> None:
    """What comes out is a configuration like any other, and of all keys only lengths differ."""
    given = load_config(preset_path(name))
    costs = [EPOCH] * len(given.stage)
    limit = share * sum(epochs_of(given))
    fitted = fit(given, costs, limit)
    least = epochs_of(fit(given, costs, 0))
    assert sum(epochs_of(fitted)) <= max(limit, sum(least))
    same = {stage.name: lengths_of(stage) for stage in given.stage}
    assert with_lengths(fitted, same) == given
    if share == 1:
        assert fitted == given


@given(st.lists(st.integers(1, 300), min_size=1, max_size=5), st.integers(1, 2000))
def test_no_epoch_is_left_over(epochs: list[int], limit: int) -> None:
    fitted = epochs_of(fit(of_epochs(*epochs), [EPOCH] * len(epochs), limit))
    assert sum(fitted) == max(limit, len(epochs))


def test_a_budget_says_what_it_is() -> None:
    assert Budget.of(None, None) is None
    minutes, epochs = Budget(minutes=30), Budget(epochs=60)
    assert (str(minutes), minutes.option, minutes.limit) == ("30 minutes", "--minutes 30", 1800)
    assert (str(epochs), epochs.option, epochs.limit) == ("60 epochs", "--epochs 60", 60)


def test_minutes_and_epochs_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match=r"exclude each other(.|\n)*leave out --minutes or"):
        Budget.of(30, 60)


@pytest.mark.parametrize(
    ("minutes", "epochs"),
    [(0, None), (-1, None), (float("nan"), None), (float("inf"), None), (None, 0), (None, 2.5)],
)
def test_what_is_no_budget_is_refused(minutes: float | None, epochs: Any) -> None:
    with pytest.raises(ConfigError, match=r"a training of .* (minutes|epochs)(.|\n)*above 0"):
        Budget.of(minutes, epochs)
