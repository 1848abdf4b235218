from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import nn

from kaggle_salt.config.schema import ModelConfig
from kaggle_salt.errors import ConfigError, NetworkError
from kaggle_salt.learning.networks import ON_ENCODER, build, library
from kaggle_salt.learning.networks.encoders import make_encoder
from kaggle_salt.learning.networks.pretrained import COUNTER, downloading, fill_encoder
from tests.learning.makers import COMPACT, copy_state, same_bits


def compact(weights: Path | str = "none", **options: Any) -> ModelConfig:
    sizes = {**COMPACT["options"], **options}  # type: ignore[dict-item]
    return ModelConfig(architecture="compact", weights=str(weights), options=sizes)


def tiny_unet(weights: Path | str = "none", **options: Any) -> ModelConfig:
    return ModelConfig(encoder="tu-test_resnet", weights=str(weights), options=options)


def save(path: Path, state: dict[str, torch.Tensor]) -> Path:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


# --- files


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_a_whole_network_comes_from_a_file(suffix: str, tmp_path: Path) -> None:
    state = copy_state(build(compact(), 1))
    path = save(tmp_path / f"w{suffix}", state)
    assert same_bits(copy_state(build(compact(path), 1)), state)


def test_a_file_is_not_read_where_a_checkpoint_follows(tmp_path: Path) -> None:
    build(compact(tmp_path / "missing.safetensors"), 1, pretrained=False)


@pytest.mark.parametrize("hypercolumn", [False, True])
def test_an_encoders_file_fills_the_encoder_alone(hypercolumn: bool, tmp_path: Path) -> None:
    state = copy_state(build(tiny_unet(), 1).get_submodule("encoder"))
    path = save(tmp_path / "encoder.safetensors", state)
    network = build(tiny_unet(path, hypercolumn=hypercolumn), 1)
    assert same_bits(copy_state(network.get_submodule("encoder")), state)


def encoder_of(encoder: str, path: Path, channels: int = 3) -> nn.Module:
    """The encoder of a network that started from a file."""
    return build(ModelConfig(encoder=encoder, weights=str(path)), channels).get_submodule("encoder")


def without_counters(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.endswith(COUNTER)}


def seeded_state(encoder: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return copy_state(smp.encoders.get_encoder(encoder, weights=None))


def test_torchvisions_file_fits(tmp_path: Path) -> None:
    """The real architecture, whose file of 2018 has no counters and keeps the classifier."""
    torch.manual_seed(1)
    published = torchvision.models.resnet18(weights=None).state_dict()
    assert {"fc.weight", "bn1.num_batches_tracked"} <= published.keys()
    path = save(tmp_path / "resnet18-5c106cde.pth", without_counters(copy_published(published)))
    state = copy_state(encoder_of("resnet18", path))
    assert all(torch.equal(state[name], published[name]) for name in without_counters(state))
    assert {int(value) for name, value in state.items() if name.endswith(COUNTER)} == {0}


def copy_published(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.clone().contiguous() for name, tensor in state.items()}


PUBLISHED: list[tuple[str, Callable[[], nn.Module]]] = [
    ("resnet34", torchvision.models.resnet34),
    ("resnet34", lambda: timm.create_model("resnet34")),
    ("se_resnext50_32x4d", lambda: timm.create_model("legacy_seresnext50_32x4d")),
    ("xception", lambda: timm.create_model("legacy_xception")),
    ("tu-resnet34", torchvision.models.resnet34),
    ("densenet121", torchvision.models.densenet121),
    ("vgg16_bn", torchvision.models.vgg16_bn),
]


@pytest.mark.parametrize(("encoder", "publisher"), PUBLISHED)
def test_every_published_tensor_has_its_place(
    encoder: str, publisher: Callable[[], nn.Module]
) -> None:
    """Of the files that the README names for the presets' encoders, and some more."""
    with torch.device("meta"):  # names and shapes alone
        fill_encoder(make_encoder(encoder, 3, imagenet=False), publisher().state_dict(), "file")


def test_a_network_may_change_its_encoder_after_it_is_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that leaves out the layers it does not use, and starts with a new one."""

    class Cut(nn.Module):
        def __init__(self, encoder: nn.Module) -> None:
            super().__init__()
            self.encoder = encoder
            del encoder.layer4
            encoder.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)

    monkeypatch.setitem(ON_ENCODER, "unet", Cut)
    state = seeded_state("resnet18")
    path = save(tmp_path / "resnet18.pth", state)
    network = build(ModelConfig(encoder="resnet18", weights=str(path)), 3)
    layer = network.get_submodule("encoder.layer1").state_dict()
    assert all(torch.equal(t, state[f"layer1.{name}"]) for name, t in layer.items())
    whole = save(tmp_path / "whole.safetensors", copy_state(network))
    again = build(ModelConfig(encoder="resnet18", weights=str(whole)), 3)
    assert same_bits(copy_state(again), copy_state(network))


@pytest.mark.parametrize("architecture", ["fpn", "unetplusplus"])
def test_smps_own_networks_take_an_encoders_file(architecture: str, tmp_path: Path) -> None:
    state = seeded_state("resnet18")
    path = save(tmp_path / "resnet18.pth", {**state, "fc.bias": torch.zeros(1000)})
    config = ModelConfig(architecture=architecture, encoder="resnet18", weights=str(path))
    assert same_bits(copy_state(build(config, 3).get_submodule("encoder")), state)


TIMMS = ["test_resnet", "test_convnext", "test_efficientnet", "legacy_xception"]


@pytest.mark.parametrize("name", TIMMS)
def test_timms_file_fits(name: str, tmp_path: Path) -> None:
    """Under timm's own names, norms and heads behind the last map included."""
    torch.manual_seed(1)
    published = timm.create_model(name, pretrained=False).state_dict()
    path = save(tmp_path / "model.safetensors", copy_published(published))
    encoder = encoder_of(f"tu-{name}", path)
    own = copy_state(encoder)
    fresh = copy_state(smp.encoders.get_encoder(f"tu-{name}", weights=None))
    assert own.keys() == fresh.keys()
    assert sorted(t.sum().item() for t in own.values()) != sorted(
        t.sum().item() for t in fresh.values()
    )
    bare = {name.replace(".", "").replace("_", ""): t for name, t in published.items()}
    for key, tensor in own.items():
        stem = key.removeprefix("model.").removeprefix("body.")
        assert torch.equal(tensor, bare[stem.replace(".", "").replace("_", "")]), key


def test_timms_file_fits_grey(tmp_path: Path) -> None:
    published = timm.create_model("test_resnet", pretrained=False).state_dict()
    path = save(tmp_path / "model.safetensors", copy_published(published))
    first = encoder_of("tu-test_resnet", path, channels=1).state_dict()["model.conv1.0.weight"]
    assert torch.equal(first, published["conv1.0.weight"].sum(dim=1, keepdim=True))


@pytest.mark.parametrize("head", ["fc", "head", "classifier", "last_linear"])
def test_a_classifier_is_left_out_whatever_its_name(head: str, tmp_path: Path) -> None:
    state = seeded_state("resnet18")
    classifier = {f"{head}.weight": torch.zeros(1000, 512), f"{head}.bias": torch.zeros(1000)}
    path = save(tmp_path / "resnet18.pth", {**state, **classifier})
    assert same_bits(copy_state(encoder_of("resnet18", path)), state)


@pytest.mark.parametrize("encoder", ["resnet18", "tu-test_resnet"])
def test_what_else_an_encoders_file_lacks_or_has_is_named(encoder: str, tmp_path: Path) -> None:
    state = seeded_state(encoder)
    names = sorted(without_counters(state))
    for number, wrong in enumerate(
        [
            {name: state[name] for name in names[3:]},
            {**state, "neck.weight": torch.zeros(1), "fc.bias": torch.zeros(10)},
            {**state, names[0]: torch.zeros(7)},
        ]
    ):
        found = ["3 missing", r"1 left over \(neck.weight\)", "1 of another shape"][number]
        path = save(tmp_path / f"{number}.pth", wrong)
        with pytest.raises(ConfigError, match=rf"does not fit \w+Encoder: {found}"):
            encoder_of(encoder, path)


def test_another_architectures_file_is_refused_by_the_encoder(tmp_path: Path) -> None:
    path = save(tmp_path / "r.pth", seeded_state("resnet18"))
    with pytest.raises(ConfigError, match=r"does not fit ResNetEncoder: 80 missing"):
        encoder_of("resnet34", path)


def test_a_whole_networks_file_must_have_its_counters(tmp_path: Path) -> None:
    state = without_counters(copy_state(build(tiny_unet(), 1)))
    path = save(tmp_path / "w.pth", state)
    with pytest.raises(ConfigError, match=r"does not fit SmpUnet: \d+ missing"):
        build(tiny_unet(path), 1)


def test_colour_weights_are_summed_for_grey(tmp_path: Path) -> None:
    """The network on grey gives what the file's gives on grey three times."""
    torch.manual_seed(0)
    colour = smp.encoders.get_encoder("tu-test_resnet", weights=None).eval()
    path = save(tmp_path / "colour.safetensors", copy_state(colour))
    grey = build(tiny_unet(path, hypercolumn=True), 1).get_submodule("encoder").eval()
    assert grey.state_dict().keys() == colour.state_dict().keys()
    x = torch.randn(2, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = colour.double()(x.repeat(1, 3, 1, 1))
        for ours, theirs in zip(grey.double()(x)[1:], expected[1:], strict=True):
            # the sum is taken in float32, so its rounding stays
            assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)
            assert ours.abs().max() > 0.1


def test_grey_weights_do_not_fit_colour(tmp_path: Path) -> None:
    state = copy_state(build(tiny_unet(), 1).get_submodule("encoder"))
    path = save(tmp_path / "grey.safetensors", state)
    with pytest.raises(ConfigError, match=r"1 of another shape \(model\.conv1\.0\.weight\)"):
        build(tiny_unet(path), 3)


def test_a_file_fits_whatever_resolution_is_kept(tmp_path: Path) -> None:
    state = copy_state(build(tiny_unet(), 1))
    path = save(tmp_path / "whole.safetensors", state)
    for how in ("none", "pool", "stem"):
        assert same_bits(copy_state(build(tiny_unet(path, keep_resolution=how), 1)), state)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "w.safetensors", copy_state(build(tiny_unet(), 1)))
    expected = r"does not fit Compact: \d+ missing \(.*\); \d+ left over \(.*\)(.|\n)*weights=none"
    with pytest.raises(ConfigError, match=expected):
        build(compact(path), 1)


def test_weights_of_another_width_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "w.safetensors", copy_state(build(compact(), 1)))
    with pytest.raises(ConfigError, match=r"does not fit Compact: \d+ of another shape"):
        build(compact(path, widths=[4, 12]), 1)


def test_weights_for_another_number_of_channels_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "w.safetensors", copy_state(build(compact(), 1)))
    with pytest.raises(ConfigError, match=r"1 of another shape \(stem\.0\.weight\)"):
        build(compact(path), 3)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.pt does not exist(.|\n)*imagenet, none, or a"):
        build(compact(tmp_path / "none.pt"), 1)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        build(compact(tmp_path), 1)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("content", [b"", b"junk" * 40, b"\x80\x02junk"])
def test_an_unreadable_file_is_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"w{suffix} cannot be read: \w+"):
        build(compact(path), 1)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    for suffix in (".safetensors", ".pt"):
        path = save(tmp_path / f"w{suffix}", copy_state(build(compact(), 1)))
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(ConfigError, match=rf"w{suffix} cannot be read"):
            build(compact(path), 1)


@pytest.mark.parametrize(
    "content",
    [[torch.zeros(1)], torch.zeros(1), {"state_dict": {"a": torch.zeros(1)}, "epoch": 1}],
    ids=["list", "tensor", "nested"],
)
def test_a_file_of_other_things_than_named_tensors_is_refused(
    content: object, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ConfigError, match="something else than named tensors"):
        build(compact(tmp_path / "w.pt"), 1)


def test_no_pickle_is_run(tmp_path: Path) -> None:
    torch.save({"a": Path("x")}, tmp_path / "w.pt")
    with pytest.raises(ConfigError, match="cannot be read: UnpicklingError"):
        build(compact(tmp_path / "w.pt"), 1)


# --- downloads


def test_a_failed_download_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> nn.Module:
        raise LocalEntryNotFoundError("cannot find the files in the cache. Check your connection.")

    monkeypatch.setitem(library.ARCHITECTURES, "linknet", fail)
    config = ModelConfig(architecture="linknet", encoder="resnet34", weights="imagenet")
    with pytest.raises(NetworkError, match=r"resnet34 cannot be down(.|\n)*model\.weights=none"):
        library.build(config.model_copy(update={"options": {}}), 3, imagenet=True)


@pytest.mark.parametrize("encoder", ["resnet18", "tu-test_resnet"])
def test_without_a_network_it_fails_soon(encoder: str) -> None:
    """The real libraries, told that there is no connection (see conftest)."""
    started = time.monotonic()
    with pytest.raises(NetworkError, match=rf"{encoder} .*LocalEntryNotFoundError"):
        build(ModelConfig(encoder=encoder, weights="imagenet"), 3)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("error", [OSError(), ConnectionError("refused"), TimeoutError("\n")])
def test_any_failure_of_the_connection_counts(error: OSError) -> None:
    with (
        pytest.raises(NetworkError, match=rf"cannot be downloaded \({type(error).__name__}"),
        downloading("resnet34"),
    ):
        raise error


def test_without_weights_nothing_is_downloaded() -> None:
    config = ModelConfig(encoder="resnet18", weights="imagenet")
    build(config, 3, pretrained=False)
    build(config.model_copy(update={"weights": "none"}), 3)
