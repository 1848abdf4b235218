from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from torch import nn

from kaggle_salt import predictions
from kaggle_salt.competition.metric import score
from kaggle_salt.config.schema import Config, InferenceConfig, InputConfig, ModelConfig
from kaggle_salt.errors import ConfigError, DataError, TrainingError
from kaggle_salt.learning import fold
from kaggle_salt.learning.batches import TrainingTiles
from kaggle_salt.learning.fold import (
    check_trainable,
    load_networks,
    read_summary,
    train_fold,
)
from kaggle_salt.learning.framing import Framing
from kaggle_salt.learning.inference import tile_probabilities
from kaggle_salt.learning.networks import build
from kaggle_salt.learning.on_test import FoldOnTest, predict_test
from kaggle_salt.learning.training import fold_seed
from kaggle_salt.runs import FoldFolder
from kaggle_salt.storage.files import file_hash
from tests.learning.makers import COMPUTE, SIDE, PowerCut, Silent, tiny_config, tiny_tiles

IDS = [f"tile{number}" for number in range(12)]
FILES = ["fold.json", "history.csv", "oof.json", "oof.npy", "weights.safetensors"]


def shuffled() -> TrainingTiles:
    tiles = tiny_tiles()
    return TrainingTiles(
        tiles.images, tiles.masks, np.array([0, 2, 3, 5, 6, 7, 9, 10]), np.array([8, 1, 11, 4])
    )


def finish(folder: Path, config: Config | None = None) -> FoldFolder:
    fold_folder = FoldFolder(folder / "fold1", 1)
    train_fold(config or tiny_config(), shuffled(), IDS, fold_folder, COMPUTE, Silent())
    return fold_folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> FoldFolder:
    """A finished fold that tests only read."""
    return finish(tmp_path_factory.mktemp("run"))


def names(folder: FoldFolder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


def test_a_fold_leaves_exactly_its_files(trained: FoldFolder) -> None:
    assert names(trained) == FILES
    assert trained.finished


def test_out_of_fold_ids_are_the_validation_ids_in_their_order(trained: FoldFolder) -> None:
    oof = predictions.load(trained.oof)
    assert oof.ids == ("tile8", "tile1", "tile11", "tile4")
    assert dict(oof.manifest) == {
        "kind": "out-of-fold",
        "fold": 1,
        "weights_hash": file_hash(trained.weights),
    }


def test_out_of_fold_maps_are_those_of_the_weights(trained: FoldFolder, tmp_path: Path) -> None:
    tiles = shuffled()
    copied = FoldFolder(tmp_path, 1)
    for path in trained.path.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    ids = [IDS[row] for row in tiles.validation_rows]
    images = tiles.images[tiles.validation_rows]
    again = predict_test(FoldOnTest(tiny_config(), copied, ids, images, "x", COMPUTE))
    assert np.array_equal(again.probabilities, predictions.load(trained.oof).probabilities)


def test_the_summary_says_what_was_trained(trained: FoldFolder) -> None:
    summary = read_summary(trained)
    oof = predictions.load(trained.oof)
    truth = shuffled().masks[shuffled().validation_rows]
    assert (summary.fold, summary.tiles, summary.epochs) == (1, 4, 1)
    assert summary.score == score(truth, oof.probabilities > 127)
    assert summary.weights_hash == file_hash(trained.weights)
    weights = safetensors.torch.load_file(trained.weights)
    (network,) = load_networks(tiny_config(), trained, COMPUTE)
    assert summary.parameters == sum(p.numel() for p in network.parameters())
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())


def test_an_interrupted_fold_goes_on_to_the_same_files(tmp_path: Path, trained: FoldFolder) -> None:
    config = tiny_config({"name": "bce", "epochs": 2})
    whole = finish(tmp_path / "whole", config)
    folder = FoldFolder(tmp_path / "cut" / "fold1", 1)
    with pytest.raises(KeyboardInterrupt, match="steps done"):
        train_fold(config, shuffled(), IDS, folder, COMPUTE, PowerCut("steps done", 2))
    assert names(folder) == ["checkpoint.pt", "history.csv"]
    assert folder.started
    assert not folder.finished
    train_fold(config, shuffled(), IDS, folder, COMPUTE, Silent())
    assert names(folder) == FILES
    assert file_hash(folder.weights) == file_hash(whole.weights)
    oof = FoldFolder(folder.path, 1).oof.with_suffix(".npy")
    assert file_hash(oof) == file_hash(whole.oof.with_suffix(".npy"))


def test_a_resume_asks_for_no_pretrained_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def spy(model: object, channels: int, *, pretrained: bool = True) -> nn.Module:
        asked.append(pretrained)
        return build(tiny_config().model, channels)

    monkeypatch.setattr(fold, "build", spy)
    config = tiny_config({"name": "bce", "epochs": 2})
    folder = FoldFolder(tmp_path, 0)
    with pytest.raises(KeyboardInterrupt, match="epoch starts"):
        train_fold(config, shuffled(), IDS, folder, COMPUTE, PowerCut("epoch starts", 2))
    train_fold(config, shuffled(), IDS, folder, COMPUTE, Silent())
    load_networks(config, folder, COMPUTE)
    # begun, resumed, its own weights read back for the out-of-fold tiles, and once more
    assert asked == [True, False, False, False]


def test_the_network_is_drawn_from_the_folds_own_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights do not depend on what the process did before, nor on another fold's."""
    drawn: list[torch.Tensor] = []

    def spy(*arguments: object, **keys: object) -> nn.Module:
        network = build(*arguments, **keys)  # type: ignore[arg-type]
        if keys["pretrained"]:  # not those whose weights are read back
            drawn.append(next(network.parameters()).detach().clone())
        return network

    monkeypatch.setattr(fold, "build", spy)
    config = tiny_config()
    for number, name in [(0, "a"), (0, "b"), (1, "c")]:
        train_fold(config, shuffled(), IDS, FoldFolder(tmp_path / name, number), COMPUTE, Silent())
    assert fold_seed(config, 0) != fold_seed(config, 1)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("shrink", [1, 2])
def test_predictions_are_made_at_the_size_of_the_last_stage(shrink: int, tmp_path: Path) -> None:
    """Without TTA the out-of-fold score is then that of the last epoch's validation."""
    config = tiny_config(
        {"name": "full", "epochs": 1, "optimizer": {"lr": 0.03}},
        {"name": "last", "epochs": 2, "shrink": shrink, "optimizer": {"lr": 0.03}},
    )
    config = config.model_copy(update={"inference": InferenceConfig(tta="none")})
    folder = finish(tmp_path, config)
    validated = pd.read_csv(folder.history)["score"].iloc[-1]
    assert 0 < validated < 1
    assert read_summary(folder).score == pytest.approx(validated)
    tiles = shuffled()
    rows, ids = tiles.validation_rows, [IDS[row] for row in tiles.validation_rows]
    again = predict_test(FoldOnTest(config, folder, ids, tiles.images[rows], "x", COMPUTE))
    oof = predictions.load(folder.oof).probabilities
    assert np.array_equal(again.probabilities, oof)


# --- snapshots


def test_snapshots_predict_their_mean(tmp_path: Path) -> None:
    restarts = {"name": "cosine-restarts", "cycle": 1}
    config = tiny_config(
        {"name": "bce", "epochs": 3, "keep": "snapshots", "schedule": restarts,
         "optimizer": {"lr": 0.05}}
    )  # fmt: skip
    folder = finish(tmp_path, config)
    snapshots = [f"snapshot{number}.safetensors" for number in (1, 2, 3)]
    assert names(folder) == [*FILES[:-1], *snapshots]
    networks = load_networks(config, folder, COMPUTE)
    tiles = shuffled()
    rows = tiles.validation_rows
    framing = Framing(tiles.tile_shape, config.input)
    batch = torch.from_numpy(tiles.images[rows])
    each = [
        tile_probabilities(network.eval(), batch, framing, COMPUTE, "flip") for network in networks
    ]
    assert not torch.equal(each[0], each[2])
    mean = torch.stack(each).mean(dim=0)
    oof = predictions.load(folder.oof).probabilities
    assert np.abs(oof - 255 * mean.numpy()).max() <= 0.501
    folder.snapshot(2).write_bytes(folder.snapshot(1).read_bytes())
    with pytest.raises(TrainingError, match="has changed since"):
        load_networks(config, folder, COMPUTE)


# --- a finished fold


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    folder = finish(tmp_path)
    state = safetensors.torch.load_file(folder.weights)
    safetensors.torch.save_file({k: v + 1 for k, v in state.items()}, folder.weights)
    with pytest.raises(TrainingError, match=r"is gone or has changed(.|\n)*--fold 1 --overwrite"):
        load_networks(tiny_config(), folder, COMPUTE)
    folder.weights.unlink()
    with pytest.raises(TrainingError, match="is gone or has changed"):
        load_networks(tiny_config(), folder, COMPUTE)


def test_weights_of_another_configuration_are_refused(trained: FoldFolder) -> None:
    wider = {**tiny_config().model.options, "widths": [4, 12]}
    model = tiny_config().model.model_copy(update={"options": wider})
    other = tiny_config().model_copy(update={"model": model})
    with pytest.raises(ConfigError, match=r"does not fit Compact: \d+ of another shape"):
        load_networks(other, trained, COMPUTE)


def test_a_damaged_summary_is_refused(tmp_path: Path) -> None:
    folder = FoldFolder(tmp_path / "runs/mine/fold2", 2)
    folder.path.mkdir(parents=True)
    folder.summary.write_text('{"fold": 2}')
    with pytest.raises(
        DataError, match=r"fold\.json is not a training's summary(.|\n)*--run mine --fold 2"
    ):
        read_summary(folder)
    folder.summary.write_text("{")
    with pytest.raises(DataError, match=r"fold\.json cannot be read"):
        read_summary(folder)


# --- what cannot be trained


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"input": {"size": 33}}, r"33x33 pixels does not suit the network: it gives back 34x34"),
        ({"input": {"size": 20}}, "24x24 cannot be padded to 20x20"),
        ({"augment": {"pipeline": "flop"}}, "'flip'"),
        (
            {"stage": [{"name": "a", "epochs": 1}, {"name": "b", "epochs": 1, "shrink": 3}]},
            "32 pixels cannot be shrunk 3 times",
        ),
        (
            {"stage": [{"name": "a", "epochs": 1, "shrink": 32}]},
            "1x1 pixels does not suit the network",
        ),
        ({"model": {"architecture": "compac", "weights": "none"}}, "'compact'"),
    ],
)
def test_a_configuration_that_cannot_be_trained_is_refused_at_once(
    overrides: dict[str, object], message: str
) -> None:
    config = Config.model_validate({**tiny_config().model_dump(), **overrides})
    with pytest.raises(ConfigError, match=message):
        check_trainable(config, (SIDE, SIDE), pretrained=True)


def test_a_configuration_that_can_be_trained_passes() -> None:
    check_trainable(tiny_config(), (SIDE, SIDE), pretrained=True)


# --- batches of one


def deep_config(size: int, batch_size: int) -> Config:
    """A network that halves its input five times: to 1x1 at 32 px."""
    return tiny_config(batch_size=batch_size).model_copy(
        update={
            "input": InputConfig(size=size),
            "model": ModelConfig(architecture="unet", encoder="resnet18", weights="none"),
        }
    )


def test_batches_of_one_are_refused_where_batch_norm_has_one_value() -> None:
    told = r"one tile a batch at 32x32(.|\n)*two tiles(.|\n)*batch_size=2, or --set input\.size=64"
    with pytest.raises(ConfigError, match=told):
        check_trainable(deep_config(32, 1), (SIDE, SIDE), pretrained=False)
    before = torch.get_rng_state()
    for size, batch in ((64, 1), (32, 2)):
        network = check_trainable(deep_config(size, batch), (SIDE, SIDE), pretrained=False)
        assert network.training
        assert all(not m.running_mean.any() for m in network.modules()
                   if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None)  # fmt: skip
    assert before.shape == torch.get_rng_state().shape


def test_a_single_tile_to_train_on_makes_batches_of_one() -> None:
    with pytest.raises(ConfigError, match=r"one tile a batch(.|\n)*more tiles(.|\n)*next: fewer"):
        check_trainable(
            deep_config(32, 8), (SIDE, SIDE), pretrained=False, tiles=1, more_tiles="fewer folds"
        )
    check_trainable(deep_config(32, 8), (SIDE, SIDE), pretrained=False, tiles=2)
    check_trainable(tiny_config(), (SIDE, SIDE), pretrained=False, tiles=1)


def test_a_smaller_stage_decides() -> None:
    stages = [{"name": "half", "epochs": 1, "shrink": 2}, {"name": "full", "epochs": 1}]
    config = Config.model_validate({**deep_config(64, 1).model_dump(), "stage": stages})
    with pytest.raises(ConfigError, match="one tile a batch at 32x32"):
        check_trainable(config, (SIDE, SIDE), pretrained=False)


@pytest.mark.parametrize("tiles", [1, 2, 3, 4, 5, 9])
def test_any_number_of_tiles_is_trained_on_without_a_batch_of_one(
    tiles: int, tmp_path: Path
) -> None:
    """The average's pass over the tiles included, whose last batch may be short."""
    config = deep_config(64 if tiles == 1 else 32, 4).model_copy(
        update={"stage": tiny_config({"name": "a", "epochs": 1, "keep": "average"}).stage}
    )
    given = tiny_tiles()
    few = TrainingTiles(given.images, given.masks, np.arange(tiles), np.array([10, 11]))
    summary = train_fold(config, few, IDS, FoldFolder(tmp_path / "fold0", 0), COMPUTE, Silent())
    assert summary.epochs == 1
