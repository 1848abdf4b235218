from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from kaggle_salt import predictions, submit
from kaggle_salt.competition.postprocess import STEPS
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import ConfigError, DataError, TrainingError
from kaggle_salt.learning.keeping import halve_weights, read_origin
from kaggle_salt.pipeline.predicting import finished
from kaggle_salt.pipeline.predicting.packed import ShipReport, ship
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.storage.files import read_json, write_json
from tests.makers import png, put, write_competition
from tests.sections import draw_section
from tests.tiny import TINY, configure, files_under, refused, salt

CPU = ("--device", "cpu")
OUT = Path("network")


@pytest.fixture
def decided(trained: Path) -> Path:
    salt("ensemble", "tiny", *CPU)
    return trained


def pack(**given: object) -> ShipReport:
    options = {"fold": 1, "device": "cpu", **given}
    return ship(Workspace(), "tiny", OUT, **options)  # type: ignore[arg-type]


def test_what_is_packed_is_a_run_of_one_fold(decided: Path) -> None:
    before = files_under(decided)
    report = pack(teachers="tiny")
    assert report.packed_score == pytest.approx(report.score, abs=0.02)
    assert report.changed_pixels < 0.01
    written = {name: data for name, data in files_under(decided).items() if name not in before}
    assert sorted(written) == [
        "network/README.md", "network/config.toml", "network/ensemble.json",
        "network/fold1/fold.json", "network/fold1/weights.safetensors", "network/manifest.json",
    ]  # fmt: skip
    small, large = (load_file(folder / "fold1/weights.safetensors") for folder in
                    (OUT, Path("runs/tiny")))  # fmt: skip
    assert small.keys() == large.keys()
    for name, tensor in large.items():
        half = tensor.ndim > 1
        assert small[name].dtype == (torch.float16 if half else tensor.dtype)
        assert torch.equal(small[name], tensor.half() if half else tensor)
    weights = OUT / "fold1/weights.safetensors"
    assert report.megabytes == weights.stat().st_size / 1e6
    assert read_origin(weights)["fold"] == 1
    manifest = json.loads((OUT / "manifest.json").read_text("utf-8"))
    assert manifest["tile_shape"] == [32, 32]
    assert manifest["packed_from"] == {"run": "tiny", "fold": 1}
    assert manifest["teachers"]["runs"] == ["tiny"]
    card = (OUT / "README.md").read_text("utf-8")
    for words in ("salt predict IMAGE --model network", "32 x 32 pixels",
                  "Its teachers, the ensemble tiny", "must not be used for", "MIT licence",
                  f"{report.packed_score:.4f}"):  # fmt: skip
        assert words in card


def test_the_network_that_the_package_carries(
    decided: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    salt("ship", "tiny", "--fold", 1, "--out", "package/shipped", *CPU)
    monkeypatch.setattr(finished, "SHIPPED", decided / "package/shipped")
    competition = Competition.open("data")
    shutil.rmtree("runs")
    for tile, image in zip(competition.test_ids, competition.test_images, strict=True):
        put(Path(f"tiles/{tile}.png"), png(image))
    told = salt("predict", "tiles", *CPU)
    assert "taking the network that this version carries (--model shipped)" in told.stderr
    assert "by shipped, fold 1" in told.stdout
    assert "chosen out of fold" in told.stdout
    put(Path("line.png"), png(draw_section(50, 90)))
    salt("predict", "line.png", "--model", "shipped", *CPU)
    told = salt("submit", "--model", "shipped", *CPU)
    assert "submissions/shipped.csv: 8 rows" in told.stdout
    stored = predictions.load(Path("runs/ensemble/shipped/test"))
    assert stored.ids == competition.test_ids
    for row, tile in enumerate(stored.ids):
        with Image.open(f"predictions/{tile}-probability.png") as written:
            assert np.array_equal(np.array(written), stored.probabilities[row])
    before = files_under(decided)
    again = submit("data", model="shipped", device="cpu", verbose=False)
    assert again.existed
    assert files_under(decided) == before
    assert salt("submit", "--ensemble", "shipped", "--name", "other", "--threshold", ".3")


def test_steps_that_look_at_neighbours_stay_behind(
    decided: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = Path("runs/ensemble/tiny/ensemble.json")
    told = read_json(document)
    told["decision"]["rule"] |= {"level": 90, "steps": ["blank-empty"]}
    write_json(document, told)
    monkeypatch.setitem(STEPS, "blank-empty", replace(STEPS["blank-empty"], of_neighbours=True))
    pack()
    kept = json.loads((OUT / "ensemble.json").read_text("utf-8"))["decision"]["rule"]
    assert (kept["level"], kept["steps"]) == (90, [])
    put(Path("tile.png"), png(np.zeros((32, 32), np.uint8)))
    assert "threshold 0.3529" in salt("predict", "tile.png", "--run", "tiny", *CPU).stdout


def test_no_folder_of_this_machine_goes_with_it(decided: Path) -> None:
    labels = f'[pseudo]\nfile = "{decided / "labels.csv"}"\n'
    configure(Path("runs/tiny"), f"{TINY}\n{labels}")
    pack()
    assert 'file = "labels.csv"' in (OUT / "config.toml").read_text("utf-8")
    for name, content in files_under(OUT).items():
        assert str(decided).encode() not in content, name
    put(Path("tile.png"), png(np.zeros((32, 32), np.uint8)))
    salt("predict", "tile.png", "--model", OUT, *CPU)


def test_the_card_says_why_a_score_is_too_high(decided: Path) -> None:
    document = Path("runs/ensemble/tiny/ensemble.json")
    told = read_json(document)
    told["out_of_fold"]["caveats"] = ["its teachers knew these tiles"]
    write_json(document, told)
    pack()
    assert "\n- its teachers knew these tiles.\n" in (OUT / "README.md").read_text("utf-8")


def test_other_tiles_than_its_own_are_refused(decided: Path) -> None:
    pack()
    write_competition(Path("small"), shape=(8, 9))
    refused(3, "submit", "--model", OUT, "--data", "small", *CPU,
            found="network was trained on tiles of 32x32 pixels, these have 8x9",
            expected="the same size", then="train a network on these tiles")  # fmt: skip
    write_competition(Path("no-tests"), n_test=0)
    with pytest.raises(DataError, match="no-tests has no test tiles"):
        submit("no-tests", model=str(OUT), verbose=False)
    with pytest.raises(ConfigError, match="the ensemble tiny and the model shipped"):
        submit("data", model="shipped", ensemble="tiny", verbose=False)


def test_what_cannot_be_packed(decided: Path) -> None:
    for given, message in (
        ({"fold": 2}, "fold 2 of run tiny is not trained"),
        ({"teachers": "tinny"}, "there is no ensemble 'tinny'"),
    ):
        with pytest.raises(ConfigError, match=message):
            pack(**given)
    assert not OUT.exists()
    with pytest.raises(ConfigError, match="nothing says how the probabilities of run other"):
        ship(Workspace(), "other", OUT, fold=1)


def test_a_folder_is_replaced_only_if_told_so_and_if_a_network_lies_in_it(decided: Path) -> None:
    pack()
    before = files_under(decided)
    with pytest.raises(ConfigError, match="network holds a packed network"):
        pack()
    assert files_under(decided) == before
    pack(fold=0, overwrite=True)
    assert not (OUT / "fold1").exists()
    with pytest.raises(ConfigError, match="runs/tiny holds something else"):
        ship(Workspace(), "tiny", Path("runs/tiny"), fold=0, overwrite=True)


def test_a_weight_that_is_too_large_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.tensor([[1e6]])}, tmp_path / "a.safetensors")
    with pytest.raises(TrainingError, match="a holds a weight that float16 cannot hold"):
        halve_weights(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.skipif(not finished.SHIPPED.exists(), reason="this version carries no network")
def test_what_the_package_carries_is_whole_and_small() -> None:
    [weights] = finished.SHIPPED.glob("fold*/*.safetensors")
    assert weights.stat().st_size <= 7_000_000
    for name in ("config.toml", "manifest.json", "ensemble.json", "README.md"):
        assert (finished.SHIPPED / name).is_file()
