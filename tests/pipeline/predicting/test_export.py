"""``salt export``: a run as one file, which says what the run's ensemble says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

from kaggle_salt import predictions
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.pipeline.blending.ensemble import ensemble
from kaggle_salt.pipeline.predicting.export import drawn_tiles, export_run
from kaggle_salt.pipeline.workspace import Workspace
from kaggle_salt.storage.files import read_json, write_json
from tests.tiny import SIZE, Heard, files_under, forbid

WORKSPACE = Workspace()  # the tests stand in its folder
DOCUMENT = Path("runs/ensemble/tiny/ensemble.json")


def open_file(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def as_docs_say(tile: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Levels of a tile by the Python of docs/export.md, in which run and tile are others."""
    page = (Path(__file__).parents[3] / "docs" / "export.md").read_text(encoding="utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    Image.fromarray(tile).save("tile.png")
    code = code.replace("quick", "tiny").replace("data/test/images/0005bb9630.png", "tile.png")
    names: dict[str, Any] = {}
    exec(code, names)
    Path("tile.png").unlink()
    assert (names["mask"] == (names["levels"] > int(names["told"]["level"]))).all()
    levels: NDArray[np.uint8] = names["levels"]
    return levels


def test_a_run_becomes_one_file_that_says_what_its_ensemble_says(trained: Path) -> None:
    decided = ensemble(WORKSPACE, ["tiny"], device="cpu").decision.rule
    before = files_under(trained)
    report = export_run(WORKSPACE, "tiny")
    after = files_under(trained)
    assert after.keys() - before.keys() == {"runs/tiny/tiny.onnx"}
    assert {name: after[name] for name in before} == before
    assert (report.path, report.size) == (
        Path("runs/tiny/tiny.onnx"), len(after["runs/tiny/tiny.onnx"]),
    )  # fmt: skip
    session = open_file(report.path)
    tiles = np.array(Competition.open("data").test_images)
    [probabilities] = session.run(None, {"tiles": tiles})
    stored = predictions.load(Path("runs/ensemble/tiny/test")).probabilities.astype(int)
    assert as_docs_say(tiles[0]) == pytest.approx(stored[0], abs=1)
    assert abs(np.round(255 * probabilities) - stored).max() <= 1
    assert np.ptp(stored) > 50
    told = session.get_modelmeta().custom_metadata_map
    assert told == report.metadata
    expected = {"run": "tiny", "folds": "0,1", "architecture": "compact", "tta": "flip",
                "tile_height": f"{SIZE}", "tile_width": f"{SIZE}", "tile_colours": "1",
                "level": f"{decided.level}", "min_area": f"{decided.min_area}",
                "steps": ",".join(decided.steps)}  # fmt: skip
    assert expected.items() <= told.items()
    assert float(told["threshold"]) == pytest.approx(decided.threshold, abs=1e-6)
    hashes = {k: read_json(Path(f"runs/tiny/fold{k}/fold.json"))["weights_hash"] for k in "01"}
    assert json.loads(told["weights_hash"]) == hashes


@pytest.fixture
def not_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no file that runs: of what is told besides, the conversion is most of the time."""

    def write(*given: object) -> float:
        path = given[4]
        assert isinstance(path, Path)
        path.write_bytes(b"a file")
        return 0.0

    monkeypatch.setattr("kaggle_salt.pipeline.predicting.export.export_onnx", write)


@pytest.mark.usefixtures("not_converted")
def test_one_fold_may_be_asked_for_and_takes_no_others_decision(trained: Path) -> None:
    ensemble(WORKSPACE, ["tiny"], device="cpu")
    heard = Heard()
    report = export_run(WORKSPACE, "tiny", folds="1", out=Path("one.onnx"), listener=heard)
    assert report.path == Path("one.onnx")
    assert report.metadata["folds"] == "1"
    assert "threshold" not in report.metadata
    assert heard.notes[0].startswith("exporting 1 network of run tiny")
    assert heard.notes[1].startswith(f"the decision in {DOCUMENT} is left out")


@pytest.mark.usefixtures("not_converted")
def test_a_decision_for_another_average_is_left_out(trained: Path) -> None:
    ensemble(WORKSPACE, ["tiny"], how="vote", device="cpu")
    assert "threshold" not in export_run(WORKSPACE, "tiny").metadata
    write_json(DOCUMENT, read_json(DOCUMENT) | {"how": "mean"})
    assert "threshold" in export_run(WORKSPACE, "tiny", overwrite=True).metadata


def test_drawn_tiles_have_the_shape_asked_for_and_are_the_same_every_time() -> None:
    tiles = drawn_tiles((40, 24), coloured=False)
    assert (tiles.dtype, tiles.shape) == (np.uint8, (6, 40, 24))
    assert np.array_equal(tiles, drawn_tiles((40, 24), coloured=False))
    assert all(np.ptp(tile) > 50 for tile in tiles)
    colours = drawn_tiles((8, 8), coloured=True)
    assert colours.shape == (6, 8, 8, 3)
    assert (colours[..., 0] != colours[..., 2]).any()


def test_a_file_that_is_there_costs_no_time(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(monkeypatch, "kaggle_salt.pipeline.predicting.export.load_networks")
    Path("a.onnx").touch()
    with pytest.raises(Exception, match=r"a\.onnx exists\n(.|\n)*--overwrite"):
        export_run(WORKSPACE, "tiny", out=Path("a.onnx"))
