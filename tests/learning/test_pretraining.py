"""A network learns from tiles alone: the loss falls, a resume gives the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from kaggle_salt.config.schema import Config
from kaggle_salt.errors import DataError, TrainingError
from kaggle_salt.learning.batches import PretrainingTiles
from kaggle_salt.learning.networks import build
from kaggle_salt.learning.pretraining import (
    PretrainingSummary,
    pretrain,
    pretraining_panels,
    read_pretraining,
)
from kaggle_salt.runs_pretraining import PretrainingFolder
from kaggle_salt.storage.files import file_hash
from tests.learning.makers import CLASSIC, COMPACT, COMPUTE, PowerCut, Silent, tiny_tiles

METHODS = ("masked", "vicreg")
IMAGES = tiny_tiles(16).images


def config(method: str, *, model: dict[str, Any] = COMPACT, **stage: Any) -> Config:
    """Two stages, of two epochs each, at half the size and at the whole."""
    rate = {"lr": 0.01}
    return Config.model_validate(
        {
            "input": {"size": 32},
            "model": model,
            "augment": {"pipeline": "flip"},
            "training": {"batch_size": 4, "precision": "float32"},
            "pretext": {"name": method, "points": 8},
            "stage": [
                {"name": "half", "epochs": 2, "shrink": 2, "optimizer": rate, **stage},
                {"name": "whole", "epochs": 2, "optimizer": rate, **stage},
            ],
        }
    )


def run(
    settings: Config, folder: Path, watcher: Silent | None = None, images: Any = IMAGES
) -> PretrainingSummary:
    tiles = PretrainingTiles.of(images)
    return pretrain(settings, tiles, PretrainingFolder(folder), COMPUTE, watcher or Silent())


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_falls_and_the_networks_weights_are_left(method: str, tmp_path: Path) -> None:
    summary = run(config(method, epochs=6, shrink=2), tmp_path)
    folder = PretrainingFolder(tmp_path)
    table = pd.read_csv(folder.history)
    assert table.columns.tolist() == ["stage", "epoch", "lr", "train_loss", "seconds"]
    assert len(table) == summary.epochs == 12
    assert table["train_loss"].iloc[-1] < 0.95 * table["train_loss"].iloc[0]
    assert summary.loss == pytest.approx(table["train_loss"].iloc[-1], rel=1e-5)
    assert (summary.method, summary.tiles) == (method, 16)
    weights = load_file(folder.weights)
    network = build(config(method).model, 1)
    assert weights.keys() == network.state_dict().keys(), "no projector, and all of the network"
    assert summary.weights_hash == file_hash(folder.weights)
    assert read_pretraining(folder) == summary
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "history.csv", "pretraining.json", "weights.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize("keep", ["last", "average"])
@pytest.mark.parametrize("method", METHODS)
def test_a_resume_gives_the_bits_of_an_uninterrupted_run(
    method: str, keep: str, tmp_path: Path
) -> None:
    """Cut within the first epoch, before the second, and at the start of the next stage."""
    settings = config(method, model=CLASSIC, keep=keep)  # with dropout
    whole = run(settings, tmp_path / "whole")
    for count, moment in ((1, "steps done"), (2, "epoch starts"), (3, "epoch starts")):
        folder = tmp_path / f"cut{count}"
        with pytest.raises(KeyboardInterrupt, match=moment):
            run(settings, folder, PowerCut(moment, count))
        assert run(settings, folder).weights_hash == whole.weights_hash
        told = [pd.read_csv(one / "history.csv").drop(columns="seconds")
                for one in (folder, tmp_path / "whole")]  # fmt: skip
        pd.testing.assert_frame_equal(*told)
    other = settings.model_copy(
        update={"training": settings.training.model_copy(update={"seed": 1})}
    )
    assert run(other, tmp_path / "other").weights_hash != whole.weights_hash


@pytest.mark.parametrize("method", METHODS)
def test_tiles_in_colour_are_learnt_from_too(method: str, tmp_path: Path) -> None:
    colours = np.stack([IMAGES, IMAGES // 2, 255 - IMAGES], axis=-1)
    settings = config(method)
    settings = settings.model_copy(
        update={"input": settings.input.model_copy(update={"channels": "rgb"})}
    )
    assert np.isfinite(run(settings, tmp_path, images=colours).loss)
    panels = pretraining_panels(settings, PretrainingFolder(tmp_path), colours[:2], COMPUTE)
    assert {len(pictures) for pictures in panels.values()} == {2}


def test_pictures_are_of_the_weights_on_disk(tmp_path: Path) -> None:
    for method in METHODS:
        settings, folder = config(method), PretrainingFolder(tmp_path / method)
        run(settings, folder.path)
        panels = pretraining_panels(settings, folder, IMAGES[:3], COMPUTE)
        again = pretraining_panels(settings, folder, IMAGES[:3], COMPUTE)
        assert panels.keys() == again.keys()
        for name, pictures in panels.items():
            assert np.array_equal(pictures, again[name])
            assert pictures.min() >= 0
            assert pictures.max() <= 1
        assert panels["tile"].shape == (3, 32, 32)
        if method == "masked":
            hidden = panels["shown"] != panels["tile"]
            assert panels["made of it"].shape == (3, 32, 32)
            assert hidden.mean() > 0.4
        else:
            assert panels["features"].shape == (3, 16, 16, 3)


def test_what_is_damaged_names_the_pretraining(tmp_path: Path) -> None:
    folder = PretrainingFolder(tmp_path / "runs" / "pre")
    folder.path.mkdir(parents=True)
    folder.summary.write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"not a training's summary(.|\n)*pretrain --run pre"):
        read_pretraining(folder)
    folder.checkpoint.write_bytes(b"{}")
    with pytest.raises(TrainingError, match=r"salt pretrain --run pre --overwrite"):
        run(config("masked"), folder.path)


def test_a_loss_that_is_no_number_names_a_slower_pretraining(tmp_path: Path) -> None:
    settings = config("masked", optimizer={"name": "sgd", "lr": 1e30})
    told = r"salt pretrain --config \S*pre/config.toml --run pre-slower --set \S*half.optimizer.lr"
    with pytest.raises(TrainingError, match=told):
        run(settings, tmp_path / "pre")
