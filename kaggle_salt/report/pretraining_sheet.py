"""A picture of a pretraining: tiles, and beside each what the network makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kaggle_salt.errors import DataError
from kaggle_salt.report.drawing import INK, LABEL_SIZE, TITLE_SIZE, save_figure


def pretraining_sheet(panels: Mapping[str, NDArray[np.float64]], path: Path, *, title: str) -> None:
    """Draw tiles side by side, each with its panels below one another.

    Args:
        panels: By what they show, from top to bottom: as many pictures each, float
            ``[N, H, W]`` or ``[N, H, W, 3]`` in [0, 1], of any size.
        path: PNG to write.
        title: Heading of the picture.

    Raises:
        DataError: There is no picture.
    """
    count = min((len(pictures) for pictures in panels.values()), default=0)
    if not count:
        raise DataError("there is no tile to draw", expected="one at least")
    figure = Figure(figsize=(1.5 * count + 0.6, 1.5 * len(panels) + 0.8), layout="constrained")
    figure.suptitle(title, fontsize=TITLE_SIZE, fontweight="bold", color=INK)
    grid = figure.subplots(len(panels), count, squeeze=False)
    for row, (name, pictures) in zip(grid, panels.items(), strict=True):
        row[0].set_ylabel(name, fontsize=LABEL_SIZE, color=INK)
        for axes, picture in zip(row, pictures, strict=False):
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
    save_figure(figure, path)
