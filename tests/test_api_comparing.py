"""Comparing, listing and sweeping as Python functions."""

from __future__ import annotations

from pathlib import Path

from kaggle_salt import compare, list_runs, sweep
from tests.tiny import tiny_config


def test_runs_are_compared_and_listed(trained: Path) -> None:
    found = compare("data", ["tiny", "other"], html="page.html", verbose=False)
    assert [one.name for one in found.rivals] == ["other"]
    assert Path("page.html").exists()
    table = list_runs("data").set_index("name")
    assert table.loc["tiny", "folds"] == (0, 1)


def test_a_folder_without_runs(trained: Path) -> None:
    (trained / "runs").rename(trained / "elsewhere")
    assert list_runs("data").empty


def test_a_sweep(trained: Path) -> None:
    tiny_config(trained)
    Path("seeds.toml").write_text(
        'config = "tiny.toml"\nseeds = [0, 1]\nset = { "stage.*.epochs" = 1 }', encoding="utf-8"
    )
    report = sweep("seeds.toml", "data", device="cpu", verbose=False)
    assert report.comparison
    assert report.comparison.seed_deviation is not None
