"""A sheet of tiles that say nothing, or say it twice: blank ones, and sets of the same pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from kaggle_salt.competition.duplicates import identical_tiles
from kaggle_salt.competition.tiles import Competition, is_blank
from kaggle_salt.report.data_sheets import SHOWN, draw_tile
from kaggle_salt.report.drawing import INK, SMALL_SIZE, TITLE_SIZE, save_figure

#: Sets of identical tiles that are shown, the largest first.
SETS = 6


def draw_copies(competition: Competition, path: Path) -> None:
    """Draw blank tiles, and the sets of identical ones, with the masks that are known.

    Identical tiles with other masks tell how sure a mask is; those both in training and in test
    give an answer away.

    Args:
        competition: The tiles.
        path: PNG to write.
    """
    blank = np.flatnonzero(is_blank(competition.images)).tolist()
    test_blank = int(is_blank(competition.test_images).sum())
    sets = identical_tiles(competition.images, competition.test_images)
    sets.sort(key=lambda rows: (-len(rows), rows))
    with_salt = sum(bool(competition.masks[row].any()) for row in blank)
    blank_told = f"blank\n{len(blank):,} tiles\n{with_salt:,} with salt\n{test_blank:,} in test"
    rows = [(blank_told, blank)] if blank or test_blank else []
    rows += [(_told(copies, competition), copies) for copies in sets[:SETS]]
    title = f"Blank tiles: {len(blank):,}; sets of tiles with the same pixels: {len(sets):,}"
    save_figure(_draw(title, rows, competition), path)


def _told(copies: Sequence[int], competition: Competition) -> str:
    known = [row for row in copies if row < len(competition.ids)]
    masks = {competition.masks[row].tobytes() for row in known}
    told = f"the same pixels\n{len(known)} in training\n{len(copies) - len(known)} in test"
    return told + (f"\n{len(masks)} different masks" if len(masks) > 1 else "")


def _draw(
    title: str, rows: Sequence[tuple[str, Sequence[int]]], competition: Competition
) -> Figure:
    height, width = competition.tile_shape
    side, names, gap, top, head = 1.05, 1.55, 0.05, 0.24, 0.62
    tall = side * min(max(height / width, 0.5), 2)
    step = tall + gap + top
    page = (names + SHOWN * (side + gap), head + max(step * len(rows), 0.4))
    figure = Figure(figsize=page)
    figure.text(0.012, 1 - 0.17 / page[1], title, fontsize=TITLE_SIZE, fontweight="bold",
                color=INK, va="top")  # fmt: skip
    if not rows:
        told = "No tile is of one value, and no two have the same pixels."
        figure.text(0.012, 0.1 / page[1], told, fontsize=SMALL_SIZE, color=INK, va="bottom")
    for place, (told, members) in enumerate(rows):
        bottom = page[1] - head - (place + 1) * step
        figure.text((names - 0.12) / page[0], (bottom + tall / 2) / page[1], told, ha="right",
                    va="center", fontsize=SMALL_SIZE, color=INK, linespacing=1.3)  # fmt: skip
        for column, row in enumerate(members[:SHOWN]):
            left = names + column * (side + gap)
            inches = (left / page[0], bottom / page[1], side / page[0], tall / page[1])
            axes = figure.add_axes(inches)
            training = row < len(competition.ids)
            number = row if training else row - len(competition.ids)
            images = competition.images if training else competition.test_images
            mask = competition.masks[row] if training else np.zeros((height, width), dtype=np.bool_)
            draw_tile(axes, images[number], mask)
            tile = (competition.ids if training else competition.test_ids)[number]
            axes.set_title(tile if training else f"{tile} (test)", fontsize=SMALL_SIZE - 3, pad=2)
    return figure
