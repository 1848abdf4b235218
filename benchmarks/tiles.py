"""From Kaggle's files to arrays."""

from __future__ import annotations

import shutil

from benchmarks.harness import Measurement, Setting, item, median_time
from kaggle_salt.competition.tiles import Competition


@item("open-first", "s", 20)
def open_first(setting: Setting) -> Measurement:
    """First opening of 22,000 tiles, 25,600 PNG files in two zips.

    Decodes, checks and hashes them and writes the cache; the zips are in the system's own cache.
    """
    folder = setting.competition_folder
    return median_time(
        lambda: Competition.open(folder),
        setting.size,
        before=lambda: shutil.rmtree(folder / ".salt-cache", ignore_errors=True),
    )


@item("open-again", "s", 0.1)
def open_again(setting: Setting) -> Measurement:
    """Opening the same 22,000 tiles again, from the cache."""
    folder = setting.competition_folder
    return median_time(lambda: Competition.open(folder), setting.size)
