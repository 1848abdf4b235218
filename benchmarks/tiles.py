"""From Kaggle's files to arrays and folds."""

from __future__ import annotations

import shutil
from statistics import median

from benchmarks.items import Measurement, Setting, Target, item, median_time, seconds
from kaggle_salt.competition.folds import make_folds
from kaggle_salt.competition.tiles import Competition


@item("open-first", "s", Target(20))
def open_first(setting: Setting) -> Measurement:
    """First opening of 22,000 tiles, 25,600 PNG files in two zips.

    Decodes, checks and hashes them and writes the cache; the zips are in the system's own
    cache. Target: 20 s on two cores.
    """
    folder = setting.competition_folder

    def open_anew() -> float:
        shutil.rmtree(folder / ".salt-cache", ignore_errors=True)
        return seconds(lambda: Competition.open(folder))

    times = [open_anew() for _ in range(setting.size.repeats)]
    return Measurement(median(times), {"seconds": times, **_counts(setting)})


@item("open-again", "s", Target(0.1))
def open_again(setting: Setting) -> Measurement:
    """Opening the same 22,000 tiles again, from the cache. Target: 0.1 s."""
    folder = setting.competition_folder
    return median_time(lambda: Competition.open(folder), setting.size.repeats)


@item("folds", "s")
def folds(setting: Setting) -> Measurement:
    """Five folds of 3,600 tiles, stratified by salt coverage."""
    tiles = setting.competition
    return median_time(lambda: make_folds(tiles.ids, tiles.masks), setting.size.repeats)


def _counts(setting: Setting) -> dict[str, int]:
    tiles = setting.competition
    return {"train_tiles": len(tiles.ids), "test_tiles": len(tiles.test_ids)}
