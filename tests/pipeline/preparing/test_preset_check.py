from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch

from kaggle_salt.config.file import load_config
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks import build
from kaggle_salt.pipeline.preparing.preset_check import PresetReport, StageReport, check_preset

OWN = """
description = "a tiny network"
input = { size = 32 }

[model]
architecture = "compact"
weights = "none"
options = { widths = [4, 8], depths = [1, 1], decoder = [4], hypercolumn = 4 }

[[stage]]
name = "bce"
epochs = 3
shrink = 2

[[stage]]
name = "end"
epochs = 2
tiles = "masks"
keep = "average"
loss = { name = "lovasz" }
optimizer = { name = "sgd", lr = 0.1 }
schedule = { name = "poly" }
"""


def write(folder: Path, text: str = OWN) -> str:
    (folder / "own.toml").write_text(text, encoding="utf-8")
    return str(folder / "own.toml")


def test_a_file_is_described(tmp_path: Path) -> None:
    source = write(tmp_path)
    config = load_config(Path(source))
    parameters = sum(p.numel() for p in build(config.model, 1).parameters())
    assert check_preset(source, tile=24) == PresetReport(
        source=source,
        description="a tiny network",
        architecture="compact",
        parameters=parameters,
        weights="none",
        tile=24,
        size=32,
        framing="pad",
        channels="grey",
        made_of="the grey level, about zero mean and unit variance",
        augmentation="light",
        stages=(
            StageReport("bce", 3, 16, "mixed", "bce", "adamw", 0.001, "cosine", "last"),
            StageReport("end", 2, 32, "masks", "lovasz", "sgd", 0.1, "poly", "average"),
        ),
        needs=(),
    )


def test_a_preset_is_checked_by_name() -> None:
    report = check_preset("pseudo", tile=101)
    assert (report.source, report.size, report.parameters) == ("pseudo", 112, 3_180_905)
    assert report.needs == ("pseudo-labels: salt train --pseudo FILE",)


def test_imagenet_weights_are_needed_but_not_fetched(tmp_path: Path) -> None:
    model = '[model]\narchitecture = "unet"\nencoder = "tu-test_resnet"\n'
    source = write(tmp_path, f'{model}[[stage]]\nname = "a"\nepochs = 1')
    report = check_preset(source, tile=101)  # a test that touches the network fails
    assert report.weights == "imagenet"
    assert report.needs == ("the encoder's ImageNet weights, which salt train downloads",)


def test_test_tiles_are_needed_where_a_stage_learns_from_them(tmp_path: Path) -> None:
    text = OWN.replace("epochs = 3", "epochs = 3\nconsistency = { weight = 0.5 }")
    needs = check_preset(write(tmp_path, text), tile=24).needs
    assert needs == ("the test tiles, to learn from without masks",)


def test_labels_that_are_named_are_not_asked_for(tmp_path: Path) -> None:
    text = OWN.replace('tiles = "masks"', 'tiles = "pseudo"')
    assert len(check_preset(write(tmp_path, text), tile=24).needs) == 1
    text = text.replace("input =", 'pseudo = { file = "labels.csv" }\ninput =')
    assert check_preset(write(tmp_path, text), tile=24).needs == ()


FAULTS = [
    ("size = 32", "sise = 32", r"unknown key 'input.sise'\n.*'size'"),
    ("size = 32", "size = 16", r"tiles of 24x24 cannot be padded to 16x16\n.*at least 24\n.*size="),
    ("size = 32", "size = 33", r"33 pixels cannot be shrunk 2 times\n.*multiple.*\n.*size=34"),
    ('"compact"', '"compakt"', r"unknown architecture 'compakt'\n.*'compact'.*\n.*--set"),
    ('"none"', '"imagenet"', r"no ImageNet weights for 'compact'\n.*none, or a file\n.*--set"),
    ('"none"', '"w.pth"', r"weights file w.pth does not exist\n.*a file\n.*--set model.weights"),
    (
        "hypercolumn = 4",
        "hypercolum = 4",
        r"'model.options.hypercolum'.*\n.*'hypercolumn'.*\n.*--set",
    ),
    ("[[stage]]", '[augment]\npipeline = "strung"\n[[stage]]', r"'strung'\n.*'strong'.*\n.*--set"),
    ("epochs = 3", "epochs = 0", r"epochs = 0\n.*a whole number of 1 or more\n"),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_a_fault_is_told_before_anything_is_trained(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_preset(write(tmp_path, OWN.replace(old, new, 1)), tile=24)


def test_a_weights_file_must_fit(tmp_path: Path) -> None:
    source = write(tmp_path)
    network = build(load_config(Path(source)).model, 1)
    weights = tmp_path / "w.safetensors"
    safetensors.torch.save_file(network.state_dict(), weights)
    text = OWN.replace('"none"', f'"{weights.as_posix()}"')
    assert check_preset(write(tmp_path, text), tile=24).weights == weights.as_posix()
    with pytest.raises(ConfigError, match="does not fit Compact"):
        check_preset(write(tmp_path, text.replace("hypercolumn = 4", "hypercolumn = 8")), tile=24)


def test_what_has_no_suffix_is_a_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("qiuck").write_text(OWN, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"unknown preset 'qiuck'\n.*'quick'"):
        check_preset("qiuck", tile=24)
    with pytest.raises(ConfigError, match=r"none.toml cannot be read"):
        check_preset("none.toml", tile=24)


def test_auto_is_settled_as_for_grey_tiles(tmp_path: Path) -> None:
    source = write(tmp_path, OWN.replace("size = 32", 'size = 32, channels = "auto"'))
    report = check_preset(source, tile=24)
    assert report.channels == "auto"
    assert report.made_of.startswith("rgb of coloured tiles")
    assert report.parameters == check_preset(write(tmp_path), tile=24).parameters


def test_it_says_what_the_depth_channel_is_made_of(tmp_path: Path) -> None:
    source = write(tmp_path, OWN.replace("size = 32", 'size = 32, channels = "grey+depth"'))
    assert "depths.csv is not read" in check_preset(source, tile=24).made_of


@pytest.mark.parametrize(("size", "valid"), [(128, False), (224, True)])
def test_a_transformer_is_told_its_size(size: int, valid: bool, tmp_path: Path) -> None:
    text = f"""
    input = {{ size = {size} }}
    model = {{ encoder = "tu-swin_tiny_patch4_window7_224", weights = "none" }}
    [[stage]]
    name = "bce"
    epochs = 1
    """
    source = write(tmp_path, text)
    if valid:
        assert check_preset(source, tile=101).size == 224
        return
    with pytest.raises(ConfigError, match=r"128x128 pixels does not suit(.|\n)*input.size=224"):
        check_preset(source, tile=101)
