"""A picture grid of tiles with their true masks, predictions and scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from kaggle_salt.competition.decision import Rule
from kaggle_salt.competition.neighbourhood import Neighbourhood
from kaggle_salt.competition.postprocess import TileContext
from kaggle_salt.errors import DataError
from kaggle_salt.report.drawing import INK, LABEL_SIZE, SMALL_SIZE, TITLE_SIZE, save_figure

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


def pick_extremes(
    scores: NDArray[np.float64], has_salt: NDArray[np.bool_], n: int
) -> dict[str, NDArray[np.int64]]:
    """Choose the worst, the middling and the best tiles.

    Mostly tiles with salt: the best empty tiles are all alike. One empty tile is among the worst
    and one among the best, where there is room.

    Args:
        scores: float64 ``[N]``, competition score of each tile.
        has_salt: bool ``[N]``, whether its true mask is not empty.
        n: Number of tiles of each sort; fewer where there are not enough.

    Returns:
        Distinct row numbers by ascending score, int64, of ``worst``, ``middling`` and ``best``; a
        sort without a tile is left out.
    """
    ranking = np.argsort(scores, kind="stable")
    salt, empty = ranking[has_salt[ranking]], ranking[~has_salt[ranking]]
    if not len(salt):
        salt, empty = empty, salt
    n_empty = min(1, len(empty) // 2, n - 1)
    n_salt = min(n - n_empty, len(salt) // 3)
    middle = salt[n_salt : len(salt) - n_salt]
    n_middle = min(n, len(middle))
    start = (len(middle) - n_middle) // 2
    sorts = {
        "worst": [*salt[:n_salt], *empty[:n_empty]],
        "middling": [*middle[start : start + n_middle]],
        "best": [*salt[len(salt) - n_salt :], *empty[len(empty) - n_empty :]],
    }
    picked = {name: np.array(rows, dtype=np.int64) for name, rows in sorts.items() if rows}
    return {name: r[np.argsort(scores[r], kind="stable")] for name, r in picked.items()}


def _evenly(ranking: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """``n`` distinct entries from the first to the last, at even distances."""
    return ranking[np.rint(np.linspace(0, len(ranking) - 1, n)).astype(np.int64)]


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles to draw, with what was predicted of them.

    Args:
        ids: The N tile ids.
        images: uint8 ``[N, H, W]``, grey, or ``[N, H, W, 3]``, red, green and blue.
        truths: bool ``[N, H, W]``.
        probabilities: uint8 ``[N, H, W]``, probability = value / 255.
        scores: float64 ``[N]``, competition score of each tile.
        title: What they have in common, to stand above them.

    Raises:
        DataError: There is no tile, or the arrays do not belong together.
    """

    ids: Sequence[str]
    images: NDArray[np.uint8]
    truths: NDArray[np.bool_]
    probabilities: NDArray[np.uint8]
    scores: NDArray[np.float64]
    title: str = ""

    def __post_init__(self) -> None:
        count = len(self.images)
        if not count:
            raise DataError("there is no tile to draw", expected="one at least")
        if not self.images.shape[:3] == self.truths.shape == self.probabilities.shape:
            raise DataError(
                f"images are {list(self.images.shape)}, truths {list(self.truths.shape)}, "
                f"probabilities {list(self.probabilities.shape)}",
                expected="one shape [N, H, W]",
            )
        if not count == len(self.scores) == len(self.ids):
            raise DataError(
                f"{len(self.scores)} scores and {len(self.ids)} ids for {count} tiles",
                expected="one of each for every tile",
            )

    def __len__(self) -> int:
        return len(self.ids)


def prediction_grid(
    groups: Sequence[Tiles],
    path: Path,
    *,
    rule: Rule,
    columns: int = 6,
    side_by_side: bool = False,
    neighbourhood: Neighbourhood | None = None,
) -> None:
    """Draw each tile, its true mask, and its predicted probability with the mask's outline.

    Args:
        groups: Tiles that belong together, one group at least.
        path: PNG to write.
        rule: What turns the probabilities into masks.
        columns: Tiles of a group side by side, 1 or more; the rest go below.
        side_by_side: Groups stand beside one another, else below.
        neighbourhood: What is known beside the tiles, where the rule looks at it.
    """
    titled = any(tiles.title for tiles in groups)
    counts = [len(tiles) for tiles in groups]
    sheet = _Sheet(counts, columns, titled=titled, side_by_side=side_by_side)
    for number, tiles in enumerate(groups):
        sheet.add_title(number, tiles.title)
        context = TileContext(tiles.ids, tiles.images, neighbourhood)
        masks = rule.apply(tiles.probabilities, context)
        for tile, mask in enumerate(masks):
            _draw_tile(
                [sheet.add_picture(number, tile, row) for row in range(3)], tiles, tile, mask
            )
    sheet.add_legend(rule)
    save_figure(sheet.figure, path)


def _draw_tile(pictures: Sequence[Axes], tiles: Tiles, tile: int, mask: NDArray[np.bool_]) -> None:
    """The pictures of one tile, from the top down: itself, its truth, its prediction."""
    picture, truth, prediction = pictures
    for axes in pictures:
        _show_tile(axes, tiles.images[tile])
    picture.set_title(tiles.ids[tile], fontsize=SMALL_SIZE, color=INK, pad=4)
    _fill(truth, tiles.truths[tile], TRUTH_COLOUR)
    _outline(truth, tiles.truths[tile], TRUTH_COLOUR)
    prediction.imshow(tiles.probabilities[tile] / 255, cmap=HEAT, vmin=0, vmax=1)
    _outline(prediction, tiles.truths[tile], TRUTH_COLOUR)
    _outline(prediction, mask, DECISION_COLOUR)
    prediction.set_xlabel(f"score {tiles.scores[tile]:.2f}", fontsize=LABEL_SIZE, color=INK)


class _Sheet:
    """Page with room for groups of tiles, three pictures each, measured in inches."""

    PICTURE, GAP, NAMES, CAPTIONS, FOOTER, TITLE, BETWEEN = 1.6, 0.06, 0.3, 0.68, 0.62, 0.38, 0.3

    def __init__(
        self, counts: Sequence[int], columns: int, *, titled: bool, side_by_side: bool
    ) -> None:
        self.title = self.TITLE if titled else 0.0
        self.columns = min(columns, max(counts))
        self.side_by_side = side_by_side
        step = self.PICTURE + self.GAP
        self.block_height = 3 * step + self.CAPTIONS
        self.heights = [self.title + -(-n // self.columns) * self.block_height for n in counts]
        # 4 columns wide at least, or the legend would not fit
        across = len(counts) if side_by_side else 1
        pictures = across * self.columns * step + (across - 1) * self.BETWEEN
        self.width = self.NAMES + max(pictures, 4 * step)
        high = max(self.heights) if side_by_side else sum(self.heights)
        self.height = high + self.FOOTER
        self.figure = Figure(figsize=(self.width, self.height))

    def _corner(self, group: int) -> tuple[float, float]:
        """Left and upper end of a group."""
        if self.side_by_side:
            wide = self.columns * (self.PICTURE + self.GAP) + self.BETWEEN
            return self.NAMES + group * wide, self.height
        return self.NAMES, self.height - sum(self.heights[:group])

    def add_title(self, group: int, title: str) -> None:
        """What stands above a group."""
        left, top = self._corner(group)
        self.figure.text(
            left / self.width, (top - 0.1) / self.height, title, va="top",
            fontsize=TITLE_SIZE - 1, fontweight="bold", color=INK,
        )  # fmt: skip

    def add_picture(self, group: int, tile: int, row: int) -> Axes:
        """Axes of one picture: ``row`` 0 is the tile, 1 the truth and 2 the prediction."""
        block, column = divmod(tile, self.columns)
        step = self.PICTURE + self.GAP
        start, top = self._corner(group)
        top -= self.title + block * self.block_height + self.CAPTIONS / 2
        bottom = top - (row + 1) * step
        axes = self._add_axes(start + column * step, bottom, self.PICTURE, self.PICTURE)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if column == 0 and (group == 0 or not self.side_by_side):
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
