"""From probabilities to a decision, masks, run lengths and a submission."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks import peers
from benchmarks.items import (
    Measurement,
    Setting,
    Target,
    item,
    require_equal,
)
from benchmarks.material import likely_probabilities
from benchmarks.timing import in_turn, median_time, seconds
from kaggle_salt.competition.decision import DEFAULT_LEVEL, PLAIN_RULE
from kaggle_salt.competition.rle import encode_batch
from kaggle_salt.competition.submission import write_submission
from kaggle_salt.ensembling.histograms import count_tiles
from kaggle_salt.ensembling.thresholds import curve, search
from kaggle_salt.ensembling.weight_search import search_weights
from kaggle_salt.predictions import Predictions

#: The levels that peers judge: thresholds 0, .02, ..., .96. Ours judges all 256.
PEER_LEVELS = range(0, 250, 5)

#: Truth, probabilities and levels to the mean score at each level.
PeerScores = Callable[
    [NDArray[np.bool_], NDArray[np.uint8], Sequence[int]],
    list[float],
]


@item("search", "s", Target(1))
def decision(setting: Setting) -> Measurement:
    """Exact search of threshold and minimum area on 4,000 tiles, with its bootstrap interval.

    Target: 1 s.
    """
    tiles = slice(setting.size.search_tiles)
    truth, probabilities = setting.truth[tiles], setting.probabilities[tiles]
    return median_time(lambda: search(truth, probabilities), setting.size.repeats)


@item("search-kernel", "s", Target(300), peer="histogram2d kernel, 1 tile in 100")
def decision_kernel(setting: Setting) -> Measurement:
    """The search beside the classic kernel: 50 thresholds, a ``histogram2d`` for each tile.

    The kernel judges a hundredth of the tiles, and its time is scaled up. Target: 300 times.
    """
    return _search_beside(setting, peers.histogram2d_scores, share=100)


@item("search-numpy", "s", Target(10), peer="NumPy")
def decision_numpy(setting: Setting) -> Measurement:
    """The search beside plain NumPy: 50 thresholds, all tiles of one at once. Target: 10 times."""
    return _search_beside(setting, peers.numpy_scores, share=1)


@item("search-smp", "s", peer="smp get_stats, 1 tile in 10")
def decision_smp(setting: Setting) -> Measurement:
    """The search beside segmentation_models_pytorch's ``get_stats`` at 50 thresholds.

    It judges a tenth of the tiles, and its time is scaled up.
    """
    return _search_beside(setting, peers.smp_scores, share=10)


@item("search-torchmetrics", "s", peer="torchmetrics mean_iou, 1 tile in 10")
def decision_torchmetrics(setting: Setting) -> Measurement:
    """The search beside torchmetrics' ``mean_iou`` at 50 thresholds, likewise."""
    return _search_beside(setting, peers.torchmetrics_scores, share=10)


@item("weights", "s")
def weights(setting: Setting) -> Measurement:
    """Hill climbing of the weights of 3 members on 4,000 tiles, cross-fitted in 5 parts.

    Long enough to be timed once.
    """
    truth = setting.truth[: setting.size.search_tiles]
    ids = tuple(f"tile{number:05d}" for number in range(len(truth)))
    members = {
        f"member{seed}": Predictions(ids, likely_probabilities(truth, seed)) for seed in range(3)
    }
    parts = np.arange(len(truth)) % 5
    return Measurement(seconds(lambda: search_weights(members, truth, ids, parts)))


@item("rle", "s", Target(1))
def rle(setting: Setting) -> Measurement:
    """Run-length strings of 18,400 masks. Target: 1 s."""
    masks = setting.probabilities > DEFAULT_LEVEL
    return median_time(lambda: encode_batch(masks), setting.size.repeats)


@item("rle-numpy", "s", Target(1), peer="NumPy kernel")
def rle_numpy(setting: Setting) -> Measurement:
    """The strings beside the NumPy kernel that everyone pastes. Target: no slower."""
    return _rle_beside(setting, peers.numpy_runs)


@item("rle-pycocotools", "s", Target(1), peer="pycocotools")
def rle_pycocotools(setting: Setting) -> Measurement:
    """The strings beside pycocotools, turned into Kaggle's form. Target: no slower."""
    return _rle_beside(setting, peers.pycocotools_runs)


@item("rle-rlemasklib", "s", Target(1), peer="rlemasklib")
def rle_rlemasklib(setting: Setting) -> Measurement:
    """The strings beside rlemasklib, turned into Kaggle's form. Target: no slower."""
    return _rle_beside(setting, peers.rlemasklib_runs)


@item("submission", "s")
def submission(setting: Setting) -> Measurement:
    """A submission of 18,400 tiles, written, read back and compared with its masks."""
    ids = tuple(f"tile{number:05d}" for number in range(len(setting.probabilities)))
    predictions = Predictions(ids, setting.probabilities)

    def write() -> None:
        write_submission(
            setting.folder / "submission.csv", predictions, ids,
            rule=PLAIN_RULE, manifest={}, overwrite=True,
        )  # fmt: skip

    return median_time(write, setting.size.repeats)


def _search_beside(setting: Setting, peer: PeerScores, *, share: int) -> Measurement:
    """Search beside a peer that judges one tile in ``share``, its time scaled up to all."""
    tiles = setting.size.search_tiles
    truth, probabilities = setting.truth[:tiles], setting.probabilities[:tiles]
    few = slice(max(tiles // share, 2))
    levels = np.array(PEER_LEVELS)

    peers_scores = peer(truth[few], probabilities[few], PEER_LEVELS)
    our_scores = curve(count_tiles(truth[few], probabilities[few]))["score"].to_numpy()[levels]
    # one tile's tenth is 1/40,000 at full size: a float's rounding is far below
    require_equal(np.allclose(our_scores, peers_scores, rtol=0, atol=1e-9), "scores", peer.__name__)
    best = search(truth[few], probabilities[few]).score
    require_equal(best >= max(peers_scores) - 1e-9, "best scores", peer.__name__)
    return in_turn(
        lambda: search(truth, probabilities),
        lambda: peer(truth[few], probabilities[few], PEER_LEVELS),
        setting.size.pairs,
        scales=(1, tiles / few.stop),
        equal=True,
    )


def _rle_beside(setting: Setting, peer: Callable[[NDArray[np.bool_]], list[str]]) -> Measurement:
    masks = setting.probabilities > DEFAULT_LEVEL
    require_equal(encode_batch(masks) == peer(masks), "run-length strings", peer.__name__)
    return in_turn(lambda: encode_batch(masks), lambda: peer(masks), setting.size.pairs, equal=True)
