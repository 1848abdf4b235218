from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kaggle_salt.config.file import differences, dump_config, load_config
from kaggle_salt.config.stage import StageConfig
from kaggle_salt.config.table import Table
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
    ("pretext.hiden=0.2", "pretext.hiden", "hidden"),
    ("pseudo.flie=x", "pseudo.flie", "file"),
    ("inference.tat=flip", "inference.tat", "tta"),
    ("stage.0.epoch=3", "stage.bce.epoch", "epochs"),
    ("stage.lovasz.loss.nmae=bce", "stage.lovasz.loss.nmae", "name"),
    ("stage.bce.consistency.weigth=1", "stage.bce.consistency.weigth", "weight"),
    ("stage.bce.optimizer.momentun=0", "stage.bce.optimizer.momentun", "momentum"),
    ("stage.bce.schedule.patienc=1", "stage.bce.schedule.patienc", "patience"),
]


@pytest.mark.parametrize(("override", "key", "meant"), UNKNOWN)
def test_an_unknown_key_is_refused_at_every_level(
    override: str, key: str, meant: str, path: Path
) -> None:
    told = rf"--set {re.escape(override)}: unknown key '{re.escape(key)}'\n"
    expected = rf"{told}expected: did you mean '{meant}'\?\nnext: --set {re.escape(key)}=VALUE"
    with pytest.raises(ConfigError, match=expected):
        load_config(path, [override])


def test_unknown_keys_are_tried_in_every_table() -> None:
    tables = {cls.__name__ for cls in Table.__subclasses__()}
    assert len(tables) == 13  # as many as there are lines in UNKNOWN
    assert len(UNKNOWN) == len(tables)


WHOLE = "a whole number of 1 or more"
SHARE = "a number of 0 or more and below 1"
WRONG = [
    ("input.size=0", "input.size = 0", WHOLE),
    ("input.size=big", 'input.size = "big"', WHOLE),
    ("input.size=2.5", "input.size = 2.5", WHOLE),
    ("input.size=[1, 2]", "input.size = [ 1, 2, ]", WHOLE),
    ("input.size={a=1}", "input.size = a table", WHOLE),
    ("input.size=2020-01-01", "input.size = 2020-01-01", WHOLE),
    ("input.size=", 'input.size = ""', WHOLE),
    ("input.framing=padd", 'input.framing = "padd"', "did you mean 'pad'"),
    ("input.channels=3", "input.channels = 3", "one of auto, grey, grey+depth, grey3, rgb"),
    ("input.channels=gray", 'input.channels = "gray"', "did you mean 'grey'"),
    ("training.precision=bf61", 'training.precision = "bf61"', "did you mean 'bf16'"),
    ("training.batch_size=-1", "training.batch_size = -1", WHOLE),
    ("training.workers=-2", "training.workers = -2", "a whole number of -1 or more"),
    ("training.seed=-1", "training.seed = -1", "a whole number from 0 to 4294967295"),
    ("training.seed=4294967296", "training.seed = 4294967296", "from 0 to 4294967295"),
    (f"training.seed={10**30}", f"training.seed = {10**30}", "from 0 to 4294967295"),
    ("training.channels_last=maybe", 'training.channels_last = "maybe"', "true or false"),
    ("pseudo.share=1.0", "pseudo.share = 1.0", SHARE),
    ("pseudo.file=3", "pseudo.file = 3", "a text"),
    ("augment.add=elastic", 'augment.add = "elastic"', "augment.add: a list of texts"),
    ("augment.add=[1]", "augment.add = 1", "augment.add: a list of texts"),
    ("augment.mix=cutmx", 'augment.mix = "cutmx"', "did you mean 'cutmix'?"),
    ("augment.mix_probability=2", "augment.mix_probability = 2", "a number from 0 to 1"),
    ("inference.tta=flips", 'inference.tta = "flips"', "did you mean 'flip'"),
    ("stage.bce.epochs=0", "stage.bce.epochs = 0", WHOLE),
    ("stage.bce.keep=bets", 'stage.bce.keep = "bets"', "did you mean 'best'"),
    ("stage.bce.tiles=mask", 'stage.bce.tiles = "mask"', "did you mean 'masks'"),
    ("stage.bce.ema_decay=1", "stage.bce.ema_decay = 1", SHARE),
    ("stage.bce.monitor=iou", 'stage.bce.monitor = "iou"', "one of loss, score"),
    ("stage.bce.loss.name=lovas", 'stage.bce.loss.name = "lovas"', "did you mean 'lovasz'"),
    ("stage.bce.optimizer.lr=0", "stage.bce.optimizer.lr = 0", "a number above 0"),
    ("stage.bce.optimizer.lr=inf", "stage.bce.optimizer.lr = inf", "a number above 0"),
    ("stage.bce.optimizer.lr=nan", "stage.bce.optimizer.lr = nan", "a number above 0"),
    ("stage.bce.optimizer.name=adamm", 'stage.bce.optimizer.name = "adamm"', "'adam"),
    ("stage.bce.optimizer.momentum=1", "stage.bce.optimizer.momentum = 1", SHARE),
    ("stage.bce.loss.gamma=-1", "stage.bce.loss.gamma = -1", "a number of 0 or more"),
    ("stage.bce.loss.side_weight=-1", "stage.bce.loss.side_weight = -1", "of 0 or more"),
    ("stage.bce.schedule.name=one-cycle", 'stage.bce.schedule.name = "one-cycle"', "one of"),
    ("stage.bce.schedule.power=0", "stage.bce.schedule.power = 0", "a number above 0"),
    ("stage.bce.schedule.factor=1", "factor = 1", "a number above 0 and below 1"),
    ("stage.bce.schedule.floor=2", "stage.bce.schedule.floor = 2", "a number from 0 to 1"),
    ("stage.bce.schedule=3", "stage.bce.schedule = 3", "stage.bce.schedule: a table"),
    ("model.options=3", "model.options = 3", "a table, as in { scse = true }"),
    ("input=3", "input = 3", "input: a table"),
    ("stage=3", "stage = 3", "one [[stage]] block or more"),
    ("stage=[]", "stage = []", "one [[stage]] block or more"),
    ("stage=[3]", "stage.0 = 3", "stage.0: a table with name and epochs"),
]

#: How pydantic says things, and Python.
FOREIGN = re.compile(
    r"[Ii]nput should|valid (integer|string)|type=|pydantic|datetime|<class|\bNone\b"
)


@pytest.mark.parametrize(("override", "found", "meant"), WRONG)
def test_a_wrong_value_is_refused(override: str, found: str, meant: str, path: Path) -> None:
    told = rf"--set {re.escape(override)}: .*{re.escape(found)}.*\nexpected: .*{re.escape(meant)}"
    with pytest.raises(ConfigError, match=rf"{told}.*\nnext: --set ") as caught:
        load_config(path, [override])
    assert not FOREIGN.search(str(caught.value))


STAGE = "[[stage]]\nname = 'a'\nepochs = 1\n"
IN_FILE = [
    (
        f"[input]\nsize = 0\n{STAGE}",
        r"own\.toml, \[input\]: input\.size = 0\n.*\nnext: correct size under \[input\] in .*toml",
    ),
    (f"[inptu]\nsize = 0\n{STAGE}", r"own\.toml: unknown key 'inptu'\n.*\nnext: correct inptu in"),
    (f"[model]\nencodr = 1\n{STAGE}", r"own\.toml, \[model\]: unknown key 'model\.encodr'"),
    (
        f"{STAGE}loss = {{ name = 'bec' }}",
        r"own\.toml, \[stage\.loss\] of stage 'a': stage\.a\.loss\.name = \"bec\"",
    ),
    (
        f"{STAGE}[[stage]]\nname = 'a.b'\nepochs = 0",  # --set could not take such a name
        r"own\.toml, \[\[stage\]\] '1': stage\.1\.epochs = 0",
    ),
]


@pytest.mark.parametrize(("text", "told"), IN_FILE)
def test_what_the_file_says_is_blamed_on_its_table(text: str, told: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        load_config(path, ["input.border=edge"])


def test_all_faults_are_named_at_once(path: Path) -> None:
    path.write_text(TEXT + "[augment]\npipeline = 3\n", encoding="utf-8")
    parts = (
        "--set input.size=0: input.size = 0",
        "--set model.encodr=x: unknown key 'model.encodr'",
        "own.toml, [augment]: augment.pipeline = 3",
        "input.size: a whole number of 1 or more",
        "did you mean 'encoder'?",
        "augment.pipeline: a text",
        "correct pipeline under [augment] in ",
    )
    with pytest.raises(ConfigError, match="unknown key") as caught:
        load_config(path, ["input.size=0", "model.encodr=x"])
    for part in parts:
        assert part in str(caught.value)


def test_faults_between_keys_are_told_as_well(path: Path) -> None:
    told = r"own\.toml with --set stage\.1\.name=bce: stage names must differ, found bce, bce\n"
    with pytest.raises(ConfigError, match=rf"{told}(.|\n)*next: change --set stage\.1\.name=bce"):
        load_config(path, ["stage.1.name=bce"])
    path.write_text(TEXT.replace("lovasz", "bce"), encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"own\.toml: stage names(.|\n)*next: correct .*own\.toml"
    ):
        load_config(path, ["input.size=96"])


@pytest.mark.parametrize("depth", [17, 400, 100_000])
def test_nothing_is_nested_without_end(depth: int, path: Path) -> None:
    lists = "[" * depth + "]" * depth
    overrides = [f"model.options.x={lists}", f"model.options{'.x' * depth}=1"]
    for override in overrides:
        with pytest.raises(ConfigError, match=r"--set model\.options(.|\n)*(deep|a table)"):
            load_config(path, [override, "model.options=3"])
    path.write_text(f"x = {lists}\n{TEXT}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"own\.toml (is not valid|cannot be read: it has more)"):
        load_config(path)


def test_a_value_cannot_smuggle_in_another_key(path: Path) -> None:
    with pytest.raises(ConfigError, match="a whole number"):
        load_config(path, ["input.size=64\nframing = 'resize'"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'stage' is missing"),
        ("stage = []", r"stage = \[\]\nexpected: stage: one \[\[stage\]\] block or more"),
        ('[[stage]]\nname = "a"', r"\[\[stage\]\] 'a': 'stage\.a\.epochs' is missing"),
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
    with pytest.raises(ConfigError, match=rf"--set {override}: it has no value(.|\n)*KEY=VALUE"):
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
