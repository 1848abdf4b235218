from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kaggle_salt.config import StageConfig, Table
from kaggle_salt.config_file import differences, dump_config, load_config
from kaggle_salt.errors import ConfigError
from kaggle_salt.presets import preset_names, preset_path

TEXT = """
[input]
size = 64

[[stage]]
name = "bce"
epochs = 3

[[stage]]
name = "lovasz"
epochs = 2
loss = { name = "lovasz" }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_comes_back_from_the_file_it_is_written_to(name: str, tmp_path: Path) -> None:
    config = load_config(preset_path(name))
    (tmp_path / "config.toml").write_text(dump_config(config), encoding="utf-8")
    again = load_config(tmp_path / "config.toml")
    assert again == config
    assert differences(config, again) == []


# --- reading


def test_what_is_not_said_has_a_default(path: Path) -> None:
    config = load_config(path)
    assert config.input.size == 64
    assert config.input.framing == "pad"
    assert config.stage[0] == StageConfig(name="bce", epochs=3)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read: No such file"):
        load_config(tmp_path / "none.toml")


@pytest.mark.parametrize("content", [b"[input", b"size = ", b"\xff\xfe\x00"])
def test_a_file_that_is_not_toml_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.toml is not valid TOML"):
        load_config(tmp_path / "bad.toml")


# --- what is refused

UNKNOWN = [
    ("inptu.size=3", "inptu", "input"),
    ("input.sise=3", "input.sise", "size"),
    ("model.encodr=x", "model.encodr", "encoder"),
    ("augment.pipelin=x", "augment.pipelin", "pipeline"),
    ("training.batchsize=3", "training.batchsize", "batch_size"),
    ("pseudo.flie=x", "pseudo.flie", "file"),
    ("inference.tat=flip", "inference.tat", "tta"),
    ("stage.0.epoch=3", "stage.0.epoch", "epochs"),
    ("stage.lovasz.loss.nmae=bce", "stage.1.loss.nmae", "name"),
    ("stage.bce.optimizer.momentun=0", "stage.0.optimizer.momentun", "momentum"),
    ("stage.bce.schedule.patienc=1", "stage.0.schedule.patienc", "patience"),
]


@pytest.mark.parametrize(("override", "key", "meant"), UNKNOWN)
def test_an_unknown_key_is_refused_at_every_level(
    override: str, key: str, meant: str, path: Path
) -> None:
    expected = rf"unknown key '{re.escape(key)}'\nexpected: did you mean '{meant}'\?"
    with pytest.raises(ConfigError, match=expected):
        load_config(path, [override])


def test_unknown_keys_are_tried_in_every_table() -> None:
    tables = {cls.__name__ for cls in Table.__subclasses__()}
    assert len(tables) == 11  # as many as there are lines in UNKNOWN
    assert len(UNKNOWN) == len(tables)


WRONG = [
    ("input.size=0", "input.size = 0", "greater than or equal to 1"),
    ("input.size=big", "input.size = 'big'", "valid integer"),
    ("input.framing=padd", "input.framing = 'padd'", "did you mean 'pad'"),
    ("input.channels=3", "input.channels = 3", "one of auto, grey, grey+depth, grey3, rgb"),
    ("input.channels=gray", "input.channels = 'gray'", "did you mean 'grey'"),
    ("training.precision=bf61", "training.precision = 'bf61'", "did you mean 'bf16'"),
    ("training.batch_size=-1", "training.batch_size = -1", "greater than or equal to 1"),
    ("training.workers=-2", "training.workers = -2", "greater than or equal to -1"),
    ("training.seed=-1", "training.seed = -1", "greater than or equal to 0"),
    ("training.channels_last=maybe", "training.channels_last = 'maybe'", "valid boolean"),
    ("pseudo.share=1.0", "pseudo.share = 1.0", "less than 1"),
    ("inference.tta=flips", "inference.tta = 'flips'", "did you mean 'flip'"),
    ("stage.bce.epochs=0", "stage.0.epochs = 0", "greater than or equal to 1"),
    ("stage.bce.keep=bets", "stage.0.keep = 'bets'", "did you mean 'best'"),
    ("stage.bce.tiles=mask", "stage.0.tiles = 'mask'", "did you mean 'masks'"),
    ("stage.bce.ema_decay=1", "stage.0.ema_decay = 1", "less than 1"),
    ("stage.bce.monitor=iou", "stage.0.monitor = 'iou'", "one of loss, score"),
    ("stage.bce.loss.name=lovas", "stage.0.loss.name = 'lovas'", "did you mean 'lovasz'"),
    ("stage.bce.optimizer.lr=0", "stage.0.optimizer.lr = 0", "greater than 0"),
    ("stage.bce.optimizer.name=adamm", "stage.0.optimizer.name = 'adamm'", "'adam"),
    ("stage.bce.optimizer.momentum=1", "stage.0.optimizer.momentum = 1", "less than 1"),
    ("stage.bce.loss.gamma=-1", "stage.0.loss.gamma = -1", "greater than or equal to 0"),
    ("stage.bce.loss.side_weight=-1", "stage.0.loss.side_weight = -1", "or equal to 0"),
    ("stage.bce.schedule.name=one-cycle", "stage.0.schedule.name = 'one-cycle'", "one of"),
    ("stage.bce.schedule.power=0", "stage.0.schedule.power = 0", "greater than 0"),
    ("stage.bce.schedule.factor=1", "stage.0.schedule.factor = 1", "less than 1"),
    ("stage.bce.schedule.floor=2", "stage.0.schedule.floor = 2", "less than or equal to 1"),
    ("input=3", "input = 3", "valid dictionary"),
]


@pytest.mark.parametrize(("override", "found", "meant"), WRONG)
def test_a_wrong_value_is_refused(override: str, found: str, meant: str, path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{re.escape(found)}(.|\n)*{re.escape(meant)}"):
        load_config(path, [override])


def test_all_faults_are_named_at_once(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"input\.size = 0; unknown key 'model\.encodr'"):
        load_config(path, ["input.size=0", "model.encodr=x"])


def test_faults_between_keys_are_told_as_well(path: Path) -> None:
    with pytest.raises(ConfigError, match="stage names must differ, found bce, bce"):
        load_config(path, ["stage.1.name=bce"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'stage' is missing"),
        ("stage = []", "at least 1 item"),
        ('[[stage]]\nname = "a"', r"'stage\.0\.epochs' is missing"),
        ("[[stage]]\nepochs = 1", r"'stage\.0\.name' is missing"),
        ("[stage]\nepochs = 1", "stage"),
    ],
)
def test_stages_are_required(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "a.toml")


@pytest.mark.parametrize("text", ["[stage]\nepochs = 1", "stage = [1, 2]", "stage = 3"])
def test_stages_that_are_none_cannot_be_set(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"'stage' is not a list of tables(.|\n)*\[\[stage\]\]"):
        load_config(tmp_path / "a.toml", ["stage.0.epochs=1"])


# --- --set


@pytest.mark.parametrize("key", ["stage.lovasz.epochs", "stage.1.epochs", " stage.1.epochs "])
def test_a_stage_is_set_by_name_or_number(key: str, path: Path) -> None:
    assert [stage.epochs for stage in load_config(path, [f"{key}=7"]).stage] == [3, 7]


def test_a_star_sets_every_stage(path: Path) -> None:
    config = load_config(path, ["stage.*.optimizer.lr=0.5", "stage.*.epochs=1"])
    assert [stage.optimizer.lr for stage in config.stage] == [0.5, 0.5]
    assert [stage.epochs for stage in config.stage] == [1, 1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("imagenet", "imagenet"),
        ("'a b'", "a b"),
        ("a b.pth", "a b.pth"),
        ("a=b", "a=b"),
        ("", ""),
        (" x ", "x"),
    ],
)
def test_a_bare_word_is_a_string(text: str, value: str, path: Path) -> None:
    assert load_config(path, [f"model.weights={text}"]).model.weights == value


@pytest.mark.parametrize(
    ("text", "value"), [("[1, 2]", [1, 2]), ("true", True), ("0.5", 0.5), ("scse", "scse")]
)
def test_a_value_is_toml_and_tables_are_made(text: str, value: Any, path: Path) -> None:
    assert load_config(path, [f"model.options.x={text}"]).model.options == {"x": value}


def test_the_last_one_wins(path: Path) -> None:
    assert load_config(path, ["input.size=96", "input.size=128"]).input.size == 128


@pytest.mark.parametrize("override", ["input.size", "=3", "", " =3"])
def test_a_key_without_value_is_refused(override: str, path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"--set {override} has no value(.|\n)*KEY=VALUE"):
        load_config(path, [override])


@pytest.mark.parametrize(
    ("which", "meant"),
    [("lovas", "did you mean 'lovasz'"), ("2", r"one of \*, bce, lovasz"), ("-1", "one of")],
)
def test_an_unknown_stage_is_refused(which: str, meant: str, path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"there is no stage '{which}'\n.*{meant}"):
        load_config(path, [f"stage.{which}.epochs=1"])


@pytest.mark.parametrize("override", ["input.size.x=3", "stage.epochs=3"])
def test_a_value_cannot_hold_a_key(override: str, path: Path) -> None:
    with pytest.raises(ConfigError, match="is a value, not a table"):
        load_config(path, [override])


# --- differences


def test_differences_name_keys_and_both_values(path: Path) -> None:
    old = load_config(path)
    new = load_config(path, ["input.size=96", "stage.bce.optimizer.lr=0.5", "description=x"])
    assert differences(old, new) == [
        "input.size: 64 -> 96",
        "stage.bce.optimizer.lr: 0.001 -> 0.5",
    ]
    assert differences(old, old) == []


def test_an_option_more_is_a_difference(path: Path) -> None:
    new = load_config(path, ["model.options.hypercolumn=true"])
    assert differences(load_config(path), new) == ["model.options.hypercolumn: - -> True"]


def test_stages_in_another_order_are_a_difference(path: Path) -> None:
    old = load_config(path)
    new = old.model_copy(update={"stage": old.stage[::-1]})
    assert differences(old, new) == ["stage.order: bce, lovasz -> lovasz, bce"]
