"""A picture grid of tiles with their true masks, predictions and scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.postprocess import TileContext
from kaggle_salt.errors import DataError
from kaggle_salt.report.curves import INK, LABEL_SIZE, SMALL_SIZE, save_figure

ROW_NAMES = ("tile", "truth", "prediction")
TRUTH_COLOUR, DECISION_COLOUR = "#56B4E9", "#FFFFFF"  # the blue is one of Okabe and Ito's
#: Red, green, blue and opacity from probability 0, where the tile shows through, to 1.
HEAT: Colormap = LinearSegmentedColormap.from_list(
    "salt",
    [(0.23, 0.06, 0.4, 0.0), (0.55, 0.12, 0.4, 0.6), (0.9, 0.4, 0.15, 0.8), (1, 0.88, 0.45, 0.9)],
)
#: A dark rim that keeps the white outline visible on light ground.
RIM: list[patheffects.AbstractPathEffect] = [
    patheffects.withStroke(linewidth=3.4, foreground="black")
]


def pick_tiles(scores: NDArray[np.float64], truths: NDArray[np.bool_], n: int) -> NDArray[np.int64]:
    """Choose tiles that show the whole range, from the worst to the best.

    Empty and salt tiles are drawn in proportion, at least one of each where there is room, and
    evenly over the ranking by score within each kind. The same input gives the same choice.

    Args:
        scores: float64 ``[N]``, competition score of each tile.
        truths: bool ``[N, H, W]``.
        n: Number of tiles to choose; all where there are fewer.

    Returns:
        int64 ``[min(n, N)]``, distinct row numbers by ascending score.

    Raises:
        DataError: The lengths differ.
    """
    if len(scores) != len(truths):
        raise DataError(f"{len(scores)} scores for {len(truths)} masks", expected="one for each")
    n = max(0, min(n, len(scores)))
    has_salt = np.asarray(truths.any(axis=(1, 2)))
    ranking = np.argsort(scores, kind="stable")
    salt, empty = ranking[has_salt[ranking]], ranking[~has_salt[ranking]]
    n_empty = round(n * len(empty) / max(len(scores), 1))
    if n >= 2:  # one of each kind that there is
        n_empty = int(np.clip(n_empty, min(1, len(empty)), n - min(1, len(salt))))
    picked = np.concatenate([_evenly(salt, n - n_empty), _evenly(empty, n_empty)])
    return picked[np.argsort(scores[picked], kind="stable")].astype(np.int64)


def _evenly(ranking: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """``n`` distinct entries from the first to the last, at even distances."""
    return ranking[np.rint(np.linspace(0, len(ranking) - 1, n)).astype(np.int64)]


def prediction_grid(
    images: NDArray[np.uint8],
    truths: NDArray[np.bool_],
    probabilities: NDArray[np.uint8],
    scores: NDArray[np.float64],
    path: Path,
    *,
    ids: Sequence[str],
    rule: Rule,
    columns: int = 6,
) -> None:
    """Draw each tile, its true mask, and its predicted probability with the mask's outline.

    Args:
        images: uint8 ``[N, H, W]``, grey, or ``[N, H, W, 3]``, red, green and blue.
        truths: bool ``[N, H, W]``.
        probabilities: uint8 ``[N, H, W]``, probability = value / 255.
        scores: float64 ``[N]``, competition score of each tile.
        path: PNG to write.
        ids: The N tile ids.
        rule: What turns the probabilities into masks.
        columns: Tiles side by side, 1 or more; the rest go below.

    Raises:
        DataError: There is no tile, or the arrays do not belong together.
    """
    _refuse_mismatch(images, truths, probabilities, scores, ids)
    masks = rule.apply(probabilities, TileContext(ids, images))
    sheet = _Sheet(len(images), min(columns, len(images)))
    for tile, tile_id in enumerate(ids):
        picture, truth, prediction = (sheet.add_picture(tile, row) for row in range(len(ROW_NAMES)))
        _show_tile(picture, images[tile])
        picture.set_title(tile_id, fontsize=SMALL_SIZE, color=INK, pad=4)
        _show_tile(truth, images[tile])
        _fill(truth, truths[tile], TRUTH_COLOUR)
        _outline(truth, truths[tile], TRUTH_COLOUR)
        _show_tile(prediction, images[tile])
        prediction.imshow(probabilities[tile] / 255, cmap=HEAT, vmin=0, vmax=1)
        _outline(prediction, truths[tile], TRUTH_COLOUR)
        _outline(prediction, masks[tile], DECISION_COLOUR)
        prediction.set_xlabel(f"score {scores[tile]:.2f}", fontsize=LABEL_SIZE, color=INK)
    sheet.add_legend(rule)
    save_figure(sheet.figure, path)


def _refuse_mismatch(
    images: NDArray[np.uint8],
    truths: NDArray[np.bool_],
    probabilities: NDArray[np.uint8],
    scores: NDArray[np.float64],
    ids: Sequence[str],
) -> None:
    if not len(images):
        raise DataError("there is no tile to draw", expected="one at least")
    if not images.shape[:3] == truths.shape == probabilities.shape:
        raise DataError(
            f"images are {list(images.shape)}, truths {list(truths.shape)}, "
            f"probabilities {list(probabilities.shape)}",
            expected="one shape [N, H, W]",
        )
    if not len(images) == len(scores) == len(ids):
        raise DataError(
            f"{len(scores)} scores and {len(ids)} ids for {len(images)} tiles",
            expected="one of each for every tile",
        )


class _Sheet:
    """Page with room for ``count`` columns of three pictures, measured in inches."""

    PICTURE, GAP, NAMES, CAPTIONS, FOOTER = 1.6, 0.06, 0.3, 0.68, 0.62

    def __init__(self, count: int, columns: int) -> None:
        self.columns = columns
        blocks = -(-count // columns)
        self.block_height = 3 * (self.PICTURE + self.GAP) + self.CAPTIONS
        # 4 columns wide at least, or the legend would not fit
        self.width = self.NAMES + max(columns, 4) * (self.PICTURE + self.GAP)
        self.height = blocks * self.block_height + self.FOOTER
        self.figure = Figure(figsize=(self.width, self.height))

    def add_picture(self, tile: int, row: int) -> Axes:
        """Axes of one picture: ``row`` 0 is the tile, 1 the truth and 2 the prediction."""
        block, column = divmod(tile, self.columns)
        step = self.PICTURE + self.GAP
        left = self.NAMES + column * step
        bottom = self.height - block * self.block_height - self.CAPTIONS / 2 - (row + 1) * step
        axes = self._add_axes(left, bottom, self.PICTURE, self.PICTURE)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if column == 0:
            axes.set_ylabel(ROW_NAMES[row], fontsize=LABEL_SIZE, color=INK)
        return axes

    def add_legend(self, rule: Rule) -> None:
        """Explain the heat and the outlines, at the foot of the page."""
        bar = self._add_axes(self.NAMES, 0.36, min(2.2, self.width / 3), 0.13)
        bar.set_facecolor("#808080")  # a tile of medium grey would shine through like this
        bar.imshow(
            np.linspace(0, 1, 256)[np.newaxis], cmap=HEAT, aspect="auto", extent=(0, 1, 0, 1)
        )
        bar.set(yticks=[], xticks=[0, 0.5, 1], xlabel="probability of salt")
        bar.tick_params(labelsize=SMALL_SIZE - 2, length=2, pad=1)
        bar.xaxis.label.set(fontsize=SMALL_SIZE - 1, color=INK)
        truth = Line2D([], [], color=TRUTH_COLOUR, linewidth=2.5, label="truth")
        name = f"decision: probability > {rule.threshold:.2f}"
        decision = Line2D(
            [], [], color=DECISION_COLOUR, linewidth=1.7, path_effects=RIM, label=name
        )
        lines = [truth, decision]
        self.figure.legend(
            handles=lines, loc="lower right", ncols=2, frameon=False, fontsize=SMALL_SIZE
        )

    def _add_axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        page = (self.width, self.height) * 2
        inches = (left, bottom, width, height)
        return self.figure.add_axes(tuple(np.divide(inches, page).tolist()))


def _show_tile(axes: Axes, image: NDArray[np.uint8]) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")


def _fill(axes: Axes, mask: NDArray[np.bool_], colour: str) -> None:
    """Tint the mask without hiding the tile below."""
    tint = np.zeros((*mask.shape, 4))
    tint[mask] = (*to_rgb(colour), 0.4)
    axes.imshow(tint, interpolation="nearest")


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: str) -> None:
    if mask.any() and not mask.all():  # else there is no boundary to draw
        lines = axes.contour(mask, levels=[0.5], colors=[colour], linewidths=1.7)
        if colour == DECISION_COLOUR:
            lines.set_path_effects(RIM)
