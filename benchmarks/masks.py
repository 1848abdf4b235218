"""From probabilities to a decision, masks, run lengths and a submission."""

from __future__ import annotations

import numpy as np

from benchmarks import peers
from benchmarks.harness import Measurement, Setting, in_turn, item, median_time, require_equal
from kaggle_salt.competition.decision import DEFAULT_LEVEL, PLAIN_RULE
from kaggle_salt.competition.rle import encode_batch
from kaggle_salt.competition.submission import write_submission
from kaggle_salt.ensembling.histograms import count_tiles
from kaggle_salt.ensembling.thresholds import curve, search

#: The levels that the kernel judges: thresholds 0, .02, ..., .96. Ours judges all 256.
PEER_LEVELS = range(0, 250, 5)


@item("search", "s", 1)
def decision(setting: Setting) -> Measurement:
    """Exact search of threshold and minimum area on 3,600 tiles, with its bootstrap interval."""
    truth, probabilities = setting.competition.masks, setting.predicted("train").probabilities
    return median_time(lambda: search(truth, probabilities), setting.size)


@item("search-kernel", "s", 300, peer="histogram2d kernel, 1 tile in 100")
def decision_kernel(setting: Setting) -> Measurement:
    """The search beside the classic kernel: 50 thresholds, a ``histogram2d`` for each tile.

    The kernel judges a hundredth of the tiles, and its time is scaled up.
    """
    truth, probabilities = setting.competition.masks, setting.predicted("train").probabilities
    few = slice(max(len(truth) // 100, 2))
    kernel_scores = peers.histogram2d_scores(truth[few], probabilities[few], PEER_LEVELS)
    our_scores = curve(count_tiles(truth[few], probabilities[few]))["score"].to_numpy()
    # one tile's tenth is 1/36,000 at full size: a float's rounding is far below
    equal = np.allclose(our_scores[list(PEER_LEVELS)], kernel_scores, rtol=0, atol=1e-9)
    require_equal(equal, "scores", "the kernel")
    return in_turn(
        lambda: search(truth, probabilities),
        lambda: peers.histogram2d_scores(truth[few], probabilities[few], PEER_LEVELS),
        setting.size.pairs,
        scales=(1, len(truth) / few.stop),
    )


@item("rle", "s", 1, peer="rlemasklib")
def rle(setting: Setting) -> Measurement:
    """Run-length strings of 18,400 masks beside rlemasklib, turned into Kaggle's form."""
    masks = setting.predicted("test").probabilities > DEFAULT_LEVEL
    require_equal(encode_batch(masks) == peers.rlemasklib_runs(masks), "strings", "rlemasklib")
    pairs = setting.size.pairs
    return in_turn(lambda: encode_batch(masks), lambda: peers.rlemasklib_runs(masks), pairs)


@item("submission", "s")
def submission(setting: Setting) -> Measurement:
    """A submission of 18,400 tiles, written, read back and compared with its masks."""
    predictions = setting.predicted("test")

    def write() -> None:
        write_submission(
            setting.folder / "submission.csv", predictions, setting.competition.test_ids,
            rule=PLAIN_RULE, manifest={}, overwrite=True,
        )  # fmt: skip

    return median_time(write, setting.size)
