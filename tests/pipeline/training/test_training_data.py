from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from kaggle_salt.competition import rle
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config.file import load_config
from kaggle_salt.config.schema import Channels, Config, InputConfig, ModelConfig, PseudoConfig
from kaggle_salt.config.stage import ConsistencyConfig, StageConfig
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.pipeline.blending.on_test import predict_fold
from kaggle_salt.pipeline.preparing.prepare import make_fold_table
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.training.training_data import TrainingData, settle_for
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.pseudo_labels import write_pseudo_labels
from kaggle_salt.pseudo_origin import Confidence, MadeOf, Network, Teachers
from kaggle_salt.runs import RunFolder
from kaggle_salt.storage.files import file_hash, read_json
from tests.makers import TinyCompetition, write_competition
from tests.tiny import Heard, draw_no_curves, tiny_config

STAGE = StageConfig(name="bce", epochs=1)


@pytest.fixture
def made(tmp_path: Path) -> TinyCompetition:
    return write_competition(tmp_path / "data", n_train=6, n_test=4)


@pytest.fixture
def workspace(tmp_path: Path, made: TinyCompetition) -> Workspace:
    workspace = Workspace.under(tmp_path)
    make_fold_table(workspace, n_folds=2)
    return workspace


def mask_of(tile: str, fold: str) -> NDArray[np.bool_]:
    """A label that no other tile and no other fold has."""
    mask = np.zeros((8, 8), dtype=np.bool_)
    mask[int(tile[-1]), 4 if fold == "all" else int(fold)] = True
    return mask


def write_labels(workspace: Workspace, sets: dict[str, list[str]]) -> Config:
    """Labels of these tiles, by set; gives a configuration that wants them."""
    teachers: Teachers = "all" if "all" in sets else "fold"
    made_of = MadeOf(
        teachers=teachers,
        networks={
            name: (Network(run="tiny", fold=0 if name == "all" else int(name), weights_hash="a"),)
            for name in sets
        },
        settings=Confidence(),
        folds_hash=file_hash(workspace.folds),
        test_hash=workspace.open(Listener()).test_hash,
    )
    rows = [
        {"fold": name, "id": tile, "confidence": 1.0, "coverage": 1 / 64,
         "rle_mask": rle.encode(mask_of(tile, name))}
        for name, tiles in sets.items()
        for tile in tiles
    ]  # fmt: skip
    csv = workspace.runs / "labels.csv"
    write_pseudo_labels(csv, pd.DataFrame(rows), made_of, ())
    return Config(pseudo=PseudoConfig(file=str(csv)), stage=(STAGE,))


def test_without_pseudo_labels_the_tiles_stay_on_disk(workspace: Workspace) -> None:
    data = TrainingData.open(workspace, Config(stage=(STAGE,)), "all", Listener())
    assert list(data.folds) == [0, 1]
    assert set(data.hashes) == {"train_hash", "folds_hash"}
    tiles = data.tiles(1)
    assert tiles.images is data.competition.images
    assert isinstance(tiles.images, np.memmap)
    assert tiles.pseudo_rows.tolist() == []
    rows = sorted([*tiles.train_rows, *tiles.validation_rows])
    assert rows == list(range(6))


def test_tiles_without_masks_are_the_test_tiles(
    workspace: Workspace, made: TinyCompetition
) -> None:
    learns = StageConfig(name="bce", epochs=1, consistency=ConsistencyConfig(weight=1.0))
    data = TrainingData.open(workspace, Config(stage=(learns,)), "0", Listener())
    tiles = data.tiles(0)
    assert tiles.unlabelled is data.competition.test_images
    assert np.array_equal(tiles.unlabelled, np.stack(made.test_images))
    labelled = write_labels(workspace, {"0": [made.test_ids[0]]})
    both = TrainingData.open(workspace, labelled, "0", Listener()).tiles(0)
    assert np.array_equal(both.unlabelled, tiles.unlabelled)
    for name in ("test.zip", "sample_submission.csv"):
        (workspace.data / name).unlink(missing_ok=True)
    shutil.rmtree(workspace.data / "test", ignore_errors=True)
    found = r"has no test tiles for stage 'bce' to learn from(.|\n)*salt download"
    with pytest.raises(DataError, match=found):
        TrainingData.open(workspace, Config(stage=(learns,)), "0", Listener())
    TrainingData.open(workspace, Config(stage=(STAGE,)), "0", Listener())


def test_each_fold_has_its_own_labels(workspace: Workspace, made: TinyCompetition) -> None:
    sets = {"0": [made.test_ids[3], made.test_ids[1]], "1": [made.test_ids[2]]}
    heard = Heard()
    data = TrainingData.open(workspace, write_labels(workspace, sets), "all", heard)
    for fold, wanted in enumerate(sets.values()):
        tiles = data.tiles(fold)
        assert tiles.pseudo_rows.tolist() == list(range(6, 6 + len(wanted)))
        assert tiles.pseudo_rows.dtype == tiles.train_rows.dtype
        assert np.array_equal(tiles.images[:6], made.images)
        assert np.array_equal(tiles.masks[:6], made.masks)
        for row, tile in zip(tiles.pseudo_rows, wanted, strict=True):
            assert np.array_equal(tiles.images[row], made.test_images[made.test_ids.index(tile)])
            assert np.array_equal(tiles.label(row), mask_of(tile, str(fold)) * np.uint8(255))
    assert data.hashes["pseudo_hash"] == file_hash(workspace.runs / "labels.csv")
    assert (data.hashes["pseudo_teachers"], heard.warnings) == ("fold", [])


def test_labels_of_all_networks_are_warned_of(workspace: Workspace, made: TinyCompetition) -> None:
    heard = Heard()
    config = write_labels(workspace, {"all": [made.test_ids[0]]})
    data = TrainingData.open(workspace, config, "1", heard)
    assert np.array_equal(data.tiles(1).label(6) > 0, mask_of(made.test_ids[0], "all"))
    assert data.hashes["pseudo_teachers"] == "all"
    [warning] = heard.warnings
    assert "the out-of-fold score will be too high (by about .005)" in warning


def test_only_test_tiles_have_pseudo_labels(workspace: Workspace, made: TinyCompetition) -> None:
    config = write_labels(workspace, {"0": [made.test_ids[0]], "1": [made.ids[2]]})
    assert TrainingData.open(workspace, config, "0", Listener()).labels[0].ids == made.test_ids[:1]
    found = f"no test tiles: {made.ids[2]}\nexpected: test tiles(.|\n)*next: salt pseudo-label"
    with pytest.raises(DataError, match=found):
        TrainingData.open(workspace, config, "all", Listener())


def test_a_stage_of_pseudo_labelled_tiles_needs_some(
    workspace: Workspace, made: TinyCompetition
) -> None:
    stage = StageConfig(name="pretrain", epochs=1, tiles="pseudo")
    found = r"stage 'pretrain' trains on pseudo(.|\n)*salt pseudo-label RUN, then --pseudo FILE"
    with pytest.raises(ConfigError, match=found):
        TrainingData.open(workspace, Config(stage=(STAGE, stage)), "0", Listener())
    pseudo = write_labels(workspace, {"0": [made.test_ids[0]]}).pseudo
    data = TrainingData.open(workspace, Config(pseudo=pseudo, stage=(stage,)), "0", Listener())
    assert list(data.labels) == [0]


def test_labels_of_other_folds_or_for_other_folds_are_refused(
    workspace: Workspace, made: TinyCompetition
) -> None:
    config = write_labels(workspace, {"0": [made.test_ids[0]]})
    with pytest.raises(DataError, match="no labels for fold 1"):
        TrainingData.open(workspace, config, "all", Listener())
    make_fold_table(workspace, n_folds=2, seed=1, overwrite=True)
    with pytest.raises(DataError, match="made with another fold table"):
        TrainingData.open(workspace, config, "0", Listener())


def in_colour(competition: Competition) -> Competition:
    """The same tiles, in three colours that differ."""
    images, test_images = (
        np.stack([grey, grey // 2, 255 - grey], axis=-1)
        for grey in (competition.images, competition.test_images)
    )
    return replace(competition, images=images, test_images=test_images)


def test_coloured_tiles_with_pseudo_labels_join_the_others(
    workspace: Workspace, made: TinyCompetition
) -> None:
    config = write_labels(workspace, {"0": [made.test_ids[2]]})
    data = TrainingData.open(workspace, config, "0", Listener())
    data = replace(data, competition=in_colour(data.competition))
    tiles = data.tiles(0)
    assert tiles.images.shape == (7, 8, 8, 3)
    assert tiles.label(6).shape == (8, 8)
    assert tiles.tile_shape == (8, 8)
    assert np.array_equal(tiles.images[6, ..., 2], 255 - made.test_images[2])


@pytest.mark.parametrize(
    ("channels", "coloured", "settled", "note"),
    [
        ("auto", True, "rgb", "input.channels = rgb: red, green and blue"),
        ("auto", False, "grey", "input.channels = grey: the grey level"),
        ("grey", True, "grey", "grey sees their luminance alone(.|\n)*input.channels=rgb"),
        ("grey+depth", False, "grey+depth", "depths.csv is not read"),
        ("grey", False, "grey", ""),
        ("rgb", True, "rgb", ""),
    ],
)
def test_channels_are_settled_by_the_tiles(
    workspace: Workspace, channels: Channels, coloured: bool, settled: str, note: str
) -> None:
    competition = workspace.open(Listener())
    heard = Heard()
    config = Config(
        input=InputConfig(channels=channels),
        model=ModelConfig(architecture="compact"),
        stage=(STAGE,),
    )
    chosen = in_colour(competition) if coloured else competition
    assert settle_for(chosen, config, heard).input.channels == settled
    assert len(heard.notes) == bool(note)
    assert re.search(note, "".join(heard.notes))


def test_a_run_keeps_the_channels_that_were_settled(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From tiles in colour to predictions, and on with the configuration that the run holds."""
    competition = in_colour(workspace.open(Listener()))
    monkeypatch.setattr(Workspace, "open", lambda *_: competition)
    draw_no_curves(monkeypatch)
    config = tiny_config(workspace.runs.parent, "input.channels=auto", "stage.*.epochs=1",
                         "input.size=16", "input.border=edge")  # fmt: skip
    run = RunFolder(workspace.runs / "colours")
    train(workspace, run, config, folds="0", device="cpu")
    assert load_config(run.config).input.channels == "rgb"
    assert read_json(run.manifest)["config"]["input"]["channels"] == "rgb"
    train(workspace, run, config, folds="1", device="cpu")  # auto again is the same again
    predicted = predict_fold(run, 1, competition, "cpu", Listener())
    assert predicted.probabilities.shape == (4, 8, 8)
