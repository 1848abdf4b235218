"""One contract for every preset: builds offline, gives logits, learns, comes back from disk."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from kaggle_salt.config import Config
from kaggle_salt.config_file import load_config
from kaggle_salt.learning.averaging import reestimate_batch_norm
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.fold import check_trainable
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.losses import make_loss
from kaggle_salt.learning.networks import build
from kaggle_salt.learning.networks.pretrained import apply_weights, read_weights
from kaggle_salt.learning.optim import make_optimizer
from kaggle_salt.presets import DEFAULT_PRESET, preset_names, preset_path

PRESETS = preset_names()
SIDE, SIZE = 48, 64  # small, for time's sake; the presets' own sizes are checked once
COMPUTE = Compute(torch.device("cpu"))

#: smp gives its last block, which has no skip, a gate for one; it is never asked.
IDLE_IN_SMP = "decoder.blocks.4.attention1."

every_preset = pytest.mark.parametrize("preset", PRESETS)


def test_there_are_three_presets() -> None:
    assert len(PRESETS) == 3  # so that the sweep below is known to cover them all


def load(preset: str, *overrides: str) -> Config:
    return load_config(preset_path(preset), ["model.weights=none", *overrides])


def small(preset: str, *overrides: str) -> Config:
    return load(preset, f"input.size={SIZE}", *overrides)


def batch(n: int = 4) -> tuple[Tensor, Tensor]:
    """Tiles whose bright lower part is salt, uint8 and bool ``[B, H, W]``."""
    rng = np.random.default_rng(0)
    masks = np.zeros((n, SIDE, SIDE), dtype=np.bool_)
    for row in range(1, n):
        masks[row, 12 * row :] = True
    tiles = (rng.integers(0, 80, masks.shape) + 120 * masks).astype(np.uint8)
    return torch.from_numpy(tiles), torch.from_numpy(masks)


@every_preset
def test_it_opens_with_its_command(preset: str) -> None:
    first, second, *rest = preset_path(preset).read_text(encoding="utf-8").splitlines()
    choice = "" if preset == DEFAULT_PRESET else f" --preset {preset}"
    assert first == f"# salt train{choice} --fold 0"
    assert second == "#"
    comment = [line for line in rest if line.startswith("#")]
    assert any("core" in line or "not measured" in line for line in comment)
    assert load(preset).description


@every_preset
def test_it_can_be_trained_on_the_competitions_tiles(preset: str) -> None:
    check_trainable(load(preset), (101, 101), pretrained=True)


@every_preset
@pytest.mark.parametrize("channels", [1, 3])
def test_it_gives_a_logit_for_every_pixel(preset: str, channels: int) -> None:
    config = small(preset, f"input.channels={channels}")
    torch.manual_seed(0)
    network = build(config.model, channels).eval()
    framing = Framing((SIDE, SIDE), config.input)
    tiles, masks = batch()
    with torch.inference_mode():
        logits = COMPUTE.forward(network, framing.prepare(tiles))
    assert logits.shape == (4, 1, SIZE, SIZE)
    assert framing.unframe(logits)[:, 0].shape == masks.shape
    assert framing.prepare(tiles).shape == (4, channels, SIZE, SIZE)


@every_preset
def test_framing_keeps_every_pixel(preset: str) -> None:
    config = load(preset).input
    framing = Framing((101, 101), config)
    maps = torch.rand(2, 1, 101, 101, generator=torch.Generator().manual_seed(0))
    restored = framing.unframe(framing.frame(maps))
    assert restored.shape == maps.shape
    if config.framing == "pad":
        assert torch.equal(restored, maps)


@every_preset
def test_the_loss_of_every_stage_falls_on_one_batch(preset: str) -> None:
    config = small(preset)
    tiles, masks = batch()
    for stage in config.stage:
        torch.manual_seed(0)
        network = COMPUTE.place(build(config.model, config.input.channel_count))
        framing = Framing((SIDE, SIDE), config.input, stage.shrink)
        optimizer = make_optimizer(stage.optimizer, network)
        loss = make_loss(stage.loss)
        losses = []
        for _ in range(6):
            logits = framing.unframe(COMPUTE.forward(network, framing.prepare(tiles)))
            value = loss(logits, masks[:, None])
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(value.item())
        assert min(losses[-2:]) < 0.95 * losses[0], stage.name
        idle = [name for name, p in network.named_parameters() if p.grad is None]
        assert [name for name in idle if not name.startswith(IDLE_IN_SMP)] == []


@every_preset
def test_its_weights_come_back_from_disk(preset: str, tmp_path: Path) -> None:
    config = small(preset)
    framing = Framing((SIDE, SIDE), config.input)
    inputs = framing.prepare(batch()[0])
    torch.manual_seed(0)
    network = COMPUTE.place(build(config.model, config.input.channel_count))
    reestimate_batch_norm(network, [inputs], COMPUTE.forward)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    torch.manual_seed(1)
    other = COMPUTE.place(build(config.model, config.input.channel_count, pretrained=False)).eval()
    apply_weights(other, read_weights(tmp_path / "w.safetensors"), "w.safetensors")
    with torch.inference_mode():
        expected = COMPUTE.forward(network.eval(), inputs)
        assert torch.equal(COMPUTE.forward(other, inputs), expected)
    assert math.isfinite(float(expected.sum()))


@every_preset
def test_every_option_it_names_does_something(preset: str) -> None:
    """The network without the option is another one, or drops out less."""
    model = load(preset).model
    changed = {"widths": [8, 16, 32], "dropout": 0.4, "decoder_attention_type": None}
    for option in model.options:
        options = {**model.options, option: changed.get(option, False)}
        other = build(model.model_copy(update={"options": options}), 1)
        assert str(other) != str(build(model, 1)), option
