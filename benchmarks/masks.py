"""From probabilities to a decision, masks, run lengths and a submission."""

from __future__ import annotations

from benchmarks.items import Measurement, Setting, Target, item, median_time
from kaggle_salt.competition.decision import DEFAULT_LEVEL
from kaggle_salt.competition.rle import encode_batch
from kaggle_salt.competition.submission import write_submission
from kaggle_salt.ensembling.thresholds import search
from kaggle_salt.predictions import Predictions


@item("search", "s", Target(1))
def decision(setting: Setting) -> Measurement:
    """Exact search of threshold and minimum area on 4,000 tiles, with its bootstrap interval.

    Target: 1 s.
    """
    tiles = slice(setting.size.search_tiles)
    truth, probabilities = setting.truth[tiles], setting.probabilities[tiles]
    return median_time(lambda: search(truth, probabilities), setting.size.repeats)


@item("rle", "s", Target(1))
def rle(setting: Setting) -> Measurement:
    """Run-length strings of 18,400 masks. Target: 1 s."""
    masks = setting.probabilities > DEFAULT_LEVEL
    return median_time(lambda: encode_batch(masks), setting.size.repeats)


@item("submission", "s")
def submission(setting: Setting) -> Measurement:
    """A submission of 18,400 tiles, written, read back and compared with its masks."""
    ids = tuple(f"tile{number:05d}" for number in range(len(setting.probabilities)))
    predictions = Predictions(ids, setting.probabilities)

    def write() -> None:
        write_submission(
            setting.folder / "submission.csv", predictions, ids,
            level=DEFAULT_LEVEL, min_area=0, manifest={}, overwrite=True,
        )  # fmt: skip

    return median_time(write, setting.size.repeats)
