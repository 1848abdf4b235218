"""Test tiles, predicted by a finished fold: once, and by blocks if several do it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from kaggle_salt import predictions
from kaggle_salt.learning import fold
from kaggle_salt.learning import on_test as on_test_module
from kaggle_salt.learning.device import Compute
from kaggle_salt.learning.on_test import FoldOnTest, predict_blocks, predict_test
from kaggle_salt.runs import FoldFolder
from tests.learning.makers import COMPUTE, SIDE, tiny_config, tiny_tiles
from tests.learning.test_fold import FILES, finish, names
from tests.tiny import files_under

TEST_IDS = ["c", "a", "b"]


def on_test(folder: FoldFolder, **changes: Any) -> FoldOnTest:
    """Three test tiles; with ``many`` nineteen, in blocks of eight."""
    if changes.pop("many", False):
        small = tiny_config().inference.model_copy(update={"batch_size": 1})
        changes = {"config": tiny_config().model_copy(update={"inference": small}),
                   "ids": [f"t{k}" for k in range(19)],
                   "tiles": tiny_tiles(n=19, n_validation=1, seed=8).images, **changes}  # fmt: skip
    tiles = tiny_tiles(n=3, n_validation=1, seed=7).images
    return replace(FoldOnTest(tiny_config(), folder, TEST_IDS, tiles, "data", COMPUTE), **changes)


def predict(folder: FoldFolder, **changes: Any) -> predictions.Predictions:
    return predict_test(on_test(folder, **changes))


@pytest.fixture
def predicted(tmp_path: Path) -> FoldFolder:
    """A finished fold that has predicted the test tiles."""
    folder = finish(tmp_path)
    predict(folder)
    return folder


def refuse_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> nn.Module:
        raise AssertionError("a network was built")

    monkeypatch.setattr(fold, "build", never)


def test_test_tiles_are_predicted_once(
    predicted: FoldFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names(predicted) == sorted([*FILES, "test.json", "test.npy"])
    first = np.array(predictions.load(predicted.test).probabilities)
    refuse_networks(monkeypatch)
    again = predict(predicted)
    assert isinstance(again.probabilities, np.memmap)
    assert again.ids == tuple(TEST_IDS)
    assert again.probabilities.shape == (3, SIDE, SIDE)
    assert np.array_equal(again.probabilities, first)


@pytest.mark.parametrize("change", ["data", "ids", "tta", "bf16", "float16"])
def test_anything_else_is_predicted_anew(
    change: str, predicted: FoldFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_flip = tiny_config().inference.model_copy(update={"tta": "none"})
    changes: dict[str, dict[str, object]] = {
        "data": {"data_hash": "other"},
        "ids": {"ids": ["a", "b", "c"]},
        "tta": {"config": tiny_config().model_copy(update={"inference": no_flip})},
        "bf16": {"compute": Compute(COMPUTE.device, "bf16")},
        "float16": {"compute": Compute(COMPUTE.device, "float16")},
    }
    predict(predicted, **changes[change])
    refuse_networks(monkeypatch)
    predict(predicted, **changes[change])  # and is kept from then on
    with pytest.raises(AssertionError, match="a network was built"):
        predict(predicted)


def test_other_weights_are_predicted_anew(
    predicted: FoldFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = finish(tmp_path / "other", tiny_config(seed=1))
    for path in other.path.iterdir():
        (predicted.path / path.name).write_bytes(path.read_bytes())
    before = np.array(predictions.load(predicted.test).probabilities)
    assert not np.array_equal(predict(predicted).probabilities, before)


def test_half_a_prediction_is_not_taken_for_a_whole(
    predicted: FoldFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt("half way")

    with monkeypatch.context() as patch:
        patch.setattr(on_test_module, "predict", power_cut)
        with pytest.raises(KeyboardInterrupt, match="half way"):
            predict(predicted, data_hash="other")
    left = predictions.load(predicted.test)
    assert left.manifest["data_hash"] != "other", "what was there is as it was"
    assert predict(predicted).ids == tuple(TEST_IDS)


# blocks


def test_blocks_make_the_whole_to_the_bit(predicted: FoldFolder, tmp_path: Path) -> None:
    predict(predicted, many=True)
    whole = files_under(predicted.path)
    predicted.test.with_suffix(".json").unlink()
    job = on_test(predicted, many=True)
    assert [(block.start, block.stop) for block in job.blocks] == [(0, 8), (8, 16), (16, 19)]
    told: list[tuple[int, int]] = []
    predict_blocks(job, job.blocks[:0:-1], lambda *done: told.append(done))
    assert (told[0], told[-1], len(told)) == ((1, 11), (11, 11), 11)
    assert job.missing(job.blocks) == job.blocks[:1]
    predict_test(job)  # the one that is missing it predicts itself
    assert files_under(predicted.path) == whole
    assert job.missing(job.blocks) == []


def test_all_blocks_need_no_network(predicted: FoldFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    job = on_test(predicted, many=True)
    predict_blocks(job, job.blocks)
    refuse_networks(monkeypatch)
    predict_blocks(job, job.blocks)
    assert len(predict_test(job)) == 19
    assert not job.made.exists()


def test_a_block_that_is_damaged_or_of_another_kind_is_made_again(predicted: FoldFolder) -> None:
    told: list[str] = []
    job = on_test(predicted, many=True, tell=told.append)
    predict_blocks(job, job.blocks)
    job.stem(job.blocks[1]).with_suffix(".npy").write_bytes(b"half")
    assert job.missing(job.blocks) == [job.blocks[1]]
    assert "000008.npy cannot be read" in told[0]
    assert on_test(predicted, many=True, data_hash="other").blocks == job.blocks
    assert len(on_test(predicted, many=True, data_hash="other").missing(job.blocks)) == 3
    half = Compute(COMPUTE.device, "bf16")
    assert len(on_test(predicted, many=True, compute=half).missing(job.blocks)) == 3
    lenient = on_test(predicted, many=True, compute=half, any_format=True)
    assert lenient.missing(job.blocks) == [job.blocks[1]]


def test_blocks_of_another_machine_may_be_of_another_format(predicted: FoldFolder) -> None:
    half = Compute(COMPUTE.device, "bf16")
    there = on_test(predicted, many=True, compute=half)
    here = on_test(predicted, many=True, any_format=True)
    predict_blocks(there, there.blocks)
    assert predict_test(here).manifest["bf16"] is True
    assert here.whole() is not None
    assert there.whole() is not None
    predicted.test.with_suffix(".json").unlink()
    predict_blocks(there, there.blocks[:1])
    assert predict_test(here).manifest["several_formats"] is True
    assert here.whole() is not None
    assert there.whole() is None, "nobody may take it for what one format gives"
