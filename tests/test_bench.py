"""Every benchmark item runs; what it measures is never asserted."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.__main__ import ITEMS, main, table_lines
from benchmarks.items import FULL, QUICK, Item, Setting, Size, Target, bare_over_ours, median_time
from benchmarks.material import likely_probabilities
from kaggle_salt.competition.tiles import Competition
from tests.makers import write_competition

TINY = Size(
    train_tiles=20, test_tiles=12, search_tiles=10, batch=2, repeats=1, pairs=1, loop_seconds=0,
    tile_side=24, input_side=32,
)  # fmt: skip


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting(TINY, tmp_path_factory.mktemp("bench"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_items_are_these() -> None:
    assert [item.name for item in ITEMS] == [
        "open-first", "open-again", "folds", "search", "rle", "submission", "help",
        "ensemble-memory", "train-resnet34", "train-quick-half", "train-quick", "flip-tta",
    ]  # fmt: skip


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_item_runs_and_says_what_it_measures(item: Item, setting: Setting) -> None:
    measured = item.measure(setting)
    assert math.isfinite(measured.value)
    assert measured.value > 0
    json.dumps(dict(measured.details))
    assert len(item.what) > 20
    assert "\n" not in item.what
    assert "``" not in item.what


def test_first_opening_starts_without_a_cache(setting: Setting) -> None:
    open_first = next(item for item in ITEMS if item.name == "open-first")
    cache = setting.competition_folder / ".salt-cache"
    stale = cache / "stale"
    stale.mkdir(parents=True, exist_ok=True)
    open_first.measure(setting)
    assert not stale.exists()
    assert list(cache.glob("*/index.json"))


def test_synthetic_competition_has_the_size_asked_for(setting: Setting) -> None:
    tiles = setting.competition
    assert (len(tiles.ids), len(tiles.test_ids), tiles.tile_shape) == (20, 12, (24, 24))
    assert setting.truth.shape == setting.probabilities.shape == (12, 24, 24)
    assert tiles.masks.any()


def test_real_files_are_used_and_their_cache_is_left_alone(tmp_path: Path) -> None:
    written = write_competition(tmp_path / "data", zipped=True)
    setting = Setting(TINY, tmp_path, data=written.path)
    assert setting.competition.ids == written.ids
    assert np.array_equal(setting.competition.images, written.images)
    assert not (written.path / ".salt-cache").exists()
    assert Competition.open(written.path).data_hash == setting.competition.data_hash


def test_probabilities_are_sure_inside_and_unsure_along_the_boundary() -> None:
    truth = np.zeros((1, 101, 101), dtype=np.bool_)
    truth[0, :, 50:] = True
    (probable,) = likely_probabilities(truth).astype(float)
    assert probable[:, 70:].mean() > 200
    assert probable[:, :30].mean() < 50
    assert 80 < probable[:, 50].mean() < 175
    assert np.array_equal(probable, likely_probabilities(truth)[0])


def test_median_time_is_that_of_the_calls_after_the_first() -> None:
    calls: list[int] = []
    measured = median_time(lambda: calls.append(1), repeats=3)
    assert len(calls) == 4
    assert sorted(measured.details["seconds"])[1] == measured.value


def test_compared_loops_take_turns() -> None:
    calls: list[str] = []
    measured = bare_over_ours(lambda: calls.append("o"), lambda: calls.append("b"), 3, steps=2)
    assert "".join(calls) == "ob" + "ob" + "bo" + "ob"
    assert sorted(measured.details["ratios"])[1] == measured.value


@pytest.mark.parametrize(
    ("unit", "target", "value", "size", "met"),
    [
        ("s", Target(1), 0.9, FULL, True),
        ("s", Target(1), 1.0, FULL, False),
        ("ratio", Target(0.97), 0.97, FULL, True),
        ("ratio", Target(0.97), 0.96, FULL, False),
        ("s", None, 0.9, FULL, None),
        ("s", Target(1), 0.9, QUICK, None),
        ("s", Target(1, at_any_size=True), 0.9, QUICK, True),
    ],
)
def test_target_is_a_limit_for_times_and_a_floor_for_ratios(
    unit: str, target: Target | None, value: float, size: Size, met: bool | None
) -> None:
    item = Item("item", unit, target, lambda setting: pytest.fail("not to be measured"))  # type: ignore[arg-type]
    assert item.meets_target(value, size) is met


def test_table_is_aligned_markdown() -> None:
    rows = [
        {"item": "rle", "measured": 0.12345, "target": 1, "unit": "s", "met": True, "what": "Runs"},
        {"item": "a", "measured": 0.5, "target": 0.97, "unit": "ratio", "met": False, "what": "L"},
        {"item": "folds", "measured": 12.0, "target": None, "unit": "s", "met": None, "what": "F"},
    ]
    assert table_lines(rows) == [
        "| item  | measured | target | unit  | met | what |",
        "|-------|----------|--------|-------|-----|------|",
        "| rle   | 0.123    | < 1    | s     | yes | Runs |",
        "| a     | 0.5      | ≥ 0.97 | ratio | no  | L    |",
        "| folds | 12       | -      | s     | -   | F    |",
    ]


def test_command_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bench.json"
    assert main(["--only", "rle,search", "--json", str(path)], size=TINY) == 0
    printed = capsys.readouterr()
    report = json.loads(path.read_text())
    assert [row["item"] for row in report["items"]] == ["rle", "search"]
    assert report["tiles"] == "synthetic"
    assert report["full_size"] is False
    assert report["machine"]["threads"] == 1
    assert report["machine"]["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert f"{os.cpu_count()} cores" in printed.out
    assert "synthetic tiles; not the full size" in printed.out
    assert printed.out.count("\n| ") == 3
    assert printed.err == "1/2 rle\n2/2 search\n"


def test_unknown_item_is_refused_with_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "serch"], size=TINY) == 2
    assert "there is no item 'serch'\nexpected: did you mean 'search'?" in capsys.readouterr().err


def test_missing_data_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "folds", "--data", str(tmp_path / "none")], size=TINY) == 3
    assert "train.csv" in capsys.readouterr().err


def test_package_does_not_import_benchmarks() -> None:
    modules = sorted((Path(__file__).parents[1] / "kaggle_salt").rglob("*.py"))
    assert len(modules) > 10
    naming = re.compile(r"^\s*(from|import) benchmarks\b", re.MULTILINE)
    assert [path.name for path in modules if naming.search(path.read_text("utf-8"))] == []
