"""``salt make-folds``, ``salt check`` and ``salt look``: what is done before any training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from kaggle_salt.competition.check import CheckReport, check
from kaggle_salt.competition.duplicates import identical_tiles
from kaggle_salt.competition.fold_files import (
    read_folds,
    read_groups,
    says_the_same,
    write_folds,
)
from kaggle_salt.competition.folds import TYPE, By, make_folds, summarise
from kaggle_salt.competition.mask_threshold import remember_threshold
from kaggle_salt.competition.mask_types import TYPES
from kaggle_salt.competition.source import require_tiles
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.report.look import draw_sheets


def make_fold_table(
    workspace: Workspace,
    *,
    n_folds: int = 5,
    seed: int = 0,
    by: By = "coverage",
    group_file: Path | None = None,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> pd.DataFrame:
    """Write the fold table of a competition; tiles with the same pixels stay in one fold.

    Args:
        workspace: Where data and fold table lie.
        n_folds: Number of folds.
        seed: Seed of the split.
        by: In what the folds are alike: ``coverage`` or ``type`` of the masks.
        group_file: CSV id,group, or a table of mosaics; a group stays in one fold.
        overwrite: Replace a table that differs.
        listener: Told how the work goes.

    Returns:
        One row for each fold: ``fold``, ``tiles``, ``empty_share``, ``mean_coverage``,
        ``mean_depth`` in feet.

    Raises:
        ConfigError: Another table is there, or the tiles cannot be split so.
        DataError: The data or the group file is not usable.
    """
    listener = listener or Listener()
    competition = workspace.open(listener)
    groups = read_groups(group_file, competition.ids) if group_file else None
    table = make_folds(
        competition.ids, competition.masks, n_folds=n_folds, seed=seed, by=by,
        groups=groups, images=competition.images,
    )  # fmt: skip
    _tell_of_tiles(competition, table, groups or [], listener)
    # a table is all there is to say of itself: no document vouches for it, its text is compared
    written = not says_the_same(workspace.folds, table)
    written = written and write_folds(workspace.folds, table, overwrite=overwrite)
    if not (written or says_the_same(workspace.folds, table)):
        raise ConfigError(
            f"{workspace.folds} holds another fold table",
            expected="the same table, or none; runs trained on it would no longer match",
            next_step="--out FILE for a second table, or --overwrite",
        )
    listener.note(f"{workspace.folds}: {'written' if written else 'unchanged'}")
    return summarise(table, dict(zip(competition.ids, competition.depths.tolist(), strict=True)))


def _tell_of_tiles(
    competition: Competition, table: pd.DataFrame, groups: Sequence[str], listener: Listener
) -> None:
    """Say how many are copies, what the groups bind, and how many masks there are of each type."""
    if twins := identical_tiles(competition.images):
        listener.note(
            f"{sum(map(len, twins))} tiles are copies of one another ({len(twins)} pictures, blank "
            "ones aside); copies stay in one fold"
        )
    if bound := [size for size in Counter(groups).values() if size > 1]:
        listener.note(
            f"{sum(bound)} tiles are in {len(bound)} groups of two or more, each in one fold. What "
            "they leak where they are split: train one preset on all folds of this table and of "
            "one without groups, and compare the scores of all tiles"
        )
    counts = table[TYPE].value_counts()
    listener.note("masks: " + ", ".join(f"{counts[k]} {k}" for k in TYPES if k in counts))


def check_data(
    workspace: Workspace,
    *,
    mask_threshold: int | None = None,
    pictures: Path | None = None,
    listener: Listener | None = None,
) -> CheckReport:
    """Look at every file and every tile; what is wrong is in the report.

    Args:
        workspace: Where the data lie.
        mask_threshold: Remember for all commands that grey levels of masks from this on, in
            [1, 255], are salt.
        pictures: Folder for sheets of the tiles that can be read; those of :func:`look`, but for
            the folds.
        listener: Told how the work goes.

    Raises:
        ConfigError: Another threshold is remembered already.
        DataError: There is no folder, or not one tile can be read.
    """
    listener = listener or Listener()
    if mask_threshold is not None:
        require_tiles(workspace.data)
        path = remember_threshold(workspace.data, mask_threshold)
        listener.note(f"{path}: masks are salt from level {mask_threshold} on, for every command")

    def draw(competition: Competition) -> None:
        if pictures is None:
            return
        if not competition.ids:
            listener.warn("not one training tile can be read: there is no picture")
            return
        for path in draw_sheets(competition, pictures):
            listener.note(f"{path}: written")

    return check(workspace.data, progress=listener.progress("decoding tiles"), visit=draw)


def look(
    workspace: Workspace, folder: Path = Path("pictures"), *, listener: Listener | None = None
) -> list[Path]:
    """Draw the data: tiles by coverage, depth against it, blank tiles and copies, the folds.

    Args:
        workspace: Where the data lie, and the fold table if there is one.
        folder: Where to write; pictures of the same names are replaced.
        listener: Told how the work goes, and where there is no fold table.

    Returns:
        The pictures.

    Raises:
        DataError: The data or the fold table are not usable.
    """
    listener = listener or Listener()
    competition = workspace.open(listener)
    table = None
    if workspace.folds.exists():
        table = read_folds(workspace.folds, competition.ids, competition.masks)
    else:
        listener.note(f"there is no {workspace.folds}, so no picture of it: salt make-folds")
    return draw_sheets(competition, folder, table)
