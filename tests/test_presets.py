"""One contract for every preset: builds offline, gives logits, learns, comes back from disk."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from kaggle_salt.config.file import load_config
from kaggle_salt.config.schema import Config, InferenceConfig, ModelConfig
from kaggle_salt.config.stage import StageConfig
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.augment import Augmenter
from kaggle_salt.learning.channels import settle_channels
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import predict
from kaggle_salt.learning.losses import make_loss
from kaggle_salt.learning.networks import build, check_size
from kaggle_salt.learning.networks.pretrained import apply_weights, read_weights
from kaggle_salt.learning.optim import make_optimizer
from kaggle_salt.learning.outputs import Outputs
from kaggle_salt.presets import (
    CPU_PRESET,
    FOLD_MINUTES,
    GPU_PRESET,
    Measured,
    list_presets,
    preset_names,
    preset_path,
    read_measured,
)

PRESETS = preset_names()
SIDE, SIZE = 48, 64  # small, for time's sake; the presets' own sizes are checked once
TILES = 2  # of a batch: the least that batch norm can do with
STEPS = 12  # within which a loss has to fall
COMPUTE = Compute(torch.device("cpu"))

every_preset = pytest.mark.parametrize("preset", PRESETS)


def load(preset: str, *overrides: str) -> Config:
    """A preset, for grey tiles as the competition's are."""
    return settle_channels(load_config(preset_path(preset), overrides), coloured=False)


def small(preset: str) -> Config:
    return load(preset, f"input.size={SIZE}")


def comment_of(preset: str) -> list[str]:
    lines = preset_path(preset).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("#")]


def batch() -> tuple[Tensor, Tensor]:
    """Tiles whose bright lower part is salt, uint8 and bool ``[B, H, W]``; the first is empty."""
    rng = np.random.default_rng(0)
    masks = np.zeros((TILES, SIDE, SIDE), dtype=np.bool_)
    for row in range(1, TILES):
        masks[row, 20 * row :] = True
    tiles = (rng.integers(0, 80, masks.shape) + 120 * masks).astype(np.uint8)
    return torch.from_numpy(tiles), torch.from_numpy(masks)


# --- the files


# so that the sweeps below are known to cover them all
def test_there_are_thirteen_presets() -> None:
    assert len(PRESETS) == 14
    assert PRESETS == sorted(PRESETS)
    assert {GPU_PRESET, CPU_PRESET} <= set(PRESETS)


def test_presets_are_found_by_name() -> None:
    assert preset_path("unet").name == "unet.toml"
    with pytest.raises(ConfigError, match=r"'resnet43'\n.*'resnet34'(.|\n)*--config"):
        preset_path("resnet43")
    with pytest.raises(ConfigError, match=r"one of night, normgrad, pseudo, quick, .*xception"):
        preset_path("")


def test_the_minutes_of_a_fold_are_those_of_the_presets_own_comment() -> None:
    for preset, minutes in FOLD_MINUTES.items():
        told = " ".join(line.lstrip("# ") for line in comment_of(preset))
        assert f"in {minutes} minutes on one" in told


@every_preset
def test_it_opens_with_its_command(preset: str) -> None:
    labels = " --pseudo FILE" if any(s.tiles == "pseudo" for s in load(preset).stage) else ""
    first, second, *rest = comment_of(preset)
    assert first == f"# salt train --preset {preset}{labels} --fold 0"
    assert second == "#"
    assert any("measured" in line or re.search(r"\.\d{4}", line) for line in rest)


@every_preset
def test_every_key_its_comment_would_set_is_one(preset: str) -> None:
    text = " ".join(comment_of(preset))
    settings = [a or b for a, b in re.findall(r"--set (?:'([^']+)'|(\S+?)(?=\s|$))", text)]
    assert len(settings) == text.count("--set")
    assert (load(preset, *settings) != load(preset)) == bool(settings)


@every_preset
def test_it_is_listed(preset: str) -> None:
    [listed] = [one for one in list_presets() if one.name == preset]
    assert listed.description == load(preset).description
    assert 20 < len(listed.description) <= 60  # a line of the list
    assert listed.machine in ("two CPU cores", "a small GPU", "one GPU", "a large GPU")


def test_an_empty_field_was_not_measured(tmp_path: Path) -> None:
    header = ",".join(["preset", *Measured.__dataclass_fields__])
    path = tmp_path / "measured.csv"
    path.write_text(f"{header}\na,7,30,112,39,16.2,75.5,.81,.79,.83,a laptop,\nb,8,,,,,,,,,,\n")
    assert read_measured(path) == {
        "a": Measured(7, 30.0, 112, 39, 16.2, 75.5, 0.81, 0.79, 0.83, "a laptop", ""),
        "b": Measured(8, None, None, None, None, None, None, None, None, "", ""),
    }


def test_every_preset_has_its_line_of_results() -> None:
    assert list(read_measured()) == PRESETS


# --- the networks


@pytest.fixture(scope="module", params=PRESETS)
def preset(request: pytest.FixtureRequest) -> str:
    """Every preset in turn; the fixtures below are made once for each."""
    return str(request.param)


def build_seeded(config: Config, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return COMPUTE.place(build(config.model, config.input.channel_count, pretrained=False))


@pytest.fixture(scope="module")
def network(preset: str) -> nn.Module:
    """Untrained; tests copy it before they change it."""
    return build_seeded(load(preset))


@dataclass
class Trained:
    """A network after some steps of each stage, and the losses on the way."""

    network: nn.Module
    losses: dict[str, list[float]]


def prepared(config: Config, shrink: int = 1) -> tuple[Framing, Tensor, Tensor]:
    """Framing, inputs ``[B, C, S, S]`` and target ``[B, 1, H, W]`` of the batch."""
    framing = Framing((SIDE, SIDE), config.input, shrink)
    tiles, masks = batch()
    return framing, framing.prepare(tiles), masks[:, None]


def train_stage(network: nn.Module, config: Config, stage: StageConfig) -> list[float]:
    """Steps on one batch as the training loop makes them, until the loss has fallen."""
    framing, inputs, target = prepared(config, stage.shrink)
    optimizer, loss = make_optimizer(stage.optimizer, network), make_loss(stage.loss)
    network.train()
    losses: list[float] = []
    for _ in range(STEPS):
        torch.manual_seed(0)  # the same dropout in every step: a lower loss is no luck
        value = loss(COMPUTE.outputs(network, inputs).map(framing.unframe), target)
        losses.append(value.item())
        if losses[-1] < 0.9 * losses[0]:
            break
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return losses


@pytest.fixture(scope="module")
def trained(preset: str, network: nn.Module) -> Trained:
    config = small(preset)
    losses = {}
    for stage in config.stage:
        student = copy.deepcopy(network)  # each stage from scratch, where there is most to learn
        losses[stage.name] = train_stage(student, config, stage)
    return Trained(student, losses)


def test_its_size_is_on_record(preset: str, network: nn.Module) -> None:
    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert read_measured()[preset].parameters == parameters


def test_it_takes_the_competitions_tiles(preset: str, network: nn.Module) -> None:
    config = load(preset)
    Augmenter(config.augment.pipeline)
    for shrink in {1, *(stage.shrink for stage in config.stage)}:
        shape = Framing((101, 101), config.input, shrink).network_shape
        check_size(network, config.input.channel_count, shape)


@pytest.mark.parametrize("tile", [(101, 151), (96, 64)])
def test_it_takes_rectangles_at_its_own_size(preset: str, tile: tuple[int, int]) -> None:
    config = load(preset)
    with torch.device("meta"):  # sizes alone: nothing is computed
        network = build(config.model, config.input.channel_count, pretrained=False)
    for shrink in {1, *(stage.shrink for stage in config.stage)}:
        shape = Framing(tile, config.input, shrink).network_shape
        assert (shape[0] > shape[1]) <= (tile[0] > tile[1])
        check_size(network, config.input.channel_count, shape)


@pytest.mark.parametrize("tile", [(40, 72), (72, 40)])
def test_predictions_of_rectangles_come_back_whole(
    preset: str, network: nn.Module, tile: tuple[int, int]
) -> None:
    config = small(preset)
    framing = Framing(tile, config.input)
    maps = torch.rand(2, 1, *tile, generator=torch.Generator().manual_seed(0))
    if config.input.framing == "pad":
        assert torch.equal(framing.unframe(framing.frame(maps)), maps)
    tiles, out = (255 * maps[:, 0]).byte().numpy(), np.zeros((2, *tile), dtype=np.uint8)
    plain = InferenceConfig(tta="none")
    predict([network], tiles, out, framing=framing, compute=COMPUTE, config=plain)
    assert (out > 0).any()


@every_preset
def test_framing_keeps_every_pixel(preset: str) -> None:
    config = load(preset).input
    framing = Framing((101, 101), config)
    maps = torch.rand(2, 1, 101, 101, generator=torch.Generator().manual_seed(0))
    restored = framing.unframe(framing.frame(maps))
    if config.framing == "pad":
        assert torch.equal(restored, maps)
    else:  # there and back by interpolation: a smooth map comes through
        slope = torch.linspace(0, 1, 101).expand(1, 1, 101, 101)
        back = framing.unframe(framing.frame(slope))
        assert torch.allclose(back, slope, atol=0.01)
        assert restored.shape == maps.shape


@pytest.mark.parametrize("channels", ["grey", "grey3", "grey+depth", "rgb"])
def test_it_gives_a_logit_for_every_pixel(preset: str, network: nn.Module, channels: str) -> None:
    config = load(preset, f"input.size={SIZE}", f"input.channels={channels}")
    if config.input.channel_count != load(preset).input.channel_count:
        network = build_seeded(config)
    framing, inputs, target = prepared(config)
    assert inputs.shape == (TILES, config.input.channel_count, SIZE, SIZE)
    network.eval()
    with torch.inference_mode():
        logits = network(inputs)
    assert isinstance(logits, Tensor)  # whatever heads there are
    assert logits.shape == (TILES, 1, SIZE, SIZE)
    assert torch.isfinite(logits).all()
    assert framing.unframe(logits).shape == target.shape


def test_its_heads_speak_in_training(preset: str, network: nn.Module) -> None:
    config = small(preset)
    options: dict[str, Any] = config.model.options
    framing, inputs, target = prepared(config)
    student = copy.deepcopy(network).train()
    with torch.no_grad():
        given = student(inputs)
    has_heads = options.get("deep_supervision", False) or options.get("empty_head", False)
    assert isinstance(given, Outputs) == has_heads
    outputs = COMPUTE.outputs(student, inputs).map(framing.unframe)
    assert len(outputs.sides) == (4 if options.get("deep_supervision") else 0)
    for maps in (outputs.logits, *outputs.sides):
        assert maps.shape == target.shape
    if options.get("empty_head"):
        assert outputs.nonempty is not None
        assert outputs.has_salt is not None
        assert outputs.nonempty.shape == target.shape
        assert outputs.has_salt.shape == (TILES,)
    else:
        assert outputs.nonempty is None
        assert outputs.has_salt is None


def test_the_loss_of_every_stage_falls_on_one_batch(preset: str, trained: Trained) -> None:
    assert list(trained.losses) == [stage.name for stage in load(preset).stage]
    for stage, losses in trained.losses.items():
        assert losses[-1] < 0.9 * losses[0], (stage, losses)


def test_every_parameter_gets_a_gradient(trained: Trained) -> None:
    idle = [name for name, p in trained.network.named_parameters() if p.grad is None]
    assert idle == []


def test_its_weights_come_back_from_disk(
    preset: str, network: nn.Module, trained: Trained, tmp_path: Path
) -> None:
    _, inputs, _ = prepared(small(preset))
    state = {name: tensor.contiguous() for name, tensor in trained.network.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    other = copy.deepcopy(network).eval()
    with torch.inference_mode():
        expected = COMPUTE.forward(trained.network.eval(), inputs)
        assert not torch.equal(COMPUTE.forward(other, inputs), expected)
        apply_weights(other, read_weights(tmp_path / "w.safetensors"), "w.safetensors")
        assert torch.equal(COMPUTE.forward(other, inputs), expected)


# --- the options of [model.options]

#: Another value of every option that a preset names, by architecture.
OTHER_VALUES: dict[str, dict[str, Any]] = {
    "classic-unet": {"widths": [8, 16, 32], "dropout": 0.4},
    "resunet": {"dropout": 0.1},
    "salt-resnet": {"stem": "full", "dropout": 0.1},
    "unet": {
        "keep_resolution": "none",
        "scse": False,
        "hypercolumn": False,
        "deep_supervision": False,
        "empty_head": False,
    },
}


def test_every_option_named_has_another_value() -> None:
    named: dict[str, set[str]] = {}
    for model in (load(preset).model for preset in PRESETS):
        named.setdefault(model.architecture, set()).update(model.options)
    wanted = {architecture: options for architecture, options in named.items() if options}
    assert wanted == {name: set(values) for name, values in OTHER_VALUES.items()}


@pytest.mark.parametrize("architecture", OTHER_VALUES)
def test_every_option_named_makes_another_network(architecture: str) -> None:
    options: dict[str, Any] = {}
    for model in (load(preset).model for preset in PRESETS):
        if model.architecture == architecture:
            options = {**model.options, **options}  # of salt-resnet's three, the first's stem
    if architecture == "salt-resnet":
        assert options["stem"] == "halving"

    def network(**changed: Any) -> str:
        values = {**options, **changed}
        model = ModelConfig(
            architecture=architecture, encoder="resnet18", weights="none", options=values
        )
        return str(build(model, 1))

    usual = network()
    for option, value in OTHER_VALUES[architecture].items():
        assert network(**{option: value}) != usual, option
