from __future__ import annotations

import copy

import pytest
import torch

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks.encoders import (
    KeepResolution,
    halve_once_less,
    make_encoder,
    stage_channels,
)
from tests.learning.makers import copy_state, same_bits

TINY = "tu-test_resnet"  # timm's own: a hundred thousand parameters

#: Of both libraries, with and without squeeze and excitation.
RESNETS = ["resnet34", "se_resnext50_32x4d", "tu-resnet18", "tu-seresnext50_32x4d", TINY]


@pytest.mark.parametrize("name", ["resnet18", TINY, f"{TINY}.r160_in1k"])
@pytest.mark.parametrize("channels", [1, 3])
def test_smps_and_timms_encoders(name: str, channels: int) -> None:
    encoder = make_encoder(name, channels, imagenet=False)
    found = encoder(torch.zeros(2, channels, 64, 64))
    assert [x.shape[1] for x in found] == stage_channels(encoder)
    assert [x.shape[-1] for x in found] == [64, 32, 16, 8, 4, 2]


@pytest.mark.parametrize("name", RESNETS)
@pytest.mark.parametrize(
    ("how", "sides"),
    [
        ("none", [64, 32, 16, 8, 4, 2]),
        ("pool", [64, 32, 32, 16, 8, 4]),
        ("stem", [64, 64, 32, 16, 8, 4]),
    ],
)
def test_the_resolution_can_be_kept(name: str, how: KeepResolution, sides: list[int]) -> None:
    with torch.device("meta"):  # sizes alone: nothing is computed
        encoder = make_encoder(name, 3, imagenet=False)
        halve_once_less(encoder, how)
        assert [x.shape[-1] for x in encoder(torch.zeros(2, 3, 64, 64))] == sides


def test_the_stem_is_untouched_or_sees_every_pixel() -> None:
    x = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = make_encoder("resnet18", 1, imagenet=False).eval()
    pool, stem = copy.deepcopy(plain), copy.deepcopy(plain)
    halve_once_less(pool, "pool")
    halve_once_less(stem, "stem")
    with torch.inference_mode():
        expected = plain(x)[1]
        assert torch.equal(pool(x)[1], expected)
        assert torch.allclose(stem(x)[1][..., ::2, ::2], expected, atol=1e-5)


@pytest.mark.parametrize("how", ["pool", "stem"])
def test_all_weights_stay(how: KeepResolution) -> None:
    encoder = make_encoder(TINY, 3, imagenet=False)
    before = copy_state(encoder)
    halve_once_less(encoder, how)
    assert same_bits(copy_state(encoder), before)
    assert encoder.training


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("mobilenet_v2", "pool", "'pool' does not suit the encoder: it has no first max-pool"),
        ("xception", "pool", r"it fails then \(RuntimeError: The size of tensor a"),
        ("tu-test_convnext", "stem", "'stem' does not suit .*: it has no first .* of stride 2"),
        ("efficientnet-b0", "stem", "it makes 3 px of 64 then, not 4"),
    ],
)
def test_an_encoder_that_cannot_keep_its_resolution(
    name: str, how: KeepResolution, message: str
) -> None:
    encoder = make_encoder(name, 1, imagenet=False)
    with pytest.raises(ConfigError, match=rf"{message}(.|\n)*keep_resolution=none"):
        halve_once_less(encoder, how)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet43", r"unknown encoder 'resnet43'\n.*'resnet34'"),
        ("tu-test_resnt", r"unknown encoder 'tu-test_resnt'\n.*tu-test_resnet"),
        ("tu-qqqqqq", r"unknown encoder 'tu-qqqqqq'\n.*a model of timm"),
        ("tu-test_vit", "tu-test_vit cannot be built: Unsupported"),
        (f"{TINY}.nonsense", "cannot be built: Invalid pretrained tag"),
    ],
)
def test_what_is_no_encoder_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_encoder(name, 1, imagenet=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dpn68b", r"Wrong pretrained weights `imagenet`"),
        ("tu-cspresnet50d", "No pretrained weights exist"),
    ],
)
def test_an_encoder_that_has_no_imagenet_weights_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_encoder(name, 3, imagenet=True)
