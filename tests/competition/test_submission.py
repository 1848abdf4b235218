from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kaggle_salt import predictions as prediction_files
from kaggle_salt.competition import rle, submission
from kaggle_salt.competition.decision import Rule
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.predictions import Predictions
from kaggle_salt.storage.files import file_hash, read_json

MAPS = np.array(
    [
        [[255, 0, 0], [200, 0, 0]],
        [[0, 0, 0], [0, 0, 0]],
        [[129, 128, 129], [127, 129, 0]],
        [[0, 0, 0], [0, 0, 255]],
    ],
    dtype=np.uint8,
)
IDS = ("b", "007", "NA", "a")
SAMPLE_IDS = ["007", "a", "b", "NA"]
RULE = Rule(128, 2)


def write(
    path: Path,
    predictions: Predictions | None = None,
    sample_ids: list[str] = SAMPLE_IDS,
    *,
    rule: Rule = RULE,
    overwrite: bool = False,
) -> dict[str, object]:
    predictions = predictions or Predictions(IDS, MAPS)
    return submission.write_submission(
        path,
        predictions,
        sample_ids,
        rule=rule,
        manifest={"runs": ["one"]},
        overwrite=overwrite,
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_csv_is_kaggles_to_the_byte(tmp_path: Path) -> None:
    write(tmp_path / "one.csv")
    text = (tmp_path / "one.csv").read_text(encoding="utf-8")
    assert text == "id,rle_mask\n007,\na,\nb,1 2\nNA,1 1 4 2\n"


def test_the_manifest_says_where_the_csv_comes_from(tmp_path: Path) -> None:
    written = write(tmp_path / "one.csv")
    assert written == {
        "runs": ["one"],
        "rule": {"level": 128, "threshold": 128 / 255, "min_area": 2, "steps": []},
        "rows": 4,
        "empty_masks": 2,
        "full_masks": 0,
        "content_hash": file_hash(tmp_path / "one.csv"),
    }
    assert read_json(tmp_path / "one.json") == written
    assert names(tmp_path) == ["one.csv", "one.json"]


@pytest.mark.parametrize("block_pixels", [1, 12, 1 << 20])
def test_memory_mapped_predictions_survive_the_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_pixels: int
) -> None:
    monkeypatch.setattr(submission, "BLOCK_PIXELS", block_pixels)
    ids = tuple(f"tile{number:02}" for number in range(40))
    maps = np.random.default_rng(0).integers(0, 256, (40, 5, 7), dtype=np.uint8)
    maps[::3] = 0
    prediction_files.save(tmp_path / "test", Predictions(ids, maps))
    order = list(reversed(ids))

    write(tmp_path / "one.csv", prediction_files.load(tmp_path / "test"), order, rule=Rule(128, 16))

    table = pd.read_csv(tmp_path / "one.csv", dtype=str, keep_default_na=False)
    masks = np.stack([rle.decode(text, (5, 7)) for text in table["rle_mask"]])
    assert table["id"].tolist() == order
    np.testing.assert_array_equal(masks, Rule(128, 16).apply(maps[::-1]))


def test_a_taken_name_is_kept(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"one\.csv exists\n(.|\n)*--overwrite"):
        write(tmp_path / "one.csv")
    assert (tmp_path / "one.csv").read_text(encoding="utf-8") == "mine"
    assert names(tmp_path) == ["one.csv"]


def test_overwrite_replaces_both_files(tmp_path: Path) -> None:
    write(tmp_path / "one.csv")
    replaced = write(tmp_path / "one.csv", rule=Rule(255), overwrite=True)
    assert replaced["empty_masks"] == 4
    assert replaced["content_hash"] == file_hash(tmp_path / "one.csv")
    assert names(tmp_path) == ["one.csv", "one.json"]


def test_only_a_csv_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"one\.json\nexpected: a name in \.csv"):
        write(tmp_path / "one.json")


@pytest.mark.parametrize(
    ("sample_ids", "message"),
    [
        ([*SAMPLE_IDS, "c", "d"], r"2 tiles \(c, d\) without a prediction"),
        (["007", "a"], r"2 tiles \(NA, b\) predicted but not in the sample submission"),
        ([*SAMPLE_IDS, "a"], r"1 tile \(a\) listed twice in the sample submission"),
        (
            ["w", "x", "y", "z"],
            r"4 tiles \(w, x, y, \.\.\.\) without .*; 4 tiles \(007, NA, a, \.\.\.\) predicted but",
        ),
    ],
)
def test_ids_that_differ_are_named(tmp_path: Path, sample_ids: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        write(tmp_path / "one.csv", sample_ids=sample_ids)
    assert names(tmp_path) == []


def test_a_csv_that_reads_back_otherwise_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "one.csv")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    real_encoder = rle.encode_batch
    monkeypatch.setattr(
        rle, "encode_batch", lambda masks: [text or "1 1" for text in real_encoder(masks)]
    )
    with pytest.raises(DataError, match="another mask for tile 007"):
        write(tmp_path / "one.csv", overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: lines[:-1],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
        lambda lines: ["id,mask\n", *lines[1:]],
        lambda lines: [*lines[:-1], lines[-1].strip() + ",1\n"],
        lambda lines: [*lines[:-1], "NA\n"],
        lambda lines: [],
    ],
    ids=["a row less", "a row more", "other order", "other columns", "3 cells", "1 cell", "empty"],
)
@pytest.mark.parametrize("block_pixels", [12, 1 << 20])
def test_a_csv_with_other_rows_is_not_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[list[str]], list[str]],
    block_pixels: int,
) -> None:
    monkeypatch.setattr(submission, "BLOCK_PIXELS", block_pixels)
    write_whole = submission._write_csv

    def write_damaged(path: Path, mask_blocks: Iterable[submission.Block]) -> object:
        counts = write_whole(path, mask_blocks)
        path.write_text("".join(damage(path.read_text().splitlines(keepends=True))))
        return counts

    monkeypatch.setattr(submission, "_write_csv", write_damaged)
    with pytest.raises(DataError, match="read back has other columns or ids"):
        write(tmp_path / "one.csv")
    assert names(tmp_path) == []


def test_ids_that_need_quotes_survive_the_csv(tmp_path: Path) -> None:
    ids = ("a,b", 'say "a"', "two\nlines")
    write(tmp_path / "one.csv", Predictions(ids, MAPS[:3]), list(ids))
    table = pd.read_csv(tmp_path / "one.csv", dtype=str, keep_default_na=False)
    assert table["id"].tolist() == list(ids)
