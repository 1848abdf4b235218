"""A picture of the largest mosaics, with the masks that are known laid over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from kaggle_salt.errors import DataError
from kaggle_salt.report.drawing import INK, LABEL_SIZE, SMALL_SIZE, TITLE_SIZE, save_figure
from kaggle_salt.report.grid import TRUTH_COLOUR

#: Frames the tiles whose mask is known; Okabe and Ito's orange.
KNOWN_COLOUR = "#E69F00"
TINT = 0.45
#: Pixels of the longer side of a mosaic; larger ones are thinned out.
LONGEST = 1200

Canvas = NDArray[np.float64]


def mosaic_sheet(
    table: pd.DataFrame,
    tiles: Mapping[str, NDArray[np.uint8]],
    masks: Mapping[str, NDArray[np.bool_]],
    path: Path,
    *,
    title: str,
    columns: int = 3,
) -> None:
    """Draw mosaics, each tile in its place: salt tinted, tiles with a known mask framed.

    Args:
        table: Of mosaics, as :func:`kaggle_salt.competition.mosaic.assemble` gives it; all that
            it names are drawn.
        tiles: The tiles by id, uint8 ``[H, W]`` or ``[H, W, 3]``.
        masks: The known masks by id, bool ``[H, W]``.
        path: PNG to write.
        title: Heading of the picture.
        columns: Mosaics side by side, 1 or more.

    Raises:
        DataError: There is no mosaic.
    """
    if table.empty:
        raise DataError("there is no mosaic to draw", expected="one at least")
    mosaics = [mosaic for _, mosaic in table.groupby("mosaic")]
    columns = min(columns, len(mosaics))
    rows = -(-len(mosaics) // columns)
    figure = Figure(figsize=(max(4.4 * columns, 8.0), 4.6 * rows + 1.1), layout="constrained")
    figure.suptitle(title, fontsize=TITLE_SIZE, fontweight="bold", color=INK)
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if number < len(mosaics):
            mosaic = mosaics[number]
            axes.imshow(_canvas(mosaic, tiles, masks), interpolation="antialiased")
            known = sum(tile in masks for tile in mosaic["id"])
            name = f"mosaic {mosaic['mosaic'].iloc[0]}: {len(mosaic)} tiles, {known} with masks"
            axes.set_title(name, fontsize=LABEL_SIZE, color=INK)
    salt = Patch(facecolor=TRUTH_COLOUR, label="salt, where the mask is known")
    frame = Patch(facecolor="none", edgecolor=KNOWN_COLOUR, linewidth=2, label="training tile")
    figure.legend(
        handles=[salt, frame], loc="outside lower center", ncols=2, frameon=False,
        fontsize=SMALL_SIZE,
    )  # fmt: skip
    save_figure(figure, path)


def _canvas(
    mosaic: pd.DataFrame,
    tiles: Mapping[str, NDArray[np.uint8]],
    masks: Mapping[str, NDArray[np.bool_]],
) -> Canvas:
    """The mosaic as one picture, float64 ``[H, W, 3]`` in [0, 1]; empty cells are white."""
    height, width = tiles[mosaic["id"].iloc[0]].shape[:2]
    rows, columns = int(mosaic["row"].max()) + 1, int(mosaic["column"].max()) + 1
    canvas = np.ones((rows * height, columns * width, 3))
    places = zip(mosaic["id"], mosaic["row"], mosaic["column"], strict=True)
    for tile, row, column in places:
        place = canvas[row * height :, column * width :][:height, :width]
        image = tiles[tile] / 255
        place[:] = image if image.ndim == 3 else image[..., None]
        if tile in masks:
            _lay_over(place, masks[tile])
    thinning = -(-max(canvas.shape[:2]) // LONGEST)
    return canvas[::thinning, ::thinning]


def _lay_over(place: Canvas, mask: NDArray[np.bool_]) -> None:
    """Tint the salt, and frame the tile."""
    place[mask] = (1 - TINT) * place[mask] + TINT * np.array(to_rgb(TRUTH_COLOUR))
    thick = max(1, min(mask.shape) // 50)
    for edge in (np.s_[:thick], np.s_[-thick:], np.s_[:, :thick], np.s_[:, -thick:]):
        place[edge] = to_rgb(KNOWN_COLOUR)
