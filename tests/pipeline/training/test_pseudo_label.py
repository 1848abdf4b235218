from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from kaggle_salt import predictions
from kaggle_salt.competition import rle
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.learning.batches import TrainingTiles
from kaggle_salt.learning.fold import FoldSummary, read_summary, train_fold
from kaggle_salt.learning.on_test import FoldOnTest
from kaggle_salt.pipeline.training.pseudo_label import PseudoReport, pseudo_label
from kaggle_salt.pipeline.training.train import train
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.predictions import Predictions
from kaggle_salt.pseudo_origin import Confidence
from kaggle_salt.runs import FoldFolder, RunFolder
from kaggle_salt.storage.files import file_hash, read_json, write_json
from tests.tiny import N_TEST, SIZE, Heard, files_under, forbid, tiny_config

WORKSPACE = Workspace()  # the tests stand in its folder
ANY_PIXEL = Confidence(low=0.5, high=0.5)  # two minutes of training make no one sure
PREDICT_TEST = "kaggle_salt.pipeline.blending.on_test.predict_test"


def label(*runs: str, wanted: Confidence = ANY_PIXEL, **options: Any) -> PseudoReport:
    return pseudo_label(WORKSPACE, runs, wanted=wanted, device="cpu", **options)


def maps_of(run: str, fold: int) -> NDArray[np.uint8]:
    """What the stand-in of a network predicts: another quarter or so of salt for each tile."""
    rng = np.random.default_rng([fold, *run.encode()])
    maps = np.zeros((N_TEST, SIZE, SIZE), dtype=np.uint8)
    for tile in maps:
        top, left = rng.integers(0, SIZE, 2)
        tile[top:, left:] = 255
    return maps


class NetworksStandIn:
    """Predicts test tiles without a network, and writes down whose turn it was."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, int]] = []
        patch.setattr(PREDICT_TEST, self.predict)

    def predict(self, fold: FoldOnTest, _: object) -> Predictions:
        folder = fold.folder
        self.asked.append((folder.run, folder.fold))
        return Predictions(tuple(fold.ids), maps_of(folder.run, folder.fold))


def labels_in(csv: Path, fold: str) -> dict[str, NDArray[np.bool_]]:
    """Mask of each tile that the CSV has for a fold."""
    table = pd.read_csv(csv, dtype=str, keep_default_na=False)
    rows = table[table["fold"] == fold]
    masks = [rle.decode(text, (SIZE, SIZE)) for text in rows["rle_mask"]]
    return dict(zip(rows["id"], masks, strict=True))


def all_test_ids() -> tuple[str, ...]:
    return WORKSPACE.open(Listener()).test_ids


class Watched:
    """Trains folds as usual, and keeps the tiles that each of them was given."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.tiles: dict[int, TrainingTiles] = {}
        patch.setattr("kaggle_salt.pipeline.training.train.train_fold", self.train_fold)

    def train_fold(
        self, config: Any, tiles: TrainingTiles, ids: Sequence[str], folder: FoldFolder, *rest: Any
    ) -> FoldSummary:
        assert len(ids) == len(tiles.images) - len(tiles.pseudo_rows)
        self.tiles[folder.fold] = tiles
        return train_fold(config, tiles, ids, folder, *rest)


def test_a_student_is_taught_by_networks_that_never_saw_its_validation_tiles(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = NetworksStandIn(monkeypatch)
    report = label("tiny")
    assert networks.asked == [("tiny", 0), ("tiny", 1)]
    watched = Watched(monkeypatch)
    config = tiny_config(Path(), "stage.*.epochs=1", f"pseudo.file={report.csv}")
    train(WORKSPACE, RunFolder(Path("runs/student")), config, folds="0,1", device="cpu")
    competition = WORKSPACE.open(Listener())
    fold_of = pd.read_csv(WORKSPACE.folds).set_index("id")["fold"]
    for fold, tiles in watched.tiles.items():
        held_out = [row for row, tile in enumerate(competition.ids) if fold_of[tile] == fold]
        assert tiles.validation_rows.tolist() == held_out
        learnt = {*tiles.train_rows.tolist(), *tiles.pseudo_rows.tolist()}
        assert learnt.isdisjoint(held_out)
        assert learnt.union(held_out) == set(range(len(tiles.images)))
        own = len(competition.ids)
        assert np.array_equal(tiles.images[:own], competition.images)
        assert np.array_equal(tiles.masks[:own], competition.masks)
        labels = labels_in(report.csv, str(fold))
        assert len(labels) == len(tiles.pseudo_rows) > 0
        for row, (tile, mask) in zip(tiles.pseudo_rows, labels.items(), strict=True):
            place = competition.test_ids.index(tile)
            assert np.array_equal(tiles.images[row], competition.test_images[place])
            assert np.array_equal(tiles.label(row), mask * np.uint8(255))
            assert np.array_equal(mask, maps_of("tiny", fold)[place] > 127)
            assert not np.array_equal(mask, maps_of("tiny", 1 - fold)[place] > 127)
    assert set(watched.tiles) == {0, 1}
    manifest = read_json(Path("runs/student/manifest.json"))
    assert manifest["pseudo_hash"] == file_hash(report.csv)
    assert manifest["pseudo_teachers"] == "fold"


def test_runs_teach_the_folds_that_all_of_them_have(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks, heard = NetworksStandIn(monkeypatch), Heard()
    report = label("tiny", "other", listener=heard)
    assert networks.asked == [("tiny", 1), ("other", 1)]
    assert heard.warnings == ["no labels for fold 0, 2: not every run has it"]
    assert report.csv == Path("runs/tiny/pseudo-labels.csv")
    mean = (maps_of("tiny", 1).astype(int) + maps_of("other", 1) + 1) // 2
    labels = labels_in(report.csv, "1")
    assert labels
    for tile, mask in labels.items():
        assert np.array_equal(mask, mean[all_test_ids().index(tile)] > 127)
    made_of = read_json(Path("runs/tiny/pseudo-labels.json"))["made_of"]
    assert made_of["networks"] == {
        "1": [
            {"run": run, "fold": 1, "weights_hash": read_summary(fold).weights_hash}
            for run in ("tiny", "other")
            for fold in [RunFolder(Path("runs") / run).fold(1)]
        ]
    }
    assert made_of["folds_hash"] == file_hash(WORKSPACE.folds)
    assert made_of["test_hash"] == WORKSPACE.open(Listener()).test_hash


def test_soft_labels_are_the_mean_of_the_folds_own_networks(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the maps of two runs to what a student is given, row by row."""
    networks = NetworksStandIn(monkeypatch)
    wanted = Confidence(confidence=0.0, soft=True)
    report = label("tiny", "other", wanted=wanted)
    assert networks.asked == [("tiny", 1), ("other", 1)]
    mean = (maps_of("tiny", 1).astype(int) + maps_of("other", 1) + 1) // 2
    assert {0, 128, 255} == set(np.unique(mean).tolist())
    watched = Watched(monkeypatch)
    config = tiny_config(Path(), "stage.*.epochs=1", f"pseudo.file={report.csv}")
    train(WORKSPACE, RunFolder(Path("runs/student")), config, folds="1", device="cpu")
    tiles, ids = watched.tiles[1], list(labels_in(report.csv, "1"))
    assert len(ids) == len(tiles.pseudo_rows) > 0
    for row, tile in zip(tiles.pseudo_rows, ids, strict=True):
        assert np.array_equal(tiles.label(row), mean[all_test_ids().index(tile)])
    manifest = read_json(Path("runs/student/manifest.json"))
    assert manifest["pseudo_hash"] == report.manifest.content_hash
    assert label("tiny", "other", wanted=wanted).existed
    hard = Confidence(confidence=0.0)
    with pytest.raises(ConfigError, match=r"pseudo-labels\.csv exists and was made of something"):
        label("tiny", "other", wanted=hard)
    report.csv.with_suffix(".npy").unlink()
    with pytest.raises(ConfigError, match=r"pseudo-labels\.csv exists"):
        label("tiny", "other", wanted=wanted)
    assert not label("tiny", "other", wanted=wanted, overwrite=True).existed


def test_every_run_counts_alike_where_all_networks_teach(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree("runs/other/fold2")
    networks = NetworksStandIn(monkeypatch)
    report = label("tiny", "other", teachers="all", out=Path("all.csv"))
    assert networks.asked == [("tiny", 0), ("tiny", 1), ("other", 1)]
    tiny = maps_of("tiny", 0).astype(int) + maps_of("tiny", 1)
    mean = (tiny + 2 * maps_of("other", 1).astype(int) + 2) // 4
    labels = labels_in(report.csv, "all")
    assert labels
    for tile, mask in labels.items():
        assert np.array_equal(mask, mean[all_test_ids().index(tile)] > 127)
    assert {row["fold"] for row in report.manifest.selection} == {"all"}


def test_labels_are_what_the_networks_predict(trained: Path) -> None:
    report = label("tiny")
    competition = WORKSPACE.open(Listener())
    for fold in (0, 1):
        predicted = predictions.load(RunFolder(Path("runs/tiny")).fold(fold).test)
        labels = labels_in(report.csv, str(fold))
        assert labels
        assert list(labels) == sorted(labels)
        for tile, mask in labels.items():
            row = predicted.ids.index(tile)
            assert np.array_equal(mask, predicted.probabilities[row] > 127)
            assert np.ptp(competition.test_images[row]) > 0, "blank tiles teach nothing"
        counts = [row for row in report.manifest.selection if row["fold"] == str(fold)]
        assert sum(row["taken"] for row in counts) == len(labels)


def test_labels_from_before_there_was_a_balance_are_the_same(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    NetworksStandIn(monkeypatch)
    first = label("tiny")
    document = read_json(first.csv.with_suffix(".json"))
    del document["made_of"]["settings"]["balance"]
    write_json(first.csv.with_suffix(".json"), document)
    assert label("tiny").existed
    by_hand = Confidence(low=0.5, high=0.5, balance="1st-place")
    with pytest.raises(ConfigError, match="was made of something else"):
        label("tiny", wanted=by_hand)


def test_the_splits_of_the_first_place_make_labels(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    NetworksStandIn(monkeypatch)
    report = label("tiny", wanted=Confidence(low=0.5, high=0.5, balance="1st-place"))
    counts = [one for one in report.manifest.selection if one["fold"] == "0"]
    assert [one["coverage_up_to"] for one in counts] == [0, 0.0491, 0.25, 0.5, 0.75, 0.9]
    assert sum(one["taken"] for one in counts) == len(labels_in(report.csv, "0")) > 0
    nothing = Confidence(low=0, high=1, balance="1st-place")
    match = r"expected: more with 0\.97 of(.|\n)*next: --balance training, or better teachers"
    with pytest.raises(ConfigError, match=match):
        label("tiny", wanted=nothing, overwrite=True)


def test_the_same_labels_are_not_made_twice(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = label("tiny")
    before = files_under(trained)
    with monkeypatch.context() as patch:
        forbid(patch, PREDICT_TEST)
        for overwrite in (False, True):
            again = label("tiny", overwrite=overwrite)
            assert (again.existed, again.manifest) == (True, first.manifest)
    first.csv.unlink()
    first.csv.with_suffix(".json").unlink()
    assert not label("tiny").existed
    assert files_under(trained) == before, "the same inputs, the same bytes"


def test_other_labels_are_not_replaced_unasked(trained: Path) -> None:
    csv = label("tiny").csv
    before = files_under(trained)
    for spoil in (
        lambda: None,
        lambda: csv.write_text("fold,id\n", encoding="utf-8"),
        lambda: csv.with_suffix(".json").write_text("{}", encoding="utf-8"),
        csv.with_suffix(".json").unlink,
    ):
        spoil()
        wanted = Confidence(0.5, 0.5, limit=3)
        with pytest.raises(ConfigError, match=r"pseudo-labels\.\w+ exists(.|\n)*--overwrite"):
            label("tiny", wanted=wanted)
        label("tiny", wanted=ANY_PIXEL, overwrite=True)
        assert files_under(trained) == before
    with pytest.raises(ConfigError, match=r"cannot be called labels\.txt(.|\n)*--out FILE\.csv"):
        label("tiny", out=Path("labels.txt"))


def test_teachers_of_another_fold_table_are_refused(trained: Path) -> None:
    table = WORKSPACE.folds.read_text(encoding="utf-8")
    swapped = table.replace(",0\n", ",x\n").replace(",1\n", ",0\n").replace(",x\n", ",1\n")
    WORKSPACE.folds.write_text(swapped, encoding="utf-8")
    with pytest.raises(DataError, match=r"run tiny was trained on other tiles or another fold(.|\n)"
                                        r"*may have seen(.|\n)*--run NAME"):  # fmt: skip
        label("tiny")
    WORKSPACE.folds.write_text(table, encoding="utf-8")
    (WORKSPACE.data / "depths.csv").write_text("id,z\n", encoding="utf-8")
    with pytest.raises(DataError, match="run tiny was trained on other tiles or another fold"):
        label("tiny")


def test_a_student_of_all_folds_teaches_no_single_fold(trained: Path) -> None:
    manifest = Path("runs/tiny/manifest.json")
    write_json(manifest, {**read_json(manifest), "pseudo_teachers": "all"})
    with pytest.raises(ConfigError, match=r"run tiny has learnt from (.|\n)*--teachers all"):
        label("tiny")
    assert label("tiny", teachers="all").manifest.made_of.teachers == "all"


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        (["tinny"], r"no run 'tinny'(.|\n)*did you mean 'tiny'(.|\n)*salt train --run tinny"),
        (["tiny", "tiny"], r"named tiny tiny(.|\n)*each once(.|\n)*salt pseudo-label tiny$"),
        ([], r"named nowhere(.|\n)*salt pseudo-label RUN"),
    ],
)
def test_unusable_names_are_refused(trained: Path, runs: list[str], found: str) -> None:
    with pytest.raises(ConfigError, match=found):
        label(*runs)


def test_runs_without_a_common_fold_are_refused(trained: Path) -> None:
    Path("runs/other/fold1/fold.json").unlink()
    with pytest.raises(
        ConfigError, match=r"no fold that tiny and other have(.|\n)*--run other --fold 0"
    ):
        label("tiny", "other")
    Path("runs/other/fold2/fold.json").unlink()
    with pytest.raises(ConfigError, match="no fold that other have"):
        label("other", teachers="all")


def test_unsure_teachers_are_refused(trained: Path) -> None:
    before = {name for name in files_under(trained) if "test." not in name}
    found = r"no test tile can be labelled for fold 0: 0 are(.|\n)*0\.001 or above 0\.999(.|\n)*"
    with pytest.raises(ConfigError, match=found + "--confidence"):
        label("tiny", wanted=Confidence(0.001, 0.999, 1))
    assert {name for name in files_under(trained) if "test." not in name} == before


def test_without_test_tiles_there_is_nothing_to_label(trained: Path) -> None:
    (WORKSPACE.data / "test.zip").unlink()
    with pytest.raises(DataError, match=r"data has no test tiles(.|\n)*salt download"):
        label("tiny")
