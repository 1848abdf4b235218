from __future__ import annotations

from pathlib import Path

import pytest

from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.preparing.preset_layers import describe_network
from kaggle_salt.presets import preset_names
from tests.tiny import forbid


def test_the_layers_add_up_to_the_network() -> None:
    report = describe_network("unet")
    assert (report.preset, report.architecture) == ("unet", "classic-unet")
    assert report.input_shape[1:] == (128, 128)
    assert sum(layer.parameters for layer in report.layers) == report.parameters


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_can_be_drawn(tmp_path: Path, preset: str) -> None:
    describe_network(preset, tmp_path / "network.png")
    assert [path.name for path in tmp_path.iterdir()] == ["network.png"]


def test_a_wrong_name_is_refused_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(monkeypatch, "kaggle_salt.pipeline.preparing.preset_layers.build")
    with pytest.raises(ConfigError, match=r"cannot be written as 'unet.jpg'"):
        describe_network("unet", Path("unet.jpg"))
