"""Every benchmark item runs; what it measures is never asserted."""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import loops, lovasz, peers
from benchmarks.__main__ import ITEMS, main
from benchmarks.items import (
    FULL,
    QUICK,
    DisagreementError,
    Item,
    Measurement,
    Setting,
    Size,
    Target,
)
from benchmarks.machine import describe_machine, machine_lines
from benchmarks.material import likely_probabilities
from benchmarks.precision import change
from benchmarks.table import note_lines, table_lines
from benchmarks.timing import in_turn, median_time, seconds
from kaggle_salt.competition.metric import score
from kaggle_salt.competition.rle import decode
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.learning import device
from kaggle_salt.learning.fold import read_summary
from kaggle_salt.learning.losses import lovasz_hinge
from kaggle_salt.runs import RunFolder
from tests.makers import write_competition

TINY = Size(
    train_tiles=20, test_tiles=12, search_tiles=10, batch=2, repeats=1, pairs=1, loop_seconds=0,
    tile_side=24, input_side=32,
)  # fmt: skip

#: Items whose peers' answers can be compared with ours; a bare loop gives none.
COMPARED = {
    "search-kernel", "search-numpy", "search-smp", "search-torchmetrics",
    "rle-numpy", "rle-pycocotools", "rle-rlemasklib", "lovasz", "compile-quick",
}  # fmt: skip


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting(TINY, tmp_path_factory.mktemp("bench"))


@pytest.fixture
def with_run(trained_template: Path, tmp_path: Path) -> Setting:
    """A setting with a run of two finished folds, and the tiles it was trained on."""
    run = RunFolder(trained_template / "runs" / "tiny")
    return Setting(TINY, tmp_path, data=trained_template / "data", run=run)


@pytest.fixture(scope="module")
def on_gpu(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting(TINY, tmp_path_factory.mktemp("bench"), device="cuda")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace networks, and run what was traced: to compile it would take minutes."""
    monkeypatch.setattr(device, "BACKEND", "eager")


def _item(name: str) -> Item:
    return next(item for item in ITEMS if item.name == name)


def test_items_are_these() -> None:
    assert [item.name for item in ITEMS] == [
        "open-first", "open-again", "folds", "epoch", "augment",
        "search", "search-kernel", "search-numpy", "search-smp", "search-torchmetrics", "weights",
        "rle", "rle-numpy", "rle-pycocotools", "rle-rlemasklib", "submission",
        "help", "ensemble-memory", "lovasz", "lovasz-symmetric",
        "train-resnet34", "train-quick-half", "train-quick", "kept-memory", "compile-quick",
        "flip-tta", "bf16-quick", "bf16-resnet34", "bf16-score",
    ]  # fmt: skip


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_item_runs_and_says_what_it_measures(item: Item, request: pytest.FixtureRequest) -> None:
    setting = request.getfixturevalue("with_run" if item.name == "bf16-score" else "setting")
    measured = item.measure(setting)
    assert (item.peer is None) == (measured.peer is None) == (measured.ratio is None)
    assert measured.equal is (True if item.name in COMPARED else None)
    for figure in (measured.ours, measured.peer or 1, measured.ratio or 1):
        assert math.isfinite(figure)
        assert figure > 0 or item.unit == "score"
    json.dumps(dict(measured.details))
    assert len(item.what) > 20
    assert "\n" not in item.what
    assert "``" not in item.what


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("search-kernel", "histogram2d_scores"),
        ("search-numpy", "numpy_scores"),
        ("search-smp", "smp_scores"),
        ("search-torchmetrics", "torchmetrics_scores"),
    ],
)
def test_peer_that_scores_one_tile_a_tenth_higher_at_one_level_is_refused(
    name: str, peer: str, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(peers, peer)

    def wrong(truth: np.ndarray, probabilities: np.ndarray, levels: Sequence[int]) -> list[float]:
        first, *rest = right(truth, probabilities, levels)
        return [first + 0.1 / len(truth), *rest]

    monkeypatch.setattr(peers, peer, wrong)
    with pytest.raises(DisagreementError, match="scores: ours and those of wrong differ"):
        _item(name).measure(setting)


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("rle-numpy", "numpy_runs"),
        ("rle-pycocotools", "pycocotools_runs"),
        ("rle-rlemasklib", "rlemasklib_runs"),
    ],
)
def test_peer_that_encodes_row_by_row_is_refused(
    name: str, peer: str, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = getattr(peers, peer)
    monkeypatch.setattr(peers, peer, lambda masks: right(np.ascontiguousarray(masks.mT)))
    with pytest.raises(DisagreementError, match="run-length strings: ours and those"):
        _item(name).measure(setting)


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
    with pytest.raises(DisagreementError, match=f"{what}: ours and those of LovaszLoss differ"):
        _item("lovasz").measure(setting)


def test_compiled_steps_that_train_otherwise_are_refused(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def backend(graph: Callable[..., list[torch.Tensor]], _: object) -> object:
        return lambda *inputs: [output + 1 for output in graph(*inputs)]

    monkeypatch.setattr(device, "BACKEND", backend)
    with pytest.raises(DisagreementError, match="losses: ours and those of eager steps differ"):
        _item("compile-quick").measure(setting)


def test_disagreement_costs_no_other_figure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "numpy_runs", lambda masks: [""] * len(masks))
    assert main(["--only", "rle-numpy,rle"], size=TINY) == 1
    printed = capsys.readouterr().out
    assert "\n| rle  |" in printed
    assert "| rle-numpy" not in printed
    why = "run-length strings: ours and those of <lambda> differ"
    assert f"\n- rle-numpy is left out: {why}\n" in printed


@pytest.mark.parametrize(
    "peer",
    [
        peers.histogram2d_scores,
        peers.numpy_scores,
        peers.smp_scores,
        peers.torchmetrics_scores,
    ],
)
def test_peers_score_as_the_competition_does(peer: Callable[..., list[float]]) -> None:
    none, full = np.zeros((4, 5), np.bool_), np.ones((4, 5), np.bool_)
    eleven, thirteen = (np.arange(20).reshape(4, 5) < count for count in (11, 13))
    truth = np.stack([none, none, none, full, full, full, full, thirteen])
    predicted = np.stack([none, full, eleven, none, full, eleven, thirteen, full])
    # an IoU of 11/20 exceeds .5 and not .55; 13/20 exceeds .5, .55, .6
    expected = [1, 0, 0, 0, 1, 0.1, 0.3, 0.3]
    for row, tile_score in enumerate(expected):
        pair = truth[[row]], np.where(predicted[[row]], 200, 100).astype(np.uint8)
        assert peer(*pair, [150]) == pytest.approx([tile_score], abs=1e-12)
    values = np.where(predicted, 200, 100).astype(np.uint8)
    everywhere = score(truth, np.ones_like(truth))
    assert peer(truth, values, [99, 100, 199, 200]) == pytest.approx(
        [everywhere, np.mean(expected), np.mean(expected), 3 / 8], abs=1e-12
    )


@pytest.mark.parametrize("peer", [peers.numpy_runs, peers.pycocotools_runs, peers.rlemasklib_runs])
def test_peers_encode_as_kaggle_wants(peer: Callable[..., list[str]]) -> None:
    two_runs = np.array([[0, 1, 1], [0, 0, 1]], np.bool_)
    masks = np.stack([two_runs, np.zeros_like(two_runs), np.ones_like(two_runs), ~two_runs])
    assert peer(masks) == ["3 1 5 2", "", "1 6", "1 2 4 1"]
    large = (
        np.random.default_rng(0).random((3, 101, 101))
        < np.array([0.001, 0.5, 0.999])[:, None, None]
    )
    decoded = [decode(text, (101, 101)) for text in peer(large)]
    assert np.array_equal(decoded, large)


def test_first_opening_starts_without_a_cache(setting: Setting) -> None:
    cache = setting.competition_folder / ".salt-cache"
    stale = cache / "stale"
    stale.mkdir(parents=True, exist_ok=True)
    _item("open-first").measure(setting)
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
    assert not np.array_equal(probable, likely_probabilities(truth, seed=1)[0])


def test_median_time_is_that_of_the_calls_after_the_first() -> None:
    calls: list[int] = []
    measured = median_time(lambda: calls.append(1), repeats=3)
    assert len(calls) == 4
    assert sorted(measured.details["seconds"])[1] == measured.ours


def test_compared_ways_take_turns() -> None:
    calls: list[str] = []
    measured = in_turn(lambda: calls.append("o"), lambda: calls.append("p"), 3, equal=True)
    assert "".join(calls) == "op" + "op" + "po" + "op"
    assert sorted(measured.details["ratios"])[1] == measured.ratio
    assert measured.equal


def test_spread_is_half_of_what_the_middle_half_of_the_ratios_spans(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([1, 10, 18, 2, 1, 12, 14, 1, 1, 30])  # ours first, peer first, ours first, ...
    monkeypatch.setattr("benchmarks.timing.seconds", lambda work: next(times))
    measured = in_turn(lambda: None, lambda: None, 5)
    assert sorted(measured.details["ratios"]) == [9, 10, 12, 14, 30]
    assert (measured.ratio, measured.spread) == (12, 2)


def test_clock_is_read_when_a_gpu_has_nothing_left_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("wait"))
    monkeypatch.setattr(time, "perf_counter", lambda: done.append("clock") or 0.0)
    assert seconds(lambda: done.append("work")) == 0
    assert done == ["wait", "clock", "work", "wait", "clock"]


def test_times_are_scaled_before_they_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.timing.seconds", lambda work: 2.0)
    measured = in_turn(lambda: None, lambda: None, 2, scales=(1, 10))
    assert (measured.ours, measured.peer, measured.ratio) == (2, 20, 10)


@pytest.mark.parametrize(
    ("target", "ours", "ratio", "size", "device", "met"),
    [
        (Target(1), 0.9, None, FULL, "cpu", True),
        (Target(1), 1.0, None, FULL, "cpu", False),
        (Target(0.97), 500, 0.97, FULL, "cpu", True),
        (Target(0.97), 0.5, 0.96, FULL, "cpu", False),
        (None, 0.9, None, FULL, "cpu", None),
        (Target(1), 0.9, None, QUICK, "cpu", None),
        (Target(1, at_any_size=True), 0.9, None, QUICK, "cpu", True),
        (Target(0.97, on_gpu=0.95), 500, 0.96, FULL, "cuda", True),
        (Target(0.97, on_gpu=0.95), 500, 0.94, FULL, "cuda", False),
        (Target(0.97), 500, 0.98, FULL, "cuda", None),
    ],
)
def test_target_is_a_limit_for_ours_and_a_floor_for_ratios(
    target: Target | None,
    ours: float,
    ratio: float | None,
    size: Size,
    device: str,
    met: bool | None,
) -> None:
    item = Item("item", "s", target, None, lambda setting: pytest.fail("not to be measured"))  # type: ignore[arg-type]
    setting = Setting(size, Path(), device=device)
    assert item.meets_target(Measurement(ours, ratio=ratio), setting) is met


def test_table_is_aligned_markdown() -> None:
    alone = {"peer": None, "peer_name": None, "ratio": None, "spread": None, "equal": None}
    beside = {"peer": 36.0, "peer_name": "NumPy"}
    rows = [
        {"item": "rle", "ours": 0.12345, "unit": "s", "target": 1, "met": True, **alone},
        {"item": "epoch", "ours": 12345.6, "unit": "tiles/s", "target": None, "met": None, **alone},
        {
            "item": "search", "ours": 0.12, "unit": "s", "target": 310, "met": False,
            **beside, "ratio": 300, "spread": 12.3, "equal": True,
        },
        {
            "item": "x", "ours": 48, "unit": "ms", "target": None, "met": None,
            **beside, "ratio": 0.75, "spread": 0.0044, "equal": None,
        },
        {
            "item": "y", "ours": 2, "unit": "s", "target": None, "met": None,
            **beside, "ratio": 18, "spread": None, "equal": None,
        },
    ]  # fmt: skip
    assert table_lines(rows) == [
        "| item   | ours           | peer          | ratio         | aim   | met | equal |",
        "|--------|----------------|---------------|---------------|-------|-----|-------|",
        "| rle    | 0.123 s        | -             | -             | < 1 s | yes | -     |",
        "| epoch  | 12,346 tiles/s | -             | -             | -     | -   | -     |",
        "| search | 0.12 s         | 36 s (NumPy)  | 300 ± 12      | ≥ 310 | no  | yes   |",
        "| x      | 48 ms          | 36 ms (NumPy) | 0.750 ± 0.004 | -     | -   | -     |",
        "| y      | 2 s            | 36 s (NumPy)  | 18.0          | -     | -   | -     |",
    ]


def test_what_is_measured_is_followed_by_what_else_there_is_to_say() -> None:
    rows = [
        {"item": "rle", "what": "Run-length strings", "note": ""},
        {"item": "bf16-score", "what": "Change of the score", "note": ".8 before"},
    ]
    assert note_lines(rows) == [
        "- rle: Run-length strings",
        "- bf16-score: Change of the score (.8 before)",
    ]


def test_command_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bench.json"
    assert main(["--only", "rle,rle-pycocotools", "--json", str(path)], size=TINY) == 0
    printed = capsys.readouterr()
    report = json.loads(path.read_text())
    alone, beside = report["items"]
    assert (alone["item"], alone["peer"], alone["equal"]) == ("rle", None, None)
    assert (beside["item"], beside["peer_name"]) == ("rle-pycocotools", "pycocotools")
    assert (beside["target"], beside["met"], beside["equal"]) == (1, None, True)
    assert beside["ratio"] == pytest.approx(beside["peer"] / beside["ours"])  # of one pair
    assert set(report["peers"]) == {"pycocotools", "rlemasklib", "torchmetrics"}
    assert report["tiles"] == "synthetic"
    assert report["full_size"] is False
    assert (report["batch"], report["left_out"]) == (2, {})
    assert (report["machine"]["threads"], report["machine"]["gpu"]) == (1, None)
    assert report["machine"]["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert f"{os.cpu_count()} cores" in printed.out
    assert "threads: torch and BLAS 1, OpenCV 1, NumPy's sorts and loops 1, PNG" in printed.out
    assert "synthetic tiles; not the full size" in printed.out
    assert printed.out.count("\n| ") == 3
    assert "\n- rle: Run-length strings of 18,400 masks\n" in printed.out
    assert "left out" not in printed.out
    assert printed.err == "1/2 rle\n2/2 rle-pycocotools\n"


@pytest.fixture
def no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaggle_salt.learning.device._has_native_bf16", lambda device: False)


@pytest.fixture
def native_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaggle_salt.learning.device._has_native_bf16", lambda device: True)


@pytest.mark.usefixtures("native_bf16")
def test_item_that_needs_a_run_is_left_out_without_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.__main__.ITEMS", (_item("bf16-score"), _item("rle")))
    assert main([], size=TINY) == 0
    printed = capsys.readouterr()
    line = "no finished run was given; --run runs/NAME --data FOLDER"
    assert printed.out.endswith(f"\n- bf16-score is left out: {line}\n")
    assert printed.err == "1/1 rle\n"


@pytest.mark.usefixtures("no_bf16")
def test_item_that_needs_bf16_is_left_out_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bf16 = [item for item in ITEMS if item.name.startswith("bf16")]
    monkeypatch.setattr("benchmarks.__main__.ITEMS", (*bf16, _item("rle")))
    assert main(["--json", str(tmp_path / "bench.json")], size=TINY) == 0
    report = json.loads((tmp_path / "bench.json").read_text())
    why = "the cpu here does not compute in bf16; another machine, or another --device"
    assert report["left_out"] == dict.fromkeys(("bf16-quick", "bf16-resnet34", "bf16-score"), why)
    assert [row["item"] for row in report["items"]] == ["rle"]


@pytest.mark.usefixtures("native_bf16")
def test_item_asked_for_by_name_is_refused_if_something_lacks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--only", "rle,bf16-score"], size=TINY) == 2
    assert capsys.readouterr().err == (
        "error: no finished run was given\n"
        "expected: a run of salt train, and the tiles that it was trained on\n"
        "next: --run runs/NAME --data FOLDER\n"
    )


@pytest.mark.usefixtures("native_bf16")
def test_run_that_cannot_be_used_is_refused_before_anything_is_measured(
    trained_template: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.__main__.ITEMS", (_item("rle"), _item("bf16-score")))
    runs = trained_template / "runs"
    for run, code, refused in (
        (runs / "none", 2, "there is no run 'none'"),
        (runs / "tiny", 3, "run tiny was trained on other tiles"),
    ):
        assert main(["--run", str(run)], size=TINY) == code
        assert capsys.readouterr().err.startswith(f"error: {refused}")


@pytest.mark.usefixtures("native_bf16")
def test_command_says_what_bf16_does_to_the_score(
    trained_template: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = trained_template / "runs" / "tiny", trained_template / "data"
    arguments = ["--only", "bf16-score", "--run", str(run), "--data", str(data)]
    assert main(arguments, size=TINY) == 0
    printed = capsys.readouterr().out
    assert re.search(r"\n\| bf16-score \| [0-9.e-]+ score \| - .*\| < 0.001 score \|", printed)
    assert re.search(r"\(0\.\d{4} in float32 and 0\.\d{4} in bf16 on 27 tiles, ", printed)


def test_float32_score_is_the_one_that_the_folds_wrote(with_run: Setting) -> None:
    assert with_run.run is not None
    summaries = [read_summary(with_run.run.fold(fold)) for fold in (0, 1)]
    tiles = sum(summary.tiles for summary in summaries)
    measured = _item("bf16-score").measure(with_run)
    assert measured.details["tiles"] == tiles
    assert measured.details["float32"] == pytest.approx(
        sum(summary.tiles * summary.score for summary in summaries) / tiles
    )
    assert measured.details["largest_probability_change"] > 0, "bf16 was not used"


def test_change_is_that_of_the_mean_score() -> None:
    truth = np.zeros((4, 10, 10), np.bool_)
    truth[1, :, :] = True
    in_float32 = np.where(truth, 200, 100).astype(np.uint8)
    in_bf16 = in_float32.copy()
    in_bf16[0, 0, 0] = 128  # an empty tile gets a pixel: 1 becomes 0
    in_bf16[1, :2] = 127  # 80 of 100 pixels are left, IoU .8: 1 becomes .6
    measured = change(truth, in_float32, in_bf16)
    assert measured.ours == pytest.approx(1.4 / 4)
    assert measured.details == pytest.approx(
        {
            "tiles": 4, "float32": 1, "bf16": 2.6 / 4, "difference": -1.4 / 4,
            # of -1, -.4, 0, 0
            "changed_tiles": 2, "standard_error": np.std([1, 0.4, 0, 0], ddof=1) / 2,
            "changed_pixels": 21 / 400, "largest_probability_change": 73 / 255,
        }
    )  # fmt: skip


def test_bf16_that_predicts_something_else_is_not_timed(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.precision.TOLERANCE", -1)
    with pytest.raises(DisagreementError, match="probabilities: ours and those of float32"):
        _item("bf16-quick").measure(setting)


def test_batch_is_that_of_training_steps_and_half_that_of_predictions(setting: Setting) -> None:
    larger = Setting(TINY, setting.folder, batch=3)
    assert larger.training_batch == 3
    assert loops.config_of(larger, "quick").training.batch_size == 3
    assert loops.config_of(larger, "quick").inference.batch_size == 6


def test_device_that_is_not_there_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--device", "cuda", "--only", "lovasz"], size=TINY) == 2
    assert "the device 'cuda' is not available" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.parametrize(
    "name",
    [
        "lovasz", "lovasz-symmetric", "train-resnet34", "train-quick-half", "train-quick",
        "flip-tta", "bf16-quick", "bf16-resnet34",
    ],
)  # fmt: skip
def test_item_runs_on_a_gpu(name: str, on_gpu: Setting) -> None:
    torch.cuda.reset_peak_memory_stats()
    measured = _item(name).measure(on_gpu)
    assert measured.ours > 0
    assert torch.cuda.max_memory_allocated() > 0


@pytest.mark.gpu
def test_run_is_predicted_on_a_gpu(with_run: Setting) -> None:
    measured = _item("bf16-score").measure(replace(with_run, device="cuda"))
    assert measured.details["tiles"] == 27


@pytest.mark.gpu
def test_gpu_is_named() -> None:
    machine = describe_machine("cuda")
    assert machine["gpu"] == torch.cuda.get_device_name()
    assert machine_lines(machine)[0].startswith(f"{machine['gpu']}, ")


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
