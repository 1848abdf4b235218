"""Exported networks of every kind say what the ensemble path says."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kaggle_salt.config.schema import InferenceConfig, InputConfig, ModelConfig
from kaggle_salt.ensembling.blending import blend
from kaggle_salt.errors import ConfigError, TrainingError
from kaggle_salt.learning import export
from kaggle_salt.learning.export import COMPUTE, RunNetwork, export_onnx, require_packages
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import predict
from kaggle_salt.predictions import Predictions
from tests.learning.makers import lively

GREY = Framing((24, 24), InputConfig(size=32))


def tiles_of(shape: Sequence[int], n: int = 5) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


def model(architecture: str, encoder: str = "resnet18", **options: Any) -> ModelConfig:
    return ModelConfig(architecture=architecture, encoder=encoder, weights="none", options=options)


def run(path: Path, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [given], [made] = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == (
        "tiles", "tensor(uint8)", ["batch", *tiles.shape[1:]],
    )  # fmt: skip
    assert (made.name, made.type) == ("probabilities", "tensor(float)")
    assert made.shape == ["batch", *tiles.shape[1:3]]
    return np.asarray(session.run(None, {"tiles": tiles})[0])


def stored(
    folds: Sequence[Sequence[nn.Module]], framing: Framing, tiles: NDArray[np.uint8], tta: str
) -> NDArray[np.uint8]:
    """What salt ensemble stores: each fold's levels, and of them the mean."""
    parts = []
    for networks in folds:
        out = np.empty(tiles.shape[:3], np.uint8)
        inference = InferenceConfig(tta=tta)  # type: ignore[arg-type]
        predict(networks, tiles, out, framing=framing, compute=COMPUTE, config=inference)
        parts.append(Predictions(tuple(map(str, range(len(tiles)))), out))
    return blend(parts).probabilities


COMPACT = model("compact", widths=[4, 8], depths=[1, 1], decoder=[4], hypercolumn=4)

#: A network of each file in ``learning/networks``, each with another way to the tile and back;
#: ``tests/pipeline`` has ``compact``, and smp's own are what ``unet`` is made of.
KINDS: dict[str, tuple[ModelConfig, tuple[int, ...], dict[str, Any], int]] = {
    "classic-unet": (model("classic-unet", widths=[4, 8, 16]), (24, 24),
                     {"size": 32, "framing": "resize", "channels": "grey3"}, 1),
    "resunet": (model("resunet", widths=[4, 8]), (48, 40),
                {"size": 32, "framing": "resize", "channels": "grey+depth"}, 1),
    "salt-resnet": (model("salt-resnet"), (24, 24), {"size": 64, "channels": "grey3"}, 1),
    "unet": (model("unet", hypercolumn=True, keep_resolution="pool", empty_head=True),
             (24, 30, 3), {"size": 64, "border": "edge", "channels": "rgb"}, 2),
    "xception-unet": (model("xception-unet", "xception", widths=[8] * 6), (30, 30),
                      {"size": 32}, 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_every_kind_is_exported(kind: str, tmp_path: Path) -> None:
    config, shape, frame, shrink = KINDS[kind]
    framing = Framing((shape[0], shape[1]), InputConfig(**frame), shrink)
    tiles, path = tiles_of(shape), tmp_path / "run.onnx"
    folds = [[lively(config, framing, tiles, seed=0)]]
    difference = export_onnx(folds, framing, "flip", tiles, path, {})
    assert 0 <= difference < 1e-4
    probabilities = run(path, tiles)
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1
    assert np.ptp(probabilities) > 0.1  # or it would show nothing
    levels = np.round(255 * probabilities).astype(int)
    assert abs(levels - stored(folds, framing, tiles, "flip")).max() <= 1


@pytest.mark.parametrize("tta", ["none", "flip"])
def test_folds_count_alike_whatever_their_snapshots(tta: str) -> None:
    tiles = tiles_of((24, 24))
    networks = [lively(COMPACT, GREY, tiles, seed) for seed in range(3)]
    folds = [networks[:2], networks[2:]]
    probabilities = RunNetwork(folds, GREY, tta)(torch.from_numpy(tiles)).numpy()
    expected = stored(folds, GREY, tiles, tta).astype(int)
    assert abs(np.round(255 * probabilities) - expected).max() <= 1
    other = stored([networks], GREY, tiles, tta)
    assert abs(other - expected).max() > 1  # or it would show nothing


class Pointwise(nn.Module):
    """Looks at each pixel alone: logit = slope times x."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(float(slope)))

    def forward(self, x: Tensor) -> Tensor:
        return self.slope * x


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One network that takes no time, exported once."""
    path = tmp_path_factory.mktemp("export") / "run.onnx"
    export_onnx([[Pointwise(2)]], GREY, "flip", tiles_of((24, 24)), path, {"run": "mine"})
    return path


def test_the_file_tells_of_itself_and_nothing_of_this_machine(small_file: Path) -> None:
    model = onnx.load(small_file)
    assert [(prop.key, prop.value) for prop in model.metadata_props] == [("run", "mine")]
    assert model.producer_name == "kaggle-salt"
    assert [file.name for file in small_file.parent.iterdir()] == ["run.onnx"]
    for trace in (b".py", b"kaggle_salt", str(Path.home()).encode()):
        assert trace not in small_file.read_bytes()


def test_a_mirrored_tile_gives_the_mirrored_map(tmp_path: Path) -> None:
    given = tiles_of((24, 24))
    alone, tiles = [[lively(COMPACT, GREY, given, seed=0)]], torch.from_numpy(given)
    network, plain = RunNetwork(alone, GREY, "flip"), RunNetwork(alone, GREY, "none")
    torch.testing.assert_close(network(tiles.flip(2)), network(tiles).flip(2), atol=1e-6, rtol=0)
    assert (plain(tiles.flip(2)) - plain(tiles).flip(2)).abs().max() > 1e-3


@pytest.mark.parametrize("wrong", [0.002, float("nan")])
def test_a_file_that_says_something_else_is_not_written(
    wrong: float, small_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, network = tmp_path / "run.onnx", Pointwise(2)
    path.write_text("what was there")
    monkeypatch.setattr(export, "_convert", lambda *_: onnx.load(small_file))
    given = ([[network]], GREY, "flip", tiles_of((24, 24)), path, {})
    network.slope.data += 8 * wrong
    with pytest.raises(TrainingError, match=r"differ .* up to (0\.00\d+|nan)\nexpected: 0.00098"):
        export_onnx(*given)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["what was there"]
    network.slope.data.fill_(2)
    export_onnx(*given)
    assert path.read_bytes() == small_file.read_bytes()


def test_weights_of_more_than_a_message_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "LARGEST", 7)
    with pytest.raises(ConfigError, match=r"weights of 2 networks(.|\n)*next: .*--fold 0"):
        export_onnx([[Pointwise(2)], [Pointwise(3)]], GREY, "flip", tiles_of((24, 24)),
                    tmp_path / "run.onnx", {})  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    require_packages()
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"onnxscript is not .*(.|\n)*'kaggle-salt\[onnx\]'"):
        require_packages()
