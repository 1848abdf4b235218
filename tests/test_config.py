from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from kaggle_salt.config.schema import Config, InputConfig
from kaggle_salt.config.stage import ScheduleConfig, StageConfig
from kaggle_salt.config.table import LARGEST_SEED, Table, refuse_seed
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.training import fold_seed

RESTARTS = {"name": "cosine-restarts", "cycle": 4}


def stage(name: str = "bce", epochs: int = 3, **more: Any) -> dict[str, Any]:
    return {"name": name, "epochs": epochs, **more}


def config(*stages: dict[str, Any], **tables: Any) -> Config:
    return Config.model_validate({"stage": stages, **tables})


def test_everything_but_a_stages_name_and_length_has_a_default() -> None:
    least = config(stage())
    assert least.input.size == 128
    assert least.stage == (StageConfig(name="bce", epochs=3),)
    for table in Table.__subclasses__():
        wanted = {key for key, field in table.model_fields.items() if field.is_required()}
        assert wanted == {StageConfig: {"name", "epochs"}, Config: {"stage"}}.get(table, set())


@pytest.mark.parametrize("table", Table.__subclasses__())
def test_every_table_is_frozen_and_closed(table: type[Table]) -> None:
    assert table.model_config.get("frozen") is True
    assert table.model_config.get("extra") == "forbid"


def test_a_configuration_cannot_be_changed() -> None:
    made = config(stage())
    with pytest.raises(ValidationError, match="frozen"):
        made.input.size = 3  # type: ignore[misc]


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        config(stage(), inptu={})


@pytest.mark.parametrize(("channels", "count"), [("grey", 1), ("grey3", 3), ("grey+depth", 3)])
def test_the_network_sees_one_channel_or_three(channels: str, count: int) -> None:
    assert InputConfig.model_validate({"channels": channels}).channel_count == count


def test_only_restarts_have_cycles() -> None:
    lone = StageConfig(name="a", epochs=8, schedule=ScheduleConfig(name="cosine", cycle=4))
    assert lone.cycle == 8
    assert config(stage(epochs=8, schedule=RESTARTS)).stage[0].cycle == 4


def test_a_cycle_must_fit_into_its_stage() -> None:
    with pytest.raises(ValidationError, match=r"cycle of 4 epochs is longer than the stage \(3\)"):
        config(stage(schedule=RESTARTS))
    assert config(stage(epochs=4, schedule=RESTARTS)).stage[0].schedule.cycle == 4


@pytest.mark.parametrize(
    "keys", [{"keep": "snapshots"}, {"keep": "average", "average_over": "cycles"}]
)
def test_what_keeps_the_ends_of_cycles_needs_whole_ones(keys: dict[str, Any]) -> None:
    told = "7 epochs are 3 cycles of 2 and 1 more, whose weights would be thrown away; expected "
    restarts = {"name": "cosine-restarts", "cycle": 2}
    with pytest.raises(ValidationError, match=f"{told}whole cycles: epochs = 6 or 8"):
        config(stage(epochs=7, schedule=restarts, **keys))
    for epochs in (6, 8):
        assert config(stage(epochs=epochs, schedule=restarts, **keys)).stage[0].cycle == 2
    assert config(stage(epochs=7, schedule=restarts, keep="last")).stage[0].epochs == 7


def test_an_average_over_one_cycle_is_none() -> None:
    keys = {"keep": "average", "average_over": "cycles"}
    for schedule in ({"name": "cosine"}, {"name": "cosine-restarts", "cycle": 6}):
        with pytest.raises(ValidationError, match="over the ends of cycles has only one to take"):
            config(stage(epochs=6, schedule=schedule, **keys))
    config(stage(epochs=6, schedule={"name": "cosine-restarts", "cycle": 3}, **keys))


def test_a_stop_that_waits_for_the_last_epoch_is_none() -> None:
    keys = {"keep": "snapshots", "early_stopping": 2}
    with pytest.raises(ValidationError, match="early_stopping waits for the end of a cycle"):
        config(stage(epochs=6, **keys))
    restarts = {"name": "cosine-restarts", "cycle": 3}
    made = config(stage(epochs=6, schedule=restarts, **keys)).stage[0]
    assert [made.may_stop_after(epochs) for epochs in range(1, 7)] == [False, False, True] * 2
    plain = config(stage(epochs=6, early_stopping=2)).stage[0]
    assert plain.may_stop_after(1)


@pytest.mark.parametrize("seed", [-1, 2**32, 2**64, 10**30])
def test_a_seed_that_some_generator_refuses_is_refused(seed: int) -> None:
    with pytest.raises(ValidationError, match=r"training\.seed"):
        config(stage(), training={"seed": seed})
    with pytest.raises(ConfigError, match=rf"the seed {seed}\n.*from 0 to 4294967295\nnext: x"):
        refuse_seed(seed, "x")


def test_the_largest_seed_is_taken_everywhere() -> None:
    made = config(stage(), training={"seed": LARGEST_SEED})
    torch.manual_seed(fold_seed(made, 999))
    np.random.default_rng((fold_seed(made, 999), 3))
    refuse_seed(LARGEST_SEED, "")
    refuse_seed(0, "")


def test_numbers_are_finite() -> None:
    for lr in (float("inf"), float("nan")):
        with pytest.raises(ValidationError, match=r"stage\.0\.optimizer\.lr"):
            config(stage(optimizer={"lr": lr}))


def test_stages_need_names_that_differ() -> None:
    with pytest.raises(ValidationError, match="stage names must differ, found bce, bce"):
        config(stage(), stage())


def test_only_the_last_stage_can_keep_snapshots() -> None:
    snapshots = stage("end", keep="snapshots")
    assert config(stage(), snapshots).stage[-1].keep == "snapshots"
    with pytest.raises(ValidationError, match="only the last stage can keep snapshots, found end"):
        config(snapshots, stage())


def test_there_is_at_least_one_stage() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        config()
