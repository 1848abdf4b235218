"""No key of a configuration is a dead letter: each is changed, and something comes out different.

The keys are read from the models themselves, so that a new one without a case fails here.
"""

from __future__ import annotations

import re
import tomllib
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import tomli_w
import torch
from pydantic import BaseModel
from torch import Tensor, nn

from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config.file import differences, dump_config, load_config, load_run_config
from kaggle_salt.config.readers import READERS, WITHOUT_ENCODER, is_given, unread
from kaggle_salt.config.schema import Config
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning import steps
from kaggle_salt.learning.augment import ADDITIONS
from kaggle_salt.learning.batches import TrainingTiles
from kaggle_salt.learning.device import choose_compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import predict
from kaggle_salt.learning.losses import make_loss
from kaggle_salt.learning.networks import WHOLE, build
from kaggle_salt.learning.optim import Schedule
from kaggle_salt.learning.outputs import Outputs
from kaggle_salt.learning.pretext import learner_of, pretext_step
from kaggle_salt.learning.training import FoldTraining
from kaggle_salt.pipeline.preparing.prepare import make_fold_table
from kaggle_salt.pipeline.preparing.preset_check import check_preset
from kaggle_salt.pipeline.training.train import train as train_folds
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.presets import preset_names, preset_path
from kaggle_salt.pseudo_labels import write_pseudo_labels
from kaggle_salt.pseudo_origin import Confidence, MadeOf, Network
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage.files import file_hash
from tests.learning.makers import SIDE, script_validation, start, tiny_tiles
from tests.makers import write_competition
from tests.tiny import draw_no_curves

BASE = """
description = "a tiny network for a test"
input = { size = 32 }
augment = { pipeline = "none" }
training = { batch_size = 4, precision = "float32", workers = 0 }

[model]
architecture = "compact"
weights = "none"
options = { widths = [4, 8], depths = [1, 1], decoder = [4], hypercolumn = 4 }

[[stage]]
name = "first"
epochs = 4
optimizer = { name = "sgd", lr = 0.05 }
schedule = { name = "constant" }
"""

#: Validation loss and score of the four epochs: the loss is best in the first, the score in the
#: second, and neither in the last.
FIGURES = [(1.0, 0.1), (2.0, 0.4), (3.0, 0.3), (4.0, 0.2)]

Effect = Callable[[Config, Path], object]


@dataclass(frozen=True)
class Case:
    """How a key is shown to work.

    Args:
        values: TOML values that must all have another effect than one another, and than the
            key's value without them.
        effect: What is looked at; gets the configuration and an empty folder.
        given: Further settings, under which the key matters.
        along: Those that come with a value.
    """

    values: tuple[str, ...]
    effect: Effect
    given: tuple[str, ...] = ()
    along: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def bits(state: dict[str, Tensor]) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in state.items()}


def framed(config: Config, _: Path) -> object:
    """What the network would see of a tile, and of one in colour."""
    grey = torch.from_numpy(tiny_tiles().images[:1])
    colour = torch.stack([grey, grey // 2, 255 - grey], dim=-1)
    inputs = [Framing((SIDE, SIDE), config.input).prepare(tile) for tile in (grey, colour)]
    return [(seen.shape, seen.numpy().tobytes()) for seen in inputs]


def network_of(config: Config) -> nn.Module:
    torch.manual_seed(0)
    return build(config.model, config.input.channel_count)


def layers(config: Config, _: Path) -> object:
    return str(network_of(config))


def first_weights(config: Config, _: Path) -> object:
    return bits(network_of(config).state_dict())


def logits(config: Config, _: Path) -> object:
    """Of the network, in the number format asked for."""
    choice = config.training
    compute = choose_compute("cpu", choice.precision, choice.channels_last)
    inputs = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    network = compute.place(network_of(config)).eval()
    with torch.inference_mode():
        return compute.forward(network, inputs).numpy().tobytes()


def layout(config: Config, _: Path) -> object:
    """Whether weights lie channels last."""
    compute = choose_compute("cpu", "float32", config.training.channels_last)
    network = compute.place(network_of(config))
    kernels = [p for p in network.parameters() if p.ndim == 4 and min(p.shape) > 1]
    return [p.is_contiguous(memory_format=torch.channels_last) for p in kernels]


def compiles(config: Config, folder: Path) -> object:
    """Whether the steps call the network through torch.compile."""
    job = start(config, folder)
    return job.step_network is not job.network


def worker_count(config: Config, folder: Path) -> object:
    return start(config, folder).loader.num_workers


def with_pseudo_rows() -> TrainingTiles:
    """Eight tiles to train on and four to validate; eight more have pseudo-labels."""
    tiles = tiny_tiles(20)
    rows = np.arange(20)
    return TrainingTiles(
        tiles.images, tiles.masks, rows[:8], rows[8:12], rows[12:], unlabelled=255 - tiles.images
    )


def trained(config: Config, folder: Path) -> FoldTraining:
    """A training over all its stages; what its validation gives is written down beforehand."""
    fold = start(config, folder, tiles=with_pseudo_rows())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "validate", script_validation(FIGURES)[0])
        fold.run()
    return fold


def weights(config: Config, folder: Path) -> object:
    """The weights that a training leaves, and those of its snapshots."""
    fold = trained(config, folder)
    snapshots = [path.read_bytes() for path in sorted(fold.folder.path.glob("snapshot*"))]
    return bits(fold.network.state_dict()), snapshots


def history(config: Config, folder: Path) -> object:
    """Stage and number of every epoch."""
    return [(row["stage"], row["epoch"]) for row in trained(config, folder).progress.history]


def rates(config: Config, _: Path) -> object:
    """The learning rate of every step of a stage in which nothing gets better."""
    stage = config.stage[0]
    schedule = Schedule(stage.schedule, stage.optimizer.lr, stage.epochs, steps_per_epoch=5)
    values = []
    for step in range(5 * stage.epochs):
        values.append(schedule.learning_rate(step))
        if step % 5 == 4:
            schedule.end_epoch(1.0)
    return values


def loss_value(config: Config, _: Path) -> object:
    """The loss of outputs with every head, on three tiles of which one is empty."""
    draw = torch.Generator().manual_seed(0)
    one, two, three = (torch.randn(3, 1, 8, 8, generator=draw) for _ in range(3))
    target = torch.zeros(3, 1, 8, 8, dtype=torch.bool)
    target[0, :, 5:], target[1, :, 2:] = True, True
    outputs = Outputs(one, (two,), three, torch.tensor([0.3, -0.2, 0.1]))
    return make_loss(config.stage[0].loss)(outputs, target).item()


def pretext_loss(config: Config, _: Path) -> object:
    """The first loss of a pretraining; nothing where masks are learnt from."""
    if not config.pretrains:
        return None
    learner = learner_of(config, network_of(config), (SIDE, SIDE))
    framing = Framing((SIDE, SIDE), config.input)
    step = pretext_step(config, learner, learner, framing, choose_compute("cpu", "float32"))
    torch.manual_seed(0)
    return step.loss([torch.from_numpy(tiny_tiles().images)]).item()


def probabilities(config: Config, _: Path) -> object:
    """What is stored for the tiles, and in which portions it is computed."""
    images = tiny_tiles().images
    out = np.empty_like(images)
    portions: list[int] = []
    predict(
        [network_of(config)], images, out,
        framing=Framing((SIDE, SIDE), config.input), compute=choose_compute("cpu", "float32"),
        config=config.inference, progress=lambda done, _: portions.append(done),
    )  # fmt: skip
    return out.tobytes(), portions


def shown(config: Config, folder: Path) -> object:
    path = folder / "own.toml"
    path.write_text(dump_config(config), encoding="utf-8")
    return check_preset(str(path), SIDE).description


def fold_hash(config: Config, folder: Path) -> object:
    """Hash of the weights that ``salt train`` leaves; labels lie in ``labels.csv``."""
    workspace = Workspace.under(folder)
    write_competition(workspace.data, n_train=12, n_test=4, shape=(SIDE, SIDE))
    make_fold_table(workspace, n_folds=3)
    competition = Competition.open(workspace.data)
    made_of = MadeOf(
        teachers="fold", networks={"0": (Network(run="teacher", fold=0, weights_hash="x"),)},
        settings=Confidence(), folds_hash=file_hash(workspace.folds),
        test_hash=competition.test_hash,
    )  # fmt: skip
    table = pd.DataFrame(
        {
            "fold": "0",
            "id": competition.test_ids,
            "confidence": 1.0,
            "coverage": 0.0,
            "rle_mask": "",
        }
    )
    write_pseudo_labels(folder / "labels.csv", table, made_of, ())
    with pytest.MonkeyPatch.context() as patch:
        draw_no_curves(patch)
        patch.chdir(folder)
        [summary] = train_folds(workspace, RunFolder(workspace.runs / "run"), config, device="cpu")
    return summary.weights_hash


HEADS = ("model.architecture=unet", "model.options={deep_supervision=true, empty_head=true}")
CONSISTENCY = ("stage.first.consistency.weight=1.0",)
LOVASZ = ("stage.first.loss.name=lovasz",)
ADAM = ("stage.first.optimizer={name='adam', lr=0.01}",)
RESTARTS = ("stage.first.schedule={name='cosine-restarts', cycle=2}",)
COSINE = ("stage.first.schedule={name='cosine'}",)
PLATEAU = ("stage.first.schedule={name='plateau', patience=2, floor=0.001}",)
MASKED, VICREG = ("pretext.name=masked",), ("pretext.name=vicreg",)

CASES = {
    "description": Case(("another",), shown),
    "input.size": Case(("48",), framed),
    "input.framing": Case(("resize",), framed),
    "input.border": Case(("edge",), framed),
    "input.channels": Case(("grey3", "grey+depth", "rgb"), framed),
    "model.architecture": Case(("classic-unet",), layers, ("model.options={}",)),
    "model.encoder": Case(
        ("tu-test_resnet",), layers, ("model.architecture=unet", "model.options={}")
    ),
    "model.weights": Case(("w.safetensors",), first_weights),
    "model.options": Case(("{hypercolumn=8}",), layers),
    "augment.pipeline": Case(("flip", "light", "strong"), weights),
    "augment.add": Case(tuple(f'["{name}"]' for name in (*ADDITIONS, 'noise", "blur')), weights),
    "augment.mix": Case(("cutmix", "copy-paste"), weights),
    "augment.mix_probability": Case(("0.0", "1.0"), weights, ("augment.mix=cutmix",)),
    "training.seed": Case(("1",), weights),
    "training.batch_size": Case(("2",), weights),
    "training.precision": Case(("bf16", "float16"), logits),
    "training.channels_last": Case(("false",), layout),
    "training.compile": Case(("true",), compiles),
    "training.workers": Case(("1",), worker_count),
    "pretext.name": Case(("masked", "vicreg"), pretext_loss),
    "pretext.hidden": Case(("0.25", "0.75"), pretext_loss, MASKED),
    "pretext.blocks": Case(("4", "8"), pretext_loss, MASKED),
    "pretext.noise": Case(("0.0", "0.5"), pretext_loss, MASKED),
    "pretext.crop": Case(("0.8", "1.0"), pretext_loss, VICREG),
    "pretext.contrast": Case(("0.0", "0.5"), pretext_loss, VICREG),
    "pretext.points": Case(("8", "64"), pretext_loss, VICREG),
    "pretext.covariance": Case(("0.0", "1.0"), pretext_loss, VICREG),
    "pseudo.file": Case(("labels.csv",), fold_hash),
    "pseudo.share": Case(("0.25", "0.75"), weights, ("pseudo.file=labels.csv",)),
    "inference.tta": Case(("none",), probabilities),
    "inference.batch_size": Case(("5",), probabilities),
    "stage.name": Case(("other",), history),
    "stage.epochs": Case(("2", "3"), history),
    "stage.tiles": Case(("masks", "pseudo"), weights),
    "stage.loss.name": Case(("dice", "focal", "bce+dice", "lovasz", "bce+lovasz"), loss_value),
    "stage.loss.phi": Case(("relu",), loss_value, LOVASZ),
    "stage.loss.symmetric": Case(("false",), loss_value, LOVASZ),
    "stage.loss.ignore_empty": Case(("true",), loss_value),
    "stage.loss.gamma": Case(("1.0",), loss_value, ("stage.first.loss.name=focal",)),
    "stage.loss.side_weight": Case(("0.0", "1.0"), loss_value, HEADS),
    "stage.loss.nonempty_weight": Case(("0.0", "1.0"), loss_value, HEADS),
    "stage.loss.empty_weight": Case(("0.0", "1.0"), loss_value, HEADS),
    "stage.consistency.weight": Case(("0.5", "1.0"), weights),
    "stage.consistency.loss": Case(("mse",), weights, CONSISTENCY),
    "stage.consistency.tiles": Case(("1.0", "1.5"), weights, CONSISTENCY),
    "stage.consistency.decay": Case(("0.5",), weights, CONSISTENCY),
    "stage.consistency.ramp": Case(("0.0", "0.9"), weights, CONSISTENCY),
    "stage.consistency.cutmix": Case(("0.0", "1.0"), weights, CONSISTENCY),
    "stage.optimizer.name": Case(
        ("adam", "adamw"), weights, ("stage.first.optimizer.weight_decay=0.1",)
    ),
    "stage.optimizer.lr": Case(("0.01",), weights),
    "stage.optimizer.weight_decay": Case(("0.1",), weights),
    "stage.optimizer.momentum": Case(("0.5", "0.0"), weights),
    "stage.optimizer.clip": Case(("0.01",), weights),
    "stage.optimizer.normalized": Case(("true",), weights),
    "stage.schedule.name": Case(
        ("cosine", "cosine-restarts", "poly", "plateau"),
        rates,
        along={
            "cosine-restarts": ("stage.first.schedule.cycle=2",),
            "plateau": ("stage.first.schedule.patience=2",),
        },
    ),
    "stage.schedule.floor": Case(("0.5",), rates, COSINE),
    "stage.schedule.warmup": Case(("0.25",), rates),
    "stage.schedule.cycle": Case(("1", "4"), rates, RESTARTS),
    "stage.schedule.power": Case(("2.0",), rates, ("stage.first.schedule={name='poly'}",)),
    "stage.schedule.factor": Case(("0.5",), rates, PLATEAU),
    "stage.schedule.patience": Case(("1", "3"), rates, PLATEAU),
    "stage.shrink": Case(("2",), weights),
    "stage.keep": Case(("best", "average", "ema", "snapshots"), weights),
    "stage.average_over": Case(("cycles",), weights, (*RESTARTS, "stage.first.keep=average")),
    "stage.ema_decay": Case(("0.5",), weights, ("stage.first.keep=ema",)),
    "stage.monitor": Case(("loss",), weights, ("stage.first.keep=best",)),
    "stage.early_stopping": Case(("1",), history),
}


def keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and type of every value in a configuration."""
    for name, info in model.model_fields.items():
        inner = [a for a in typing.get_args(info.annotation) if a is not Ellipsis]
        for annotation in (info.annotation, *inner):
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                yield from keys(annotation, f"{prefix}{name}.")
                break
        else:
            yield f"{prefix}{name}", info.annotation


KEYS = dict(keys())


def test_every_key_has_its_case() -> None:
    assert set(CASES) == set(KEYS)
    assert len(KEYS) > 45
    assert {"input.size", "stage.schedule.warmup", "model.options"} <= set(KEYS)


def configure(folder: Path, *overrides: str) -> Config:
    path = folder / "base.toml"
    path.write_text(BASE, encoding="utf-8")
    return load_config(path, overrides)


@pytest.mark.parametrize("key", CASES)
def test_every_key_does_something(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[key]
    monkeypatch.chdir(tmp_path)
    write_weights(tmp_path)
    path = key.replace("stage.", "stage.first.")
    settings = [
        case.given,
        *((*case.given, *case.along.get(value, ()), f"{path}={value}") for value in case.values),
    ]
    effects = []
    for number, overrides in enumerate([case.given, *settings]):  # the first twice
        folder = tmp_path / str(number)
        folder.mkdir()
        effects.append(case.effect(configure(tmp_path, *overrides), folder))
    assert effects[0] == effects[1]  # what differs below differs because of the key
    for number, effect in enumerate(effects[2:], start=2):
        others = [other for n, other in enumerate(effects) if n != number]
        assert effect not in others, settings[number - 1]


def write_weights(folder: Path) -> None:
    """A file of other weights than a network starts with."""
    torch.manual_seed(1)
    config = configure(folder)
    state = build(config.model, 1).state_dict()
    safetensors.torch.save_file(state, folder / "w.safetensors")


@pytest.mark.parametrize(
    "key", [key for key, kind in KEYS.items() if typing.get_origin(kind) is Literal]
)
def test_every_choice_is_tried(key: str, tmp_path: Path) -> None:
    """All values of a choice but the one that the case starts from, and ``auto``: one of these."""
    case = CASES[key]
    value: Any = configure(tmp_path, *case.given)
    for part in key.split("."):
        value = value.stage[0] if part == "stage" else getattr(value, part)
    assert {*case.values, value} == {*typing.get_args(KEYS[key])} - {"auto"}


# --- a key that nobody reads

#: For every key that not every choice reads: settings under which nothing does, and what is told.
IDLE = {
    "augment.mix": (MASKED, "pretext.name is masked"),
    "augment.mix_probability": ((), "mix is none"),
    "input.border": (("input.framing=resize",), "framing is resize"),
    "model.encoder": ((), "model.architecture is compact"),
    "pretext.hidden": ((), "pretext.name is none"),
    "pretext.blocks": ((), "pretext.name is none"),
    "pretext.noise": ((), "pretext.name is none"),
    "pretext.crop": (MASKED, "pretext.name is masked"),
    "pretext.contrast": (MASKED, "pretext.name is masked"),
    "pretext.points": ((), "pretext.name is none"),
    "pretext.covariance": ((), "pretext.name is none"),
    "inference.tta": (MASKED, "pretext.name is masked"),
    "inference.batch_size": (VICREG, "pretext.name is vicreg"),
    "stage.tiles": (MASKED, "pretext.name is masked"),
    "stage.loss.name": (MASKED, "pretext.name is masked"),
    "stage.loss.ignore_empty": (MASKED, "pretext.name is masked"),
    "pseudo.file": (("stage.first.tiles=masks",), "tiles is masks"),
    "pseudo.share": ((), "pseudo.file is empty"),
    "stage.loss.phi": ((), "loss.name is bce"),
    "stage.loss.symmetric": (("stage.first.loss.name=focal",), "loss.name is focal"),
    "stage.loss.gamma": (LOVASZ, "loss.name is lovasz"),
    "stage.loss.side_weight": ((), "model.options.deep_supervision is not given"),
    "stage.loss.nonempty_weight": (
        ("model.architecture=unet", "model.options={empty_head=false}"),
        "model.options.empty_head is false",
    ),
    "stage.loss.empty_weight": ((), "model.options.empty_head is not given"),
    **{
        f"stage.consistency.{key}": ((), "consistency.weight is 0.0")
        for key in ("loss", "tiles", "decay", "ramp", "cutmix")
    },
    "stage.optimizer.clip": (
        ("stage.first.optimizer.normalized=true",), "optimizer.normalized is true",
    ),
    "stage.schedule.floor": ((), "schedule.name is constant"),
    "stage.schedule.cycle": (COSINE, "schedule.name is cosine"),
    "stage.schedule.power": (("stage.first.schedule.name=plateau",), "schedule.name is plateau"),
    "stage.schedule.factor": ((), "schedule.name is constant"),
    "stage.schedule.patience": (("stage.first.schedule.name=poly",), "schedule.name is poly"),
    "stage.average_over": (("stage.first.keep=ema",), "keep is ema"),
    "stage.ema_decay": (("stage.first.keep=average",), "keep is average"),
    "stage.monitor": ((), "keep is last, schedule.name is constant, early_stopping is 0"),
}  # fmt: skip


def test_every_key_is_read_always_or_has_its_readers() -> None:
    assert set(READERS) == set(IDLE)
    assert set(READERS) <= set(KEYS)
    needs_a_choice = {key for key, case in CASES.items() if case.given}
    to_tell_values_apart = {"model.architecture", "stage.optimizer.name"}
    assert needs_a_choice - to_tell_values_apart <= set(READERS)


@pytest.mark.parametrize("key", IDLE)
def test_a_key_that_nobody_reads_is_refused(key: str, tmp_path: Path) -> None:
    """Given by ``--set`` or in the file, at its default or not; what is told to do mends it."""
    given, now = IDLE[key]
    path, value = key.replace("stage.", "stage.first."), CASES[key].values[0]
    default = configure(tmp_path, *given)
    for setting in (f"{path}={value}", f"{path}={toml_of(default, key)}"):
        told = re.escape(f"--set {setting}: {path} does nothing, for ") + ".*" + re.escape(now)
        with pytest.raises(ConfigError, match=told) as refusal:
            configure(tmp_path, *given, setting)
        assert f"leave {path} out, or --set " in refusal.value.next_step
    remedy = refusal.value.next_step.split("--set ")[1].removesuffix(" or ")
    fitting = ["stage.first.schedule.cycle=2"] if key == "stage.schedule.cycle" else []
    configure(tmp_path, *given, setting, remedy, *fitting)
    own = tmp_path / "own.toml"
    own.write_text(dump_config(default), encoding="utf-8")
    assert load_config(own) == default  # what is written out holds no such key
    write_key(own, key, value)
    with pytest.raises(ConfigError, match=rf"own\.toml, \[.*: {re.escape(path)} does nothing"):
        load_config(own)
    assert load_run_config(own).stage[0].name == "first"  # a run's own file says what was


def toml_of(config: Config, key: str) -> str:
    value: Any = config
    for part in key.split("."):
        value = value.stage[0] if part == "stage" else getattr(value, part)
    return tomli_w.dumps({"x": value}).removeprefix("x = ").strip()


def write_key(path: Path, key: str, value: str) -> None:
    """Write a key into a file, with the value that ``--set`` would give it."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    *tables, last = key.split(".")
    table: Any = data
    for name in tables:
        table = table[name][0] if name == "stage" else table.setdefault(name, {})
    try:
        table[last] = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        table[last] = value
    path.write_text(tomli_w.dumps(data), encoding="utf-8")


def test_a_choice_that_is_set_leaves_the_files_other_keys_unread(tmp_path: Path) -> None:
    """Nobody has to take back what the file says for the choice that it makes."""
    config = load_config(preset_path("quick"), ["stage.*.schedule.name=constant"])
    assert "floor" not in dump_config(config)
    plain = load_config(preset_path("quick"), ["stage.*.schedule={name='constant', warmup=0.2}"])
    assert differences(config, plain) == ["stage.swa.schedule.warmup: 0.0 -> 0.2"]


def test_a_star_is_read_where_one_stage_reads_it() -> None:
    config = load_config(preset_path("quick"), ["stage.*.loss.phi=relu"])
    assert [stage.loss.phi for stage in config.stage] == ["relu"] * 3
    told = r"^--set stage\.\*\.loss\.gamma=1: stage\.bce\.loss\.gamma does nothing[^;]*\nexpected"
    with pytest.raises(ConfigError, match=told):
        load_config(preset_path("quick"), ["stage.*.loss.gamma=1"])


def test_all_that_nobody_reads_is_named_at_once() -> None:
    told = r"encoder=resnet50: (.|\n)*bce\.loss\.gamma=1: (.|\n)*loss\.name=focal"
    with pytest.raises(ConfigError, match=told):
        load_config(preset_path("quick"), ["model.encoder=resnet50", "stage.bce.loss.gamma=1"])


@pytest.mark.parametrize("preset", preset_names())
def test_no_preset_holds_a_key_that_nobody_reads(preset: str) -> None:
    config = load_config(preset_path(preset))
    idle = [".".join(map(str, path)) for path, _ in unread(config) if is_given(config, path)]
    assert idle == []


def test_the_architectures_without_an_encoder_are_those() -> None:
    assert set(WITHOUT_ENCODER) == set(WHOLE)
