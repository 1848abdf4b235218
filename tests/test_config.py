from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from kaggle_salt.config import Config, InputConfig, ScheduleConfig, StageConfig, Table

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
