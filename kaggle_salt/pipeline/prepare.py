"""``salt make-folds`` and ``salt check``: what is done before any training."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kaggle_salt.competition.check import CheckReport, inspect
from kaggle_salt.competition.duplicates import identical_tiles
from kaggle_salt.competition.folds import (
    folds_text,
    make_folds,
    read_groups,
    summarise,
    write_folds,
)
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.workspace import Listener, Workspace


def make_fold_table(
    workspace: Workspace,
    *,
    n_folds: int = 5,
    seed: int = 0,
    group_file: Path | None = None,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> pd.DataFrame:
    """Write the fold table of a competition; tiles with the same pixels stay in one fold.

    Args:
        workspace: Where data and fold table lie.
        n_folds: Number of folds.
        seed: Seed of the split.
        group_file: CSV id,group; a group stays in one fold.
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
        competition.ids, competition.masks, n_folds=n_folds, seed=seed, groups=groups,
        images=competition.images,
    )  # fmt: skip
    _tell_of_copies(competition, listener)
    # a table is all there is to say of itself: no document vouches for it, its text is compared
    there = workspace.folds.exists()
    same = there and workspace.folds.read_bytes() == folds_text(table).encode()
    if there and not same and not overwrite:
        raise ConfigError(
            f"{workspace.folds} holds another fold table",
            expected="the same table, or none; runs trained on it would no longer match",
            next_step="--out FILE for a second table, or --overwrite",
        )
    if not same:
        write_folds(workspace.folds, table)
    listener.note(f"{workspace.folds}: {'unchanged' if same else 'written'}")
    return summarise(table, dict(zip(competition.ids, competition.depths.tolist(), strict=True)))


def _tell_of_copies(competition: Competition, listener: Listener) -> None:
    if twins := identical_tiles(competition.images):
        listener.note(
            f"{sum(map(len, twins))} tiles are copies of one another ({len(twins)} pictures, blank "
            "ones aside); copies stay in one fold"
        )


def check_data(workspace: Workspace, *, listener: Listener | None = None) -> CheckReport:
    """Open the competition and look at every tile; see :func:`inspect`."""
    return inspect(workspace.open(listener or Listener()))
