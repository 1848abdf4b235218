"""``scripts/growth`` runs at a tiny size; what it measures is never asserted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import growth
from benchmarks.alone import Finished, measure_alone, run_measured
from benchmarks.growth import ITEMS, exponent, main, table_lines
from benchmarks.growth_plot import COLOURS, draw_growth
from benchmarks.harness import Item, Setting
from benchmarks.tiles import open_first
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
    """Do the work here, as if it took 80 MB; what was done is noted."""
    done: list[tuple[str, Path | None]] = []

    def measure_here(item: Item, setting: Setting | None = None) -> Finished:
        done.append((item.name, setting and setting.folder))
        return Finished("" if setting is None else str(item.measure(setting).ours), 80 * MB)

    monkeypatch.setattr(growth, "measure_alone", measure_here)
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
                "item": item.name,
                "seconds": [10.0**number * factor / 1000 for factor in (1, 4, 16)],
                "exponent": 1.0,
                "imports_mb": 90.0,
                "peak_mb": [95.0, 100.0, 105.0],
            }
            for number, item in enumerate(ITEMS)
        ],
    }


def test_command_measures_every_item_at_every_size(
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
    assert report["machine"]["threads"] == 1
    names = [item.name for item in ITEMS]
    assert [row["item"] for row in report["items"]] == names
    assert [name for name, _ in in_this_process] == names * 4  # imported, then at three sizes
    folders = {folder for _, folder in in_this_process if folder is not None}
    assert len(folders) == 3
    assert not any(folder.exists() for folder in folders)
    for row in report["items"]:
        assert min(row["seconds"]) > 0
        assert row["exponent"] == exponent(FACTORS, row["seconds"])
        assert (row["imports_mb"], row["peak_mb"]) == (80, [80] * 3)
    assert (tmp_path / "growth.png").stat().st_size > 0
    printed = capsys.readouterr()
    assert "\n".join(table_lines(report)) in printed.out
    assert "4x: submission" in printed.err


def test_material_repeats_what_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.material.DRAWN", 7)
    masks = Setting(TINY, tmp_path).competition.masks
    assert np.array_equal(masks[7:14], masks[:7])
    assert np.array_equal(masks[14:], masks[:6])


def test_an_item_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    setting = Setting(TINY, tmp_path)
    assert setting.competition_folder.exists()
    assert float(measure_alone(open_first, setting).printed) > 0
    assert list(tmp_path.glob("competition/.salt-cache/*/index.json"))
    assert measure_alone(open_first).printed == ""


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
    assert re.sub(" +", " ", header) == (
        "| item | 1x, s | 4x, s | 16x, s | exponent | imports, MB | 1x, MB | 4x, MB | 16x, MB |"
    )
    assert len({len(header), len(rule), len(first), len(last)}) == 1
    cells = [cell.strip() for cell in first.split("|")[1:-1]]
    assert cells == ["open-first", "0.001", "0.004", "0.016", "1.00", "90", "95", "100", "105"]
    assert last.startswith("| submission | 1 ")


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
