"""Every benchmark item runs; what it measures is never asserted."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import lovasz, networks, peers, time_to_score
from benchmarks.__main__ import ITEMS, main
from benchmarks.harness import (
    FULL,
    Item,
    Measurement,
    PeerError,
    Setting,
    Size,
    in_turn,
    item,
    median_time,
    seconds,
)
from benchmarks.machine import describe_machine, machine_lines
from benchmarks.material import likely_probabilities
from benchmarks.table import table_lines
from kaggle_salt.competition.metric import score
from kaggle_salt.competition.rle import decode
from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.losses import lovasz_hinge
from tests import tiny
from tests.makers import put

TINY = Size(
    train_tiles=20, test_tiles=12, batch=2, repeats=1, patience=30, pairs=1, loop_seconds=0,
    tile_side=24, input_side=32,
)  # fmt: skip


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting(TINY, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def on_gpu(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting(TINY, tmp_path_factory.mktemp("bench"), device="cuda")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _item(name: str) -> Item:
    return next(item for item in ITEMS if item.name == name)


def test_items_are_these() -> None:
    assert [item.name for item in ITEMS] == [
        "open-first", "open-again", "search", "search-kernel", "rle", "submission", "lovasz",
        "train", "train-half", "flip-tta", "ensemble-memory", "time-to-score",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "item", [item for item in ITEMS if not item.needs_data], ids=lambda item: item.name
)
def test_item_runs_and_says_what_it_measures(item: Item, setting: Setting) -> None:
    measured = item.measure(setting)
    assert (item.peer is None) == (measured.peer is None) == (measured.ratio is None)
    for figure in (measured.ours, measured.peer or 1, measured.ratio or 1):
        assert math.isfinite(figure)
        assert figure > 0
    assert len(item.what) > 20
    assert "\n" not in item.what
    assert "``" not in item.what


def test_the_minutes_to_a_score_are_those_of_the_first_epoch_with_it() -> None:
    history = pd.DataFrame({"score": [0.5, 0.76, 0.7, 0.81], "seconds": [60, 30, 30, 120]})
    assert time_to_score.minutes_to((0.75, 0.76, 0.8), history) == [1.5, 1.5, 4.0]
    with pytest.raises(ConfigError, match=r"ended at 0\.8100 and never scored 0\.85"):
        time_to_score.minutes_to((0.75, 0.85), history)


def test_a_training_is_timed_on_the_tiles_given(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        time_to_score, "preset_path", lambda name: put(tmp_path / "t.toml", tiny.TINY.encode())
    )
    monkeypatch.setattr(time_to_score, "SCORES", (0.0,))
    with pytest.raises(ConfigError, match="no tiles to learn from"):
        _item("time-to-score").measure(setting)
    given = replace(setting, folder=tmp_path, data=setting.competition_folder)
    measured = _item("time-to-score").measure(given)
    assert measured.details == [measured.ours]
    assert 0 < measured.ours < 5


def test_kernel_that_scores_one_tile_a_tenth_higher_at_one_level_is_refused(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = peers.histogram2d_scores

    def wrong(truth: np.ndarray, probabilities: np.ndarray, levels: Sequence[int]) -> list[float]:
        first, *rest = right(truth, probabilities, levels)
        return [first + 0.1 / len(truth), *rest]

    monkeypatch.setattr(peers, "histogram2d_scores", wrong)
    with pytest.raises(PeerError, match="scores: ours and those of the kernel differ"):
        _item("search-kernel").measure(setting)


def test_peer_that_encodes_row_by_row_is_refused(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = peers.rlemasklib_runs
    wrong = lambda masks: right(np.ascontiguousarray(masks.mT))  # noqa: E731
    monkeypatch.setattr(peers, "rlemasklib_runs", wrong)
    with pytest.raises(PeerError, match="strings: ours and those of rlemasklib differ"):
        _item("rle").measure(setting)


@pytest.mark.parametrize(
    ("peer", "what"),
    [
        (lambda f, y: 1.001 * lovasz_hinge(f, y), "losses"),
        (lambda f, y: lovasz_hinge(f.detach(), y) + 0 * f.sum(), "gradients"),
    ],
)
def test_lovasz_peer_with_another_loss_or_gradient_is_refused(
    peer: lovasz.LossFunction, what: str, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lovasz, "smp_lovasz", lambda: peer)
    with pytest.raises(PeerError, match=f"{what}: ours and those of LovaszLoss differ"):
        _item("lovasz").measure(setting)


def test_disagreement_costs_no_other_figure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "rlemasklib_runs", lambda masks: [""] * len(masks))
    assert main(["--only", "rle,open-again"], size=TINY) == 1
    printed = capsys.readouterr().out
    assert "\n| open-again |" in printed
    assert "| rle" not in printed
    assert "\n- rle is left out: strings: ours and those of rlemasklib differ\n" in printed


@pytest.mark.parametrize(("load", "warned"), [(0.1, False), (2.2, True)])
def test_a_busy_machine_is_warned_of(
    load: float, warned: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert main(["--only", "open-again"], size=TINY) == 0
    assert ("load 2.2: where other work runs" in capsys.readouterr().err) is warned


def test_kernel_scores_as_the_competition_does() -> None:
    kernel = peers.histogram2d_scores
    none, full = np.zeros((4, 5), np.bool_), np.ones((4, 5), np.bool_)
    eleven, thirteen = (np.arange(20).reshape(4, 5) < count for count in (11, 13))
    truth = np.stack([none, none, none, full, full, full, full, thirteen])
    predicted = np.stack([none, full, eleven, none, full, eleven, thirteen, full])
    # an IoU of 11/20 exceeds .5 and not .55; 13/20 exceeds .5, .55, .6
    expected = [1, 0, 0, 0, 1, 0.1, 0.3, 0.3]
    for row, tile_score in enumerate(expected):
        pair = truth[[row]], np.where(predicted[[row]], 200, 100).astype(np.uint8)
        assert kernel(*pair, [150]) == pytest.approx([tile_score], abs=1e-12)
    values = np.where(predicted, 200, 100).astype(np.uint8)
    everywhere = score(truth, np.ones_like(truth))
    assert kernel(truth, values, [99, 100, 199, 200]) == pytest.approx(
        [everywhere, np.mean(expected), np.mean(expected), 3 / 8], abs=1e-12
    )


def test_peer_encodes_as_kaggle_wants() -> None:
    two_runs = np.array([[0, 1, 1], [0, 0, 1]], np.bool_)
    masks = np.stack([two_runs, np.zeros_like(two_runs), np.ones_like(two_runs), ~two_runs])
    assert peers.rlemasklib_runs(masks) == ["3 1 5 2", "", "1 6", "1 2 4 1"]
    large = (
        np.random.default_rng(0).random((3, 101, 101))
        < np.array([0.001, 0.5, 0.999])[:, None, None]
    )
    decoded = [decode(text, (101, 101)) for text in peers.rlemasklib_runs(large)]
    assert np.array_equal(decoded, large)


def test_first_opening_starts_without_a_cache(setting: Setting) -> None:
    cache = setting.competition_folder / ".salt-cache"
    stale = cache / "stale"
    stale.mkdir(parents=True, exist_ok=True)
    _item("open-first").measure(setting)
    assert not stale.exists()
    assert list(cache.glob("*/index.json"))


def test_material_has_the_size_asked_for_and_is_found_again(setting: Setting) -> None:
    again = Setting(TINY, setting.folder)
    for one in (setting, again):
        tiles = one.competition
        assert (len(tiles.ids), len(tiles.test_ids), tiles.tile_shape) == (20, 12, (24, 24))
        assert tiles.masks.any()
        assert one.predicted("train").ids == tiles.ids
        assert one.predicted("test").ids == tiles.test_ids
    likely = setting.predicted("train").probabilities > 127
    assert score(np.asarray(tiles.masks), likely) > 0.5  # of other masks it would be near 0


def test_probabilities_are_sure_inside_and_unsure_along_the_boundary() -> None:
    truth = np.zeros((1, 101, 101), dtype=np.bool_)
    truth[0, :, 50:] = True
    (probable,) = likely_probabilities(truth).astype(float)
    assert probable[:, 70:].mean() > 200
    assert probable[:, :30].mean() < 50
    assert 80 < probable[:, 50].mean() < 175
    assert np.array_equal(probable, likely_probabilities(truth)[0])
    assert not np.array_equal(probable, likely_probabilities(truth, seed=1)[0])


def test_median_time_is_that_of_the_calls_after_the_first() -> None:
    calls: list[str] = []
    measured = median_time(
        lambda: calls.append("work"), replace(TINY, repeats=3), before=lambda: calls.append("-")
    )
    assert calls == ["-", "work"] * 4
    assert sorted(measured.details)[1] == measured.ours


def test_what_takes_long_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([31, 1])
    monkeypatch.setattr("benchmarks.harness.seconds", lambda work: next(times))
    assert median_time(lambda: None, TINY) == Measurement(31, details=[31])


def test_compared_ways_take_turns() -> None:
    calls: list[str] = []
    measured = in_turn(lambda: calls.append("o"), lambda: calls.append("p"), 3)
    assert "".join(calls) == "op" + "op" + "po" + "op"
    assert sorted(measured.details)[1] == measured.ratio


def test_spread_is_half_of_what_the_middle_half_of_the_ratios_spans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([1, 10, 18, 2, 1, 12, 14, 1, 1, 30])  # ours first, peer first, ours first, ...
    monkeypatch.setattr("benchmarks.harness.seconds", lambda work: next(times))
    measured = in_turn(lambda: None, lambda: None, 5)
    assert sorted(measured.details) == [9, 10, 12, 14, 30]
    assert (measured.ratio, measured.spread) == (12, 2)


def test_clock_is_read_when_a_gpu_has_nothing_left_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("wait"))
    monkeypatch.setattr(time, "perf_counter", lambda: done.append("clock") or 0.0)
    assert seconds(lambda: done.append("work")) == 0
    assert done == ["wait", "clock", "work", "wait", "clock"]


def test_times_are_scaled_before_they_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.harness.seconds", lambda work: 2.0)
    measured = in_turn(lambda: None, lambda: None, 2, scales=(1, 10))
    assert (measured.ours, measured.peer, measured.ratio) == (2, 20, 10)


@pytest.mark.parametrize(
    ("aim", "ours", "ratio", "met"),
    [
        (1, 0.9, None, True),
        (1, 1.0, None, False),
        (0.97, 500, 0.97, True),
        (0.97, 0.5, 0.96, False),
        (None, 0.9, None, None),
    ],
)
def test_aim_is_a_limit_for_ours_and_a_floor_for_ratios(
    aim: float | None, ours: float, ratio: float | None, met: bool | None
) -> None:
    some = item("some", "s", aim)(lambda setting: pytest.fail("not to be measured"))
    assert some.is_met_by(Measurement(ours, ratio=ratio)) is met


def test_table_is_aligned_markdown() -> None:
    alone = {"peer": None, "peer_name": None, "ratio": None, "spread": None}
    beside = {"peer": 36.0, "peer_name": "NumPy"}
    rows = [
        {"item": "rle", "ours": 0.12345, "unit": "s", "aim": 1, "met": True, **alone},
        {"item": "epoch", "ours": 12345.6, "unit": "tiles/s", "aim": None, "met": None, **alone},
        {
            "item": "search", "ours": 0.12, "unit": "s", "aim": 310, "met": False,
            **beside, "ratio": 300, "spread": 12.3,
        },
        {
            "item": "x", "ours": 48, "unit": "ms", "aim": None, "met": None,
            **beside, "ratio": 0.75, "spread": 0.0044,
        },
    ]  # fmt: skip
    assert table_lines(rows) == [
        "| item   | ours           | peer          | ratio         | aim   | met |",
        "|--------|----------------|---------------|---------------|-------|-----|",
        "| rle    | 0.123 s        | -             | -             | < 1 s | yes |",
        "| epoch  | 12,346 tiles/s | -             | -             | -     | -   |",
        "| search | 0.12 s         | 36 s (NumPy)  | 300 ± 12      | ≥ 310 | no  |",
        "| x      | 48 ms          | 36 ms (NumPy) | 0.750 ± 0.004 | -     | -   |",
    ]


def test_command_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    path = tmp_path / "bench.json"
    assert main(["--only", "open-again,rle", "--batch", "3", "--json", str(path)], size=TINY) == 0
    printed = capsys.readouterr()
    report = json.loads(path.read_text())
    alone, beside = report["items"]
    assert (alone["item"], alone["peer"], alone["ratio"]) == ("open-again", None, None)
    assert (beside["item"], beside["peer_name"]) == ("rle", "rlemasklib")
    assert (beside["aim"], beside["met"]) == (1, None)
    assert beside["ratio"] == pytest.approx(beside["peer"] / beside["ours"])  # of one pair
    assert (report["rough"], report["batch"], report["preset"]) == (True, 3, "quick")
    assert (report["machine"]["threads"], report["machine"]["gpu"]) == (1, None)
    assert report["machine"]["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert f"{os.cpu_count()} cores, cpu, 1 threads" in printed.out
    assert "synthetic tiles; not the full size" in printed.out
    assert printed.out.count("\n| ") == 3
    assert "\n- open-again: Opening the same 22,000 tiles again, from the cache\n" in printed.out
    assert "left out" not in printed.out
    assert printed.err == "1/2 open-again\n2/2 rle\n"


def test_aims_are_judged_at_full_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cheap = item("cheap", "s", 1)(lambda setting: Measurement(setting.size.batch / 100))
    monkeypatch.setattr("benchmarks.__main__.ITEMS", (cheap,))
    for size, met in ((FULL, True), (None, True), (TINY, None)):
        assert main(["--json", str(tmp_path / "bench.json")], size=size) == 0
        (row,) = json.loads((tmp_path / "bench.json").read_text())["items"]
        assert row["met"] is met


def test_batch_is_that_of_training_steps_and_half_that_of_predictions(setting: Setting) -> None:
    config = networks.config_of(Setting(replace(TINY, batch=3), setting.folder))
    assert (config.training.batch_size, config.inference.batch_size) == (3, 6)


def test_another_preset_is_measured(setting: Setting) -> None:
    """One with heads, which the loss wants to see."""
    other = replace(setting, preset="seresnext50")
    assert networks.config_of(other).model.architecture == "unet"
    rehearsal = networks.Rehearsal(other, 1, shrink=1)
    rehearsal.ours()
    rehearsal.bare()


def test_unknown_preset_is_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--preset", "quik"], size=TINY) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_device_that_is_not_there_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--device", "cuda", "--only", "lovasz"], size=TINY) == 2
    assert "the device 'cuda' is not available" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["lovasz", "train", "train-half", "flip-tta"])
def test_item_runs_on_a_gpu(name: str, on_gpu: Setting) -> None:
    torch.cuda.reset_peak_memory_stats()
    measured = _item(name).measure(on_gpu)
    assert measured.ours > 0
    assert torch.cuda.max_memory_allocated() > 0


@pytest.mark.gpu
def test_gpu_is_named() -> None:
    machine = describe_machine("cuda")
    assert machine["gpu"] == torch.cuda.get_device_name()
    assert machine_lines(machine)[0].startswith(f"{machine['gpu']}, ")


def test_unknown_item_is_refused_with_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "serch"], size=TINY) == 2
    assert "there is no item 'serch'\nexpected: did you mean 'search'?" in capsys.readouterr().err


def test_package_does_not_import_benchmarks() -> None:
    modules = sorted((Path(__file__).parents[1] / "kaggle_salt").rglob("*.py"))
    assert len(modules) > 10
    naming = re.compile(r"^\s*(from|import) benchmarks\b", re.MULTILINE)
    assert [path.name for path in modules if naming.search(path.read_text("utf-8"))] == []
