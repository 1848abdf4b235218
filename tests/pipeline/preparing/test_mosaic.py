"""``salt mosaic`` from Kaggle's files to the table, the picture and folds grouped by it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kaggle_salt.competition.tiles import Competition
from kaggle_salt.pipeline.preparing.mosaic import make_mosaics
from kaggle_salt.pipeline.workspace import Workspace
from tests.makers import png, put, write_competition, write_table
from tests.sections import Cell, cut, draw_section, shuffled
from tests.tiny import files_under, refused, salt

SIZE, N_TEST = 32, 6


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Cell]:
    """A section of 4x5 tiles in ``data``, the last six of them test tiles; the current folder."""
    ids, tiles, where = shuffled(cut(draw_section(4 * SIZE, 5 * SIZE), SIZE, SIZE))
    data = tmp_path / "data"
    for row, (tile, image) in enumerate(zip(ids, tiles, strict=True)):
        if row < len(ids) - N_TEST:
            put(data / f"train/images/{tile}.png", png(image))
            put(data / f"train/masks/{tile}.png", png((image > 128).astype(np.uint8) * 255))
        else:
            put(data / f"test/images/{tile}.png", png(image))
    write_table(data / "depths.csv", "id,z", [(tile, "500") for tile in ids])
    monkeypatch.chdir(tmp_path)
    return where


def test_the_section_is_put_together_drawn_and_checked(where: dict[str, Cell]) -> None:
    result = salt("mosaic")
    table = pd.read_csv("mosaics.csv")
    assert dict(zip(table["id"], zip(table["row"], table["column"], strict=True), strict=True)) == (
        where
    )
    made = [path for path in files_under(Path()) if not path.startswith("data/")]
    assert made == ["mosaics.csv", "mosaics.json", "mosaics.png"]
    assert "20 of 20 tiles placed (100.0%): 1 mosaics, the largest of 20 tiles, 31 pairs" in (
        result.stdout
    )
    assert "14 of 14 training tiles lie beside another" in result.stdout
    assert "masks agree on 0.9" in result.stdout
    found = json.loads(Path("mosaics.json").read_text("utf-8"))
    assert found["mask_agreement"]["share"] > found["mask_agreement"]["random"] + 0.2


def test_made_of_the_same_tiles_it_stays(where: dict[str, Cell]) -> None:
    salt("mosaic", "--out", "other/m.csv")
    stamps = [path.stat().st_mtime_ns for path in sorted(Path("other").iterdir())]
    told = json.loads(salt("mosaic", "--out", "other/m.csv", "--json").stdout)
    assert told["existed"]
    assert told["pairs"] == 31
    assert told["picture"] == "other/m.png"
    assert [path.stat().st_mtime_ns for path in sorted(Path("other").iterdir())] == stamps
    Path("other/m.png").unlink()
    assert not json.loads(salt("mosaic", "--out", "other/m.csv", "--json").stdout)["existed"]
    assert Path("other/m.png").exists()


def test_another_file_is_not_overwritten_unasked(where: dict[str, Cell]) -> None:
    Path("mosaics.csv").write_text("mine\n", encoding="utf-8")
    refused(2, "mosaic", found="mosaics.csv is there, and is not what these tiles give",
            expected="the same table, or none", then="--out FILE .* or --overwrite")  # fmt: skip
    assert Path("mosaics.csv").read_text("utf-8") == "mine\n"
    salt("mosaic", "--overwrite")
    assert len(pd.read_csv("mosaics.csv")) == 20
    refused(2, "mosaic", "--out", "m.json", found="m.json, which is the name of",
            expected="a CSV file", then="--out m.csv")  # fmt: skip


def test_folds_keep_a_mosaic_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_competition(tmp_path / "data", n_train=12, n_test=2)
    monkeypatch.chdir(tmp_path)
    placed = [("tile001", "0", "0", "0"), ("tile007", "0", "0", "1"), ("test001", "0", "1", "1"),
              ("tile004", "1", "0", "0"), ("tile005", "1", "0", "1")]  # fmt: skip
    write_table(Path("mosaics.csv"), "id,mosaic,row,column", placed)
    told = salt("make-folds", "--n-folds", 3, "--group-by", "mosaics.csv").stderr
    assert "4 tiles are in 2 groups of two or more, each in one fold. What they leak" in told
    table = pd.read_csv("folds/folds.csv").set_index("id")
    assert len(table) == 12
    assert table.loc[["tile001", "tile007"], "group"].tolist() == ["mosaic 0"] * 2
    assert table.groupby("group")["fold"].nunique().eq(1).all()
    assert table["group"].nunique() == 10
    assert set(table["fold"]) == {0, 1, 2}


def test_tiles_that_belong_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        image = draw_section(64, 64, seed=10 + number)
        put(Path(f"data/train/images/t{number}.png"), png(image))
        put(Path(f"data/train/masks/t{number}.png"), png((image > 128).astype(np.uint8) * 255))
    report = make_mosaics(Workspace())
    assert report.picture is None
    assert not Path("mosaics.png").exists()
    assert report.manifest["placed"] == report.manifest["largest"] == 0
    assert make_mosaics(Workspace()).existed
    assert "the masks check nothing" in salt("mosaic").stdout
    assert Path("mosaics.csv").read_text("utf-8") == "id,mosaic,row,column\n"


def test_other_tiles_give_another_table(where: dict[str, Cell]) -> None:
    salt("mosaic")
    before = Competition.open("data").data_hash
    shutil.rmtree("data/test")
    assert Competition.open("data").data_hash != before
    refused(2, "mosaic", found="mosaics.csv is there", expected="the same", then="--overwrite")
    salt("mosaic", "--overwrite")
    assert len(pd.read_csv("mosaics.csv")) < 20
