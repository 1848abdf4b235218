"""The tiles of a report as its script takes them: columns of numbers, and sheets of pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kaggle_salt.competition.mask_types import TYPES
from kaggle_salt.report.data_sheets import CLASS_NAMES
from kaggle_salt.report.facts import Gallery
from kaggle_salt.report.sprites import COLUMNS, MARGIN, SHEET, make_sheets

#: Sorts of tiles that can be asked for: key, name, and what they are.
SORTS = (
    ("all", "All", "every tile"),
    ("false-salt", "False salt", "salt predicted where the tile has none"),
    ("missed-salt", "Missed salt", "no salt predicted where the tile has some"),
    ("vertical", "Vertical walls", "the mask is cut straight down"),
    ("border", "Border slivers", "all salt lies along the edges of the tile"),
    ("borderline", "Borderline", "a threshold .05 higher or lower changes the score by .25"),
)  # fmt: skip


@dataclass(frozen=True)
class GalleryParts:
    """What the page holds of a gallery.

    Args:
        tiles: JSON of all that is known of the tiles, in the order of the sheets.
        sheets: For each sheet its pictures: name, kind and bytes in base 64.
        counts: Tiles of each of :data:`SORTS`, by key.
        folds: Numbers of the folds.
        classes: Classes of coverage that there are.
    """

    tiles: str
    sheets: Sequence[Mapping[str, tuple[str, str]]]
    counts: Mapping[str, int]
    folds: Sequence[int]
    classes: Sequence[str]


def gallery_parts(gallery: Gallery) -> GalleryParts:
    """Draw the sheets of a gallery, from the worst tile to the best, and write down the rest."""
    table = gallery.table
    wrong = table["truth"] + table["predicted"] - 2 * table["hit"]
    order = np.lexsort((table["id"], -wrong, table["score"])).astype(np.int64)
    ranked = table.iloc[order]
    sheets = make_sheets(gallery, order)
    sorts = {
        "false-salt": (ranked["truth"] == 0) & (ranked["predicted"] > 0),
        "missed-salt": (ranked["truth"] > 0) & (ranked["predicted"] == 0),
        "vertical": ranked["type"] == "vertical",
        "border": ranked["type"] == "border",
        "borderline": ranked["borderline"],
    }
    classes = [name for name in CLASS_NAMES if (ranked["coverage_class"] == name).any()]
    types = [name for name in TYPES if (ranked["type"] == name).any()]
    document = {
        "columns": COLUMNS, "sheet": SHEET, "margin": MARGIN,
        "height": sheets.height, "width": sheets.width,
        "pixels": math.prod(gallery.truths.shape[1:]),
        "classes": classes, "types": types,
        "id": ranked["id"].tolist(),
        "fold": ranked["fold"].tolist(),
        "tenths": np.rint(10 * ranked["score"]).astype(int).tolist(),
        "depth": [None if math.isnan(feet) else round(feet, 1) for feet in ranked["depth"]],
        "class": [classes.index(name) for name in ranked["coverage_class"]],
        "type": [types.index(name) for name in ranked["type"]],
        **{name: ranked[name].tolist() for name in ("edges", "truth", "predicted", "hit")},
        "sorts": {key: np.flatnonzero(which).tolist() for key, which in sorts.items()},
    }  # fmt: skip
    counts = {"all": len(ranked)} | {key: int(which.sum()) for key, which in sorts.items()}
    folds = sorted(set(ranked["fold"].tolist()))
    return GalleryParts(as_script(document), sheets.sheets, counts, folds, classes)


def as_script(document: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: nothing in it ends that."""
    return json.dumps(document, separators=(",", ":")).replace("<", "\\u003c")
