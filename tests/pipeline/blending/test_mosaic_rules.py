"""Neighbours' masks from the table of mosaics to the rule, its gain and the submission."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import kaggle_salt
from kaggle_salt import predictions
from kaggle_salt.competition import rle
from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.metric import image_scores
from kaggle_salt.errors import DataError
from kaggle_salt.pipeline.blending.foreign import GivenFiles, import_predictions
from kaggle_salt.pipeline.blending.mosaic_rules import Mosaic, leave_one_out
from kaggle_salt.pipeline.preparing.prepare import make_fold_table
from kaggle_salt.pipeline.submitting.submit import submit
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.storage.files import file_hash, read_json
from tests.makers import png, put, write_table
from tests.tiny import draw_no_curves, refused, salt

SIZE = 6
WORKSPACE = Workspace()  # the tests stand in its folder

WALL = np.zeros((SIZE, SIZE), dtype=bool)
WALL[:, 2:] = True
FLOOR = np.tri(SIZE, dtype=bool)
NONE = np.zeros((SIZE, SIZE), dtype=bool)

#: Four columns of a mosaic from the top; those with an x are test tiles.
COLUMNS = [["a", "b", "x0", "c"], ["d", "x1", "e"], ["f", "g", "x2"], ["x3", "h"]]
MASKS = {"a": ~WALL, "b": WALL, "c": WALL, "d": FLOOR, "e": NONE, "f": ~FLOOR, "g": ~FLOOR,
         "h": WALL, "i": NONE, "j": FLOOR, "k": NONE, "l": NONE}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve training tiles, four test tiles, their mosaics, and a run that sees no wall."""
    monkeypatch.chdir(tmp_path)
    draw_no_curves(monkeypatch)
    rng = np.random.default_rng(0)
    for tile in [*MASKS, "x0", "x1", "x2", "x3"]:
        part = "test" if tile.startswith("x") else "train"
        image = rng.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
        put(Path(f"data/{part}/images/{tile}.png"), png(image))
        if tile in MASKS:
            put(Path(f"data/train/masks/{tile}.png"), png(MASKS[tile].astype(np.uint8) * 255))
    cells = [(tile, "0", str(row), str(number))
             for number, column in enumerate(COLUMNS)
             for row, tile in enumerate(column)]  # fmt: skip
    write_table(Path("mosaics.csv"), "id,mosaic,row,column", cells)
    make_fold_table(WORKSPACE, n_folds=3)
    blind = {tile: 0.9 * FLOOR if tile in "dej" else 0.1 * FLOOR for tile in MASKS}
    for part, maps in (("oof", blind), ("test", {f"x{n}": 0.8 * FLOOR for n in range(4)})):
        np.save(f"{part}.npy", np.stack([*maps.values()]))
        Path(f"{part}.csv").write_text("\n".join(("id", *maps)), encoding="utf-8")
    given = (Path(name) for name in ("oof.npy", "oof.csv", "test.npy", "test.csv"))
    import_predictions(WORKSPACE, "blind", GivenFiles(*given))


def masks_of(csv: Path) -> dict[str, NDArray[np.bool_]]:
    table = pd.read_csv(csv, dtype=str, keep_default_na=False)
    return {tile: rle.decode(text, (SIZE, SIZE)) for tile, text in table.itertuples(index=False)}


def test_each_training_tile_is_left_out_in_its_turn() -> None:
    competition = WORKSPACE.open(Listener())
    around = Mosaic.open(Path("mosaics.csv"), competition).neighbourhood
    rows = {row.step: (row.tiles, row.score, row.test_tiles)
            for row in leave_one_out(competition, around)}  # fmt: skip
    # b's wall upwards to a, whose mask is another; c's to x0; h's to x3
    assert rows["wall-up"] == (1, float(image_scores(MASKS["a"][None], WALL[None])[0]), 2)
    # a's downwards to b; b's to x0 and, two down, to c
    scores = image_scores(np.stack([WALL, WALL]), np.stack([~WALL, WALL]))
    assert rows["wall-down"] == (2, float(scores.mean()), 1)
    assert rows["under-salt-empty"] == (1, 1.0, 1)  # e and x1 under d
    Path("mosaics.csv").write_text("id,mosaic,row,column\n", encoding="utf-8")
    alone = Mosaic.open(Path("mosaics.csv"), competition).neighbourhood
    assert {(row.tiles, row.score) for row in leave_one_out(competition, alone)} == {(0, None)}


def test_mosaic_prints_how_well_neighbours_tell() -> None:
    salt("mosaic", "--out", "own.csv")
    told = json.loads(salt("mosaic", "--out", "own.csv", "--json").stdout)
    assert told["existed"]
    competition = WORKSPACE.open(Listener())
    around = Mosaic.open(Path("own.csv"), competition).neighbourhood
    assert told["rules"] == [asdict(row) for row in leave_one_out(competition, around)]
    lines = salt("mosaic", "--out", "own.csv").stdout.splitlines()
    assert lines[-4].split()[0] == "wall-up:"
    assert lines[-1].startswith("score: leave-one-out")


STEPS = ("wall-up", "wall-down", "under-salt-empty")


def test_the_gain_is_that_of_the_masks_as_they_will_be() -> None:
    report = kaggle_salt.ensemble("data", "blind", post=STEPS, mosaic="mosaics.csv", verbose=False)
    rule = report.decision.rule
    assert rule.steps == STEPS
    competition = WORKSPACE.open(Listener())
    oof = predictions.load(WORKSPACE.runs / "blind/oof")
    without = Rule(rule.level, rule.min_area).apply(oof.probabilities)
    masks = dict(zip(oof.ids, without, strict=True))
    truth = np.stack([MASKS[tile] for tile in oof.ids])
    before = image_scores(truth, without)
    masks |= {"a": WALL, "b": ~WALL, "c": WALL, "e": NONE}
    after = image_scores(truth, np.stack([masks[tile] for tile in oof.ids]))
    assert report.decision.score == pytest.approx(after.mean())
    together = report.mosaic[-1]
    assert (together.step, together.tiles, together.test_tiles) == ("together", 4, 3)
    assert together.gain == pytest.approx((after - before).mean())
    told = np.array([tile in "abce" for tile in oof.ids])
    assert together.without == pytest.approx(before[told].mean())
    assert together.score == pytest.approx(after[told].mean())
    assert together.interval[0] <= together.gain <= together.interval[1]
    assert [(row.step, row.tiles) for row in report.mosaic[:3]] == [
        ("wall-up", 1), ("wall-down", 2), ("under-salt-empty", 1),
    ]  # fmt: skip
    stored = read_json(report.folder / "ensemble.json")["mosaic"]
    assert (stored["file"], stored["hash"]) == ("mosaics.csv", file_hash(Path("mosaics.csv")))
    assert [row["step"] for row in stored["rules"]] == [*STEPS, "together"]
    csv = submit(WORKSPACE).csv
    found = masks_of(csv)
    test = predictions.load(report.folder / "test")
    plain = Rule(rule.level, rule.min_area).apply(test.probabilities)
    expected = dict(zip(test.ids, plain, strict=True)) | {"x0": WALL, "x1": NONE, "x3": WALL}
    assert found.keys() == set(competition.test_ids)
    for tile, mask in found.items():
        assert np.array_equal(mask, expected[tile]), tile
    assert expected["x2"].any()


def test_only_what_the_training_tiles_bear_out_is_taken_unasked() -> None:
    report = kaggle_salt.ensemble("data", "blind", mosaic="mosaics.csv", verbose=False)
    assert report.decision.rule.steps == ("under-salt-empty",)
    assert [row.step for row in report.mosaic] == ["under-salt-empty", "together"]
    assert kaggle_salt.ensemble("data", "blind", verbose=False).mosaic == ()


def test_a_step_that_loses_is_told_of() -> None:
    text = Path("mosaics.csv").read_text("utf-8").replace("e,0,", "j,0,")
    Path("mosaics.csv").write_text(text, encoding="utf-8")
    call = ("ensemble", "blind", "--mosaic", "mosaics.csv", "--post", "under-salt-empty")
    result = salt(*call)
    assert "the step under-salt-empty loses 0.0833 out of fold; without it: --post none" in (
        result.stderr
    )
    line = next(line for line in result.stdout.splitlines() if line.startswith("under-salt"))
    assert line.split()[:5] == ["under-salt-empty", "1", "1.000", "0.000", "-0.0833"]


def test_a_table_that_changed_after_the_ensemble_is_refused() -> None:
    salt("ensemble", "blind", "--mosaic", "mosaics.csv", "--name", "mine")
    table = Path("mosaics.csv")
    text = table.read_text("utf-8")
    table.write_text(text.replace("x1,0,1,1\n", ""), encoding="utf-8")
    refused(3, "submit", found="mosaics.csv has changed since the ensemble was made",
            expected="its rule was judged with",
            then="salt ensemble blind --name mine --mosaic mosaics.csv")  # fmt: skip
    with pytest.raises(DataError, match="has changed since") as caught:
        submit(WORKSPACE)
    salt(*shlex.split(caught.value.next_step)[1:])
    assert masks_of(submit(WORKSPACE, name="again").csv)["x1"].any(), "nothing says it is empty"
    table.unlink()
    refused(3, "submit", "--name", "gone", found="mosaics.csv cannot be read",
            expected="id, mosaic, row, column", then="salt mosaic --out mosaics.csv")  # fmt: skip
    salt("submit", "--name", "again")  # is there already


def test_neighbours_in_other_folds_count_as_those_of_a_test_tile_do() -> None:
    """Whatever the folds are, a training tile is told by all others."""
    first = kaggle_salt.ensemble("data", "blind", post=STEPS, mosaic="mosaics.csv", verbose=False)
    make_fold_table(WORKSPACE, n_folds=2, seed=3, overwrite=True)
    again = kaggle_salt.ensemble("data", "blind", post=STEPS, mosaic="mosaics.csv", verbose=False)
    assert again.mosaic == first.mosaic
