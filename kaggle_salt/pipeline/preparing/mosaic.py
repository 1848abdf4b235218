"""``salt mosaic``: tiles put back into sections, as a table, with a picture and a check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kaggle_salt.competition.mosaic import assemble, mask_agreement, neighbours
from kaggle_salt.competition.tiles import Competition
from kaggle_salt.errors import ConfigError
from kaggle_salt.pipeline.blending.mosaic_rules import LeftOut, Mosaic, leave_one_out
from kaggle_salt.pipeline.workspace import Listener, Workspace
from kaggle_salt.report.mosaic_sheet import mosaic_sheet
from kaggle_salt.storage.files import vouched, vouched_for

#: Raised whenever the same tiles would give another table or picture.
FORMAT = 1
#: Mosaics in the picture, the largest ones.
PICTURED = 6


@dataclass(frozen=True)
class MosaicReport:
    """What ``salt mosaic`` wrote.

    Args:
        csv: The table: id, mosaic, row, column.
        picture: The largest mosaics with the known masks; None where there is no mosaic.
        manifest: Counts and the check of the masks, as the document beside the table says them.
        existed: It was there already, made of the same tiles.
        rules: How well each step that looks at neighbours tells masks that are left out.
    """

    csv: Path
    picture: Path | None
    manifest: Mapping[str, Any]
    existed: bool
    rules: tuple[LeftOut, ...]


def make_mosaics(
    workspace: Workspace,
    out: Path = Path("mosaics.csv"),
    *,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> MosaicReport:
    """Put training and test tiles back beside those that they were cut from.

    Beside the table go a picture of the largest mosaics, ``<name>.png``, and the document that
    vouches for the table, ``<name>.json``.

    Args:
        workspace: Where the data lie.
        out: The table to write.
        overwrite: Replace a table of other tiles.
        listener: Told how the work goes.

    Raises:
        ConfigError: Another file is there, or the table is not to be a CSV file.
        DataError: The data are not usable.
    """
    listener = listener or Listener()
    document, picture = out.with_suffix(".json"), out.with_suffix(".png")
    if out.suffix in (".json", ".png"):
        raise ConfigError(
            f"the table is to be written to {out}, which is the name of what goes beside it",
            expected="a CSV file",
            next_step=f"--out {out.with_suffix('.csv')}",
        )
    competition = workspace.open(listener)
    wanted = {"format": FORMAT, "data_hash": competition.data_hash}
    found = vouched_for(document, out, wanted=wanted, check_hash=True)
    if found is not None and (picture.exists() or not found["mosaics"]):
        rules = leave_one_out(competition, Mosaic.open(out, competition).neighbourhood)
        return MosaicReport(out, picture if found["mosaics"] else None, found, True, rules)
    if found is None and not overwrite:
        _refuse_others(out, document, picture)
    ids = [*competition.ids, *competition.test_ids]
    table = assemble(ids, competition.images, competition.test_images)
    with vouched(document, out) as draft:
        draft.document.update(wanted | _findings(table, competition))
        table.to_csv(draft.paths[0], index=False, lineterminator="\n")
        picture.unlink(missing_ok=True)  # it would be of the old table
        if len(table):
            _draw(table, competition, picture)
    rules = leave_one_out(competition, Mosaic.open(out, competition).neighbourhood)
    return MosaicReport(out, picture if len(table) else None, draft.document, False, rules)


def _refuse_others(*files: Path) -> None:
    there = [path for path in files if path.exists()]
    if there:
        raise ConfigError(
            f"{there[0]} is there, and is not what these tiles give",
            expected="the same table, or none",
            next_step="--out FILE for a second table, or --overwrite",
        )


def _findings(table: pd.DataFrame, competition: Competition) -> dict[str, Any]:
    """What the table says in numbers."""
    row_of = {tile: row for row, tile in enumerate(competition.ids)}
    pairs = neighbours(table)
    both = [pair[1:] for pair in pairs if pair[1] in row_of and pair[2] in row_of]
    agreement = mask_agreement(table, row_of, competition.masks)
    return {
        "tiles": len(competition.ids) + len(competition.test_ids),
        "placed": len(table),
        "mosaics": int(table["mosaic"].nunique()),
        "largest": int(table["mosaic"].value_counts().max()) if len(table) else 0,
        "pairs": len(pairs),
        "training_tiles": len(competition.ids),
        "training_tiles_beside_another": len({tile for pair in both for tile in pair}),
        # JSON has no nan: where no two masks meet there is nothing to say
        "mask_agreement": {
            name: value if value == value else None for name, value in asdict(agreement).items()
        },
    }


def _draw(table: pd.DataFrame, competition: Competition, path: Path) -> None:
    largest = table[table["mosaic"] < PICTURED]
    shown = set(largest["id"])
    rows = {tile: row for row, tile in enumerate(competition.ids) if tile in shown}
    test_rows = {tile: row for row, tile in enumerate(competition.test_ids) if tile in shown}
    tiles = {tile: competition.images[row] for tile, row in rows.items()}
    tiles |= {tile: competition.test_images[row] for tile, row in test_rows.items()}
    masks = {tile: competition.masks[row] for tile, row in rows.items()}
    mosaic_sheet(largest, tiles, masks, path, title=_title(table))


def _title(table: pd.DataFrame) -> str:
    count = int(table["mosaic"].nunique())
    return f"the largest of {count} mosaics" if count > 1 else "the only mosaic"
