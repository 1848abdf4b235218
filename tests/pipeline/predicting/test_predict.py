from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from kaggle_salt import decode, predict, predictions
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.config.file import load_run_config
from kaggle_salt.errors import ConfigError, DataError
from kaggle_salt.learning.framing import Framing
from kaggle_salt.pipeline.predicting import finished
from kaggle_salt.pipeline.predicting.predict import PredictReport
from kaggle_salt.pipeline.predicting.predict import predict as run_predict
from kaggle_salt.pipeline.workspace import Workspace
from tests.makers import png, put
from tests.sections import draw_section
from tests.tiny import SIZE, Heard, files_under, refused, salt

CPU = ("--device", "cpu")


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.array(picture)


def write_test_tiles() -> Competition:
    competition = Competition.open("data")
    for tile, image in zip(competition.test_ids, competition.test_images, strict=True):
        put(Path("tiles") / f"{tile}.png", png(image))
    return competition


def predicted(*images: str, **given: object) -> PredictReport:
    options = {"run": "tiny", "device": "cpu", "verbose": False, **given}
    return predict(list(images), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["mean", "vote"])
def test_a_tile_gets_the_bits_of_the_ensemble_and_the_mask_of_the_submission(
    trained: Path, how: str
) -> None:
    competition = write_test_tiles()
    salt("ensemble", "tiny", "--how", how, *CPU)
    salt("submit", "--name", "first")
    report = predicted("tiles", out="together")
    stored = predictions.load(Path("runs/ensemble/tiny/test"))
    submitted = pd.read_csv("submissions/first.csv", keep_default_na=False, index_col="id")
    assert [image.image.stem for image in report.images] == sorted(competition.test_ids)
    assert {image.tiles for image in report.images} == {1}
    for image in report.images:
        tile = image.image.stem
        [row] = stored.rows([tile])
        assert np.array_equal(pixels(image.probability), stored.probabilities[row])
        mask = decode(submitted["rle_mask"][tile], (SIZE, SIZE))
        assert np.array_equal(pixels(image.mask), mask * np.uint8(255))
        assert image.coverage == mask.mean()
    document = json.loads(Path("runs/ensemble/tiny/ensemble.json").read_text("utf-8"))
    assert report.rule.as_json() == document["decision"]["rule"]
    assert report.decided_by == "chosen out of fold (runs/ensemble/tiny/ensemble.json)"
    alone = predicted(f"tiles/{competition.test_ids[3]}.png", out="alone").images[0]
    assert np.array_equal(pixels(alone.probability), stored.probabilities[3])


def test_a_section_is_cut_blended_and_cut_at_the_threshold(trained: Path) -> None:
    section = draw_section(75, 120)
    put(Path("line.png"), png(section))
    report = predicted("line.png", threshold=0.4)
    [image] = report.images
    assert (image.height, image.width, image.tiles) == (75, 120, 4 * 7)
    levels = pixels(image.probability)
    assert levels.shape == (75, 120)
    assert np.array_equal(pixels(image.mask) > 0, levels > 102)
    assert report.rule.threshold == pytest.approx(0.4)
    assert (report.decided_by, report.folds) == ("given", (0, 1))
    assert report.coverage == image.coverage == np.mean(levels > 102)
    put(Path("cut.png"), png(section[:SIZE, :SIZE]))
    corner = pixels(predicted("cut.png").images[0].probability)
    # the second row of tiles begins at 14, the second column at 15
    assert np.array_equal(levels[:14, :14], corner[:14, :14])


def test_without_a_decision_the_threshold_is_a_half_and_that_is_said(trained: Path) -> None:
    put(Path("line.png"), png(draw_section(SIZE, 50)))
    report = predicted("line.png", run="other")
    assert report.rule.threshold == pytest.approx(0.5, abs=1 / 255)
    assert report.decided_by == ".5, for nothing was decided: salt ensemble other would"
    salt("ensemble", "tiny", "other", "--name", "other", *CPU)  # decided for both together
    again = predicted("line.png", run="other", overwrite=True)
    assert again.decided_by == report.decided_by


def test_the_run_trained_last_is_taken(trained: Path) -> None:
    put(Path("line.png"), png(draw_section(SIZE, 50)))
    heard = Heard()
    report = run_predict(Workspace(), [Path("line.png")], device="cpu", listener=heard)
    assert report.run == "tiny"
    assert heard.notes == ["taking run tiny, trained last"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (5, 7), (90, 3), (31, 32)])
def test_small_images_are_reflected(trained: Path, shape: tuple[int, int]) -> None:
    put(Path("small.png"), png(draw_section(100, 100)[: shape[0], : shape[1]]))
    heard = Heard()
    report = run_predict(Workspace(), [Path("small.png")], run="tiny", device="cpu", listener=heard)
    assert pixels(report.images[0].probability).shape == shape
    assert pixels(report.images[0].overlay).shape == (*shape, 3)
    assert heard.notes == ["small.png is smaller than a tile: reflected to its size"]


def test_what_is_not_as_it_may_seem_is_told(trained: Path) -> None:
    ramp = draw_section(SIZE, SIZE).astype(np.uint16)
    Image.fromarray(ramp).save("dim.png")
    put(Path("seen.png"), png(draw_section(SIZE, SIZE), "LA"))
    put(Path("too.png"), png(draw_section(SIZE, SIZE), "RGBA"))
    heard = Heard()
    paths = [Path("dim.png"), Path("seen.png"), Path("too.png")]
    run_predict(Workspace(), paths, run="tiny", device="cpu", listener=heard)
    assert heard.notes == ["seen.png has an alpha channel, which is ignored (and so 1 more)"]
    [warning] = heard.warnings
    assert warning.startswith("dim.png has 16 bits and uses little of their range")


def test_depth_is_the_row_within_each_tile(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_run_config(Path("runs/tiny/config.toml"))
    inputs = config.input.model_copy(update={"channels": "grey+depth"})
    seen: list[NDArray[np.float32]] = []
    prepare = Framing.prepare

    def look(self: Framing, tiles: object) -> object:
        made = prepare(Framing(self.tile_shape, inputs, self.shrink), tiles)  # type: ignore[arg-type]
        seen.append(made[:, 1].numpy())
        return prepare(self, tiles)  # type: ignore[arg-type]

    monkeypatch.setattr(Framing, "prepare", look)
    put(Path("line.png"), png(draw_section(70, SIZE)))
    predicted("line.png")
    for depth in np.concatenate(seen):
        assert depth[:, 0] == pytest.approx(np.linspace(0, 1, SIZE))


def test_tiles_and_sections_together_are_what_they_are_alone(trained: Path) -> None:
    write_test_tiles()
    put(Path("tiles/a.png"), png(draw_section(70, 90)))
    put(Path("tiles/b.png"), png(draw_section(40, 90, coloured=True)))
    together = predicted("tiles", out="together")
    for name in ("a", "b"):
        alone = predicted(f"tiles/{name}.png", out="alone")
        [image] = [one for one in together.images if one.image.stem == name]
        assert alone.images[0].coverage == image.coverage
        assert files_under(Path("alone"))[f"{name}-probability.png"] == (
            image.probability.read_bytes()
        )


def test_bad_input_changes_nothing(trained: Path) -> None:
    write_test_tiles()
    put(Path("text.png"), b"no image at all")
    before = files_under(trained)
    for images, given, message in (
        (["text.png", "tiles"], {}, "text.png is no image"),
        (["tiles", "nowhere"], {}, "there is no file or folder nowhere"),
        (["tiles"], {"run": "tinny"}, "there is no run 'tinny'"),
        (["tiles"], {"model": "shipped"}, "the run tiny and the model shipped"),
        (["tiles"], {"run": None, "model": "nowhere"}, "there is no network in nowhere"),
        (["tiles"], {"overlap": 1.0}, "tiles that overlap by 1"),
        (["tiles"], {"threshold": 2.0}, "threshold 2.0"),
    ):
        with pytest.raises((ConfigError, DataError), match=message):
            predicted(*images, **given)  # type: ignore[arg-type]
    assert files_under(trained) == before


def test_a_folder_that_cannot_be_read(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(self))

    Path("locked").mkdir()
    monkeypatch.setattr(Path, "iterdir", denied)
    refused(1, "predict", "locked", "--run", "tiny", *CPU,
            found="PermissionError: .*Permission denied: 'locked'", expected="can be read",
            then="mend that and run the same command again")  # fmt: skip


def test_half_an_image_leaves_what_is_done_already(trained: Path) -> None:
    whole = png(draw_section(400, 200))
    put(Path("b.png"), whole[: len(whole) // 2])
    put(Path("a.png"), whole)
    refused(3, "predict", "a.png", "b.png", "--run", "tiny", *CPU,
            found=r"b.png is truncated or damaged", expected="a whole PNG or JPEG file",
            then="mend it, save it as PNG, or leave it out")  # fmt: skip
    assert Path("predictions/a-mask.png").exists()


def test_the_command_line(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(Path("line.png"), png(draw_section(40, 70)))
    told = salt("predict", "line.png", "--run", "tiny", *CPU).stdout
    coverage = np.mean(pixels(Path("predictions/line-mask.png")) > 0)
    assert f"salt covers {coverage:.2%} of 1 image, by tiny, folds 0, 1" in told
    assert "threshold 0.4980: .5, for nothing was decided: salt ensemble tiny would" in told
    refused(2, "predict", "line.png", "--run", "tiny", *CPU,
            found="predictions/line-mask.png and 2 more exist already", expected="a folder without",
            then="--out FOLDER, or --overwrite to replace them")  # fmt: skip
    printed = salt("predict", "line.png", "--run", "tiny", "--overwrite", "--json", *CPU).stdout
    document = json.loads(printed)
    assert document["coverage"] == coverage
    assert document["images"][0]["mask"] == "predictions/line-mask.png"
    monkeypatch.setattr(finished, "SHIPPED", Path("nothing"))
    refused(2, "predict", "line.png", "--model", "shipped", "--out", "new",
            found="this version carries no network", expected="a trained run",
            then="salt train --fold 0")  # fmt: skip
    refused(2, "predict", "line.png", "--runs", "elsewhere", "--out", "new",
            found="no run in elsewhere has a trained fold, and this version carries no network",
            expected="a trained run", then="salt train --fold 0 --runs elsewhere")  # fmt: skip
    for number in range(21):
        put(Path(f"many/{number}.png"), png(draw_section(3, 3)))
    assert (
        "and 1 more: --json lists all"
        in salt("predict", "many/*.png", "--run", "tiny", *CPU).stdout
    )
