"""``scripts/growth`` runs at a tiny size; what it measures is never asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import growth, growth_work
from benchmarks.growth import exponent, main, measure, table_lines, write_material
from benchmarks.growth_plot import COLOURS, draw_growth
from benchmarks.growth_work import PIECES
from benchmarks.memory import Finished, run_measured
from kaggle_salt import predictions
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.ensembling.thresholds import search
from tests.test_bench import TINY
from tests.tiny import one_thread

FACTORS = [1, 2, 4]
MB = 1_000_000


@pytest.fixture(autouse=True)
def in_one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path | None]]:
    """Do the work here, once, as if it took 80 MB; what was done is noted."""
    done: list[tuple[str, Path | None]] = []

    def measure_here(name: str, folder: Path | None = None) -> Finished:
        done.append((name, folder))
        work = next(piece for piece in PIECES if piece.name == name).imported()
        return Finished("" if folder is None else str(work(folder)), 80 * MB)

    monkeypatch.setattr(growth_work, "ENOUGH_TIMES", 1)
    monkeypatch.setattr(growth, "measure", measure_here)
    return done


@pytest.fixture
def report() -> dict[str, Any]:
    """Made-up figures: each item takes ten times as long as the one before."""
    return {
        "factors": [1, 4, 16],
        "tiles": [1000, 4000, 16000],
        "pixel_mb": [30.0, 120.0, 480.0],
        "items": [
            {
                "item": piece.name,
                "seconds": [10.0**number * factor / 1000 for factor in (1, 4, 16)],
                "seconds_per_tile": [10.0**number / 1e6] * 3,
                "exponent": 1.0,
                "imports_mb": 90.0,
                "peak_mb": [95.0, 100.0, 105.0],
                "bytes_per_tile": 666.0,
            }
            for number, piece in enumerate(PIECES)
        ],
    }


def test_command_measures_every_piece_at_every_size(
    in_this_process: list[tuple[str, Path | None]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = ["--json", str(tmp_path / "growth.json"), "--plot", str(tmp_path / "growth.png")]
    assert main(["--factors", "1,2,4", *files], size=TINY) == 0
    report = json.loads((tmp_path / "growth.json").read_text())
    assert report["factors"] == FACTORS
    assert report["tiles"] == [32, 64, 128]
    assert report["pixel_mb"] == [pytest.approx(factor * 52 * 24**2 / 1e6) for factor in FACTORS]
    assert report["full_size"] is False
    assert report["machine"]["threads"] == 1
    names = [piece.name for piece in PIECES]
    assert [row["item"] for row in report["items"]] == names
    assert [name for name, _ in in_this_process] == names * 4  # imported, then at three sizes
    folders = {folder for _, folder in in_this_process if folder is not None}
    assert len(folders) == 3
    assert not any(folder.exists() for folder in folders)
    for row, piece in zip(report["items"], PIECES, strict=True):
        of_one = {"train": 20, "test": 12, "all": 32}[piece.works_on]
        assert row["tiles"] == [factor * of_one for factor in FACTORS]
        assert min(row["seconds"]) > 0
        per_tile = np.array(row["seconds"]) / row["tiles"]
        assert row["seconds_per_tile"] == pytest.approx(per_tile)
        assert row["exponent"] == exponent(row["tiles"], row["seconds"])
        assert (row["imports_mb"], row["peak_mb"], row["bytes_per_tile"]) == (80, [80] * 3, 0)
        assert 20 < len(row["what"]) < 120
        assert "``" not in row["what"]
    assert (tmp_path / "growth.png").stat().st_size > 0
    printed = capsys.readouterr()
    assert "\n".join(table_lines(report)) in printed.out
    assert "\n- folds: Five folds of the training tiles" in printed.out
    assert "4x: inference" in printed.err


def test_material_is_a_competition_with_likely_predictions(tmp_path: Path) -> None:
    write_material(tmp_path, TINY, 2)
    tiles = Competition.open(tmp_path / "competition")
    train, test = (predictions.load(tmp_path / name) for name in ("train", "test"))
    assert (len(tiles.ids), len(tiles.test_ids), tiles.tile_shape) == (40, 24, (24, 24))
    assert (train.ids, test.ids) == (tiles.ids, tiles.test_ids)
    decision = search(tiles.masks, train.probabilities)
    assert decision.score > 0.5  # of nothing to do with the masks it would be near 0


def test_material_repeats_what_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "DRAWN", 7)
    monkeypatch.setattr("benchmarks.material.DRAWN", 7)
    write_material(tmp_path, TINY, 1)
    maps = predictions.load(tmp_path / "train").probabilities
    masks = Competition.open(tmp_path / "competition").masks
    for array in (maps, masks):
        assert np.array_equal(array[7:14], array[:7])
        assert np.array_equal(array[14:], array[:6])
    assert len(np.unique(maps[:7], axis=0)) == 7


def test_a_piece_is_done_in_a_process_of_its_own(tmp_path: Path) -> None:
    write_material(tmp_path, TINY, 1)
    measured = measure("first opening", tmp_path)
    assert float(measured.printed) > 0
    assert list(tmp_path.glob("competition/.salt-cache/*/index.json"))
    assert measure("first opening").printed == ""


def test_memory_is_that_of_the_command_alone() -> None:
    ours = b"x" * 300 * MB
    idle = run_measured([sys.executable, "-c", "print('one'); print('two')"])
    busy = run_measured([sys.executable, "-c", "x = b'x' * 100_000_000"])
    assert (idle.printed, busy.printed) == ("one\ntwo", "")
    assert 1 * MB < idle.peak_memory < 100 * MB < busy.peak_memory < len(ours)


def test_a_command_that_fails_is_not_measured() -> None:
    with pytest.raises(subprocess.CalledProcessError, match="status 3"):
        run_measured([sys.executable, "-c", "raise SystemExit(3)"])


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_exponent_of_a_power(power: float) -> None:
    tiles = [100, 400, 1600]
    assert exponent(tiles, [0.3 * n**power for n in tiles]) == pytest.approx(power)


def test_exponent_of_times_between_two_powers() -> None:
    # the least squares through (0, 0), (1, 1), (2, 4) have the slope 2
    assert exponent([1, 4, 16], [1, 4, 256]) == pytest.approx(2)


def test_table(report: dict[str, Any]) -> None:
    header, rule, first, *_, last = table_lines(report)
    assert header == (
        "| item | 1x, s | 4x, s | 16x, s | µs a tile | exponent | imports, MB "
        "| 1x, MB | 4x, MB | 16x, MB | bytes a tile |"
    )
    assert rule == "|" + "---|" * 11
    assert (
        first == "| first opening | 0.001 | 0.004 | 0.016 | 1 | 1.00 | 90 | 95 | 100 | 105 | 666 |"
    )
    assert last.startswith("| inference | 100 | 400 | 1.6e+03 | 1e+05 | 1.00 |")


def test_picture_has_a_line_of_its_colour_for_every_item(
    report: dict[str, Any], tmp_path: Path
) -> None:
    draw_growth(report, tmp_path / "growth.png")
    bgr = cv2.imread(str(tmp_path / "growth.png"))
    assert bgr.shape[1] > 1000
    halves = bgr[:, : bgr.shape[1] // 2], bgr[:, bgr.shape[1] // 2 :]
    for colour in COLOURS:
        rgb = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        for half in halves:
            assert (half[..., ::-1] == rgb).all(axis=2).sum() > 200


@pytest.mark.parametrize("factors", ["4", "4,1", "1,1", "0,4", "one,two", ""])
def test_other_factors_are_refused(factors: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--factors", factors], size=TINY)
    assert f"'{factors}' is not two whole numbers or more" in capsys.readouterr().err
