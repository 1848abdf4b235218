from __future__ import annotations

from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from kaggle_salt.learning.networks.blocks import HypercolumnHead
from kaggle_salt.learning.networks.encoders import KeepResolution, make_encoder
from kaggle_salt.learning.networks.unet import SmpUnet
from kaggle_salt.learning.outputs import Outputs
from tests.learning.makers import push_down

CHANNELS = (48, 32, 16, 16, 16)  # smp's scSE needs sixteen
ALL_HEADS = {"hypercolumn": True, "deep_supervision": True, "empty_head": True}


def unet(encoder: str = "tu-test_resnet", **options: Any) -> SmpUnet:
    torch.manual_seed(0)
    options = {"decoder_channels": CHANNELS, **options}
    return SmpUnet(make_encoder(encoder, 1, imagenet=False), **options)


def tiles(side: int = 32, n: int = 2) -> Tensor:
    return torch.randn(n, 1, side, side, generator=torch.Generator().manual_seed(1))


def logits(network: nn.Module, side: int = 32) -> Tensor:
    with torch.inference_mode():
        output: Tensor = network.eval()(tiles(side))
    return output


# --- one logit for every pixel, whatever the switches


@pytest.mark.parametrize("keep_resolution", ["none", "pool", "stem"])
@pytest.mark.parametrize("scse", [False, True])
@pytest.mark.parametrize("hypercolumn", [False, True])
@pytest.mark.parametrize("heads", [False, True])
def test_the_output_is_as_large_as_the_input(
    keep_resolution: KeepResolution, scse: bool, hypercolumn: bool, heads: bool
) -> None:
    with torch.device("meta"):  # sizes alone: nothing is computed
        network = unet(
            keep_resolution=keep_resolution,
            scse=scse,
            hypercolumn=hypercolumn,
            deep_supervision=heads,
            empty_head=heads,
        )
        outputs = network(torch.zeros(2, 1, 112, 112))
        for side in (64, 112, 128):
            assert network.eval()(torch.zeros(2, 1, side, side)).shape == (2, 1, side, side)
    assert isinstance(outputs, Outputs) == heads
    maps = [outputs] if not heads else [*outputs.sides, outputs.logits, outputs.nonempty]
    assert [tuple(y.shape) for y in maps] == [(2, 1, 112, 112)] * (6 if heads else 1)
    assert not heads or outputs.has_salt.shape == (2,)


@pytest.mark.parametrize("encoder", ["resnet34", "se_resnext50_32x4d", "tu-resnet18"])
@pytest.mark.parametrize("keep_resolution", ["pool", "stem"])
def test_so_it_is_on_the_presets_encoders(encoder: str, keep_resolution: KeepResolution) -> None:
    with torch.device("meta"):
        network = unet(encoder, keep_resolution=keep_resolution, scse=True, **ALL_HEADS).eval()
        assert network(torch.zeros(2, 1, 112, 112)).shape == (2, 1, 112, 112)


@pytest.mark.parametrize("side", [50, 33])
@pytest.mark.parametrize("keep_resolution", ["none", "pool", "stem"])
def test_odd_sizes_are_welcome(side: int, keep_resolution: str) -> None:
    network = unet(keep_resolution=keep_resolution, scse=True, hypercolumn=True)
    assert logits(network, side).shape == (2, 1, side, side)


@pytest.mark.parametrize("options", [{}, ALL_HEADS], ids=["plain", "all heads"])
def test_no_sigmoid(options: dict[str, bool]) -> None:
    network = unet(**options)
    push_down(network)
    assert logits(network).max() < 0


# --- against smp's own


def test_plain_it_is_smps_unet() -> None:
    """The same names, and with the same weights the same numbers."""
    torch.manual_seed(1)
    peer = smp.Unet(
        "tu-test_resnet", encoder_weights=None, in_channels=1, decoder_channels=CHANNELS
    )
    network = unet()
    network.load_state_dict(peer.state_dict())
    assert torch.equal(logits(network), logits(peer))


def test_on_vgg_it_has_smps_centre() -> None:
    with torch.device("meta"):  # VGG's classifier alone, thrown away, takes seconds to make
        peer = smp.Unet("vgg11", encoder_weights=None, in_channels=3)
        network = SmpUnet(make_encoder("vgg11", 3, imagenet=False))
    assert network.state_dict().keys() == peer.state_dict().keys()


def test_with_scse_only_the_gate_for_the_skip_that_is_not_there_is_gone() -> None:
    torch.manual_seed(1)
    peer = smp.Unet(
        "tu-test_resnet",
        encoder_weights=None,
        in_channels=1,
        decoder_channels=CHANNELS,
        decoder_attention_type="scse",
    )
    network = unet(scse=True)
    missing, left_over = network.load_state_dict(peer.state_dict(), strict=False)
    assert missing == []
    assert {name.rpartition(".attention.")[0] for name in left_over} == {
        "decoder.blocks.4.attention1"
    }
    assert torch.equal(logits(network), logits(peer))


# --- every switch does what it says


@pytest.mark.parametrize(
    "options",
    [
        {"keep_resolution": "pool", "scse": True, **ALL_HEADS},
        {"keep_resolution": "stem", "deep_supervision": True},
        {"scse": True, "empty_head": True},
    ],
    ids=str,
)
def test_every_parameter_learns(options: dict[str, Any]) -> None:
    network = unet(**options)
    outputs = network(tiles())
    heads = [outputs.logits, *outputs.sides, outputs.nonempty, outputs.has_salt]
    sum(head.square().sum() for head in heads if head is not None).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("option", ["scse", "hypercolumn", "empty_head", "deep_supervision"])
def test_a_switch_adds_weights(option: str) -> None:
    plain, switched = unet().state_dict(), unet(**{option: True}).state_dict()
    assert switched.keys() > plain.keys() or option == "hypercolumn"
    shared = [name for name in plain if name.startswith(("encoder.", "decoder."))]
    assert all(switched[name].shape == plain[name].shape for name in shared)


@pytest.mark.parametrize("how", ["pool", "stem"])
def test_keeping_resolution_changes_the_logits_and_no_weight(how: str) -> None:
    plain, kept = unet(hypercolumn=True), unet(hypercolumn=True, keep_resolution=how)
    kept.load_state_dict(plain.state_dict())
    assert not torch.allclose(logits(kept), logits(plain))


def test_deep_supervision_leaves_the_logits_alone() -> None:
    plain, supervised = unet(), unet(deep_supervision=True)
    supervised.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(logits(supervised), logits(plain))


def test_each_decoder_stage_but_the_last_has_its_own_side_output() -> None:
    network = unet(deep_supervision=True)
    for head, bias in zip(network.side_heads, [1.0, 2.0, 3.0, 4.0], strict=True):
        assert isinstance(head, nn.Conv2d)
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, bias)  # type: ignore[arg-type]
    outputs = network(tiles())
    assert isinstance(outputs, Outputs)
    assert [side.unique().tolist() for side in outputs.sides] == [[1.0], [2.0], [3.0], [4.0]]
    assert outputs.nonempty is None
    assert outputs.has_salt is None


def test_the_hypercolumn_reads_every_decoder_stage() -> None:
    network = unet(hypercolumn=True)
    head = network.segmentation_head
    assert isinstance(head, HypercolumnHead)
    assert head[1][0].in_channels == sum(CHANNELS)  # type: ignore[index]


# --- the empty head


def test_the_feature_reaches_the_final_logits_but_not_the_branch() -> None:
    """A feature changed by hand: the final logits move, the branch of tiles with salt doesn't."""
    network = unet(empty_head=True, hypercolumn=True)
    head = network.empty_head
    assert head is not None
    for module in network.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    before = network(tiles())
    head.feature[3].bias.data += 1.0
    after = network(tiles())
    assert torch.equal(after.nonempty, before.nonempty)
    assert not torch.allclose(after.logits, before.logits)
    assert not torch.allclose(after.has_salt, before.has_salt)
