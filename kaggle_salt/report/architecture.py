"""A drawing of a network: its blocks as boxes as high as their maps, skips as arrows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Outline

from kaggle_salt.errors import ConfigError
from kaggle_salt.learning.networks.anatomy import INPUT, Block
from kaggle_salt.report.architecture_layout import LANE, Box, lay_out
from kaggle_salt.report.drawing import BLUE, GREY, INK, TITLE_SIZE, VERMILLION, save_figure

SUFFIXES = (".png", ".svg")

NUMBER_LINES = (0.25, 0.43, 0.55)  # channels, pixels and names, below the lowest line
NAME_SIZE, NUMBER_SIZE = 8.5, 9.5  # points
LETTER = 0.07  # inches of a name's letter

#: As many maps are gathered, fewer are skips.
MANY = 3


def require_suffix(path: Path) -> None:
    """Refuse a file that a drawing is not written to.

    Raises:
        ConfigError: The name ends with neither of :data:`SUFFIXES`.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"a drawing cannot be written as '{path.name}'",
            expected=f"a name that ends with {' or '.join(SUFFIXES)}",
            next_step=f"--draw {path.with_suffix('.png')}",
        )


def draw_architecture(
    blocks: Sequence[Block], path: Path, *, channels: int, shape: tuple[int, int], title: str
) -> None:
    """Draw a network from left to right.

    The longest way through it is one row of boxes. A block beside that way hangs below the one
    it is fed by. Maps that skip blocks go above the row, unless three or more are gathered by
    one block, as in a hypercolumn: they go below it.

    Args:
        blocks: As from :func:`kaggle_salt.learning.networks.anatomy.list_blocks`.
        path: PNG or SVG to write.
        channels: Input channels.
        shape: (height, width) of the input, in pixels.
        title: Heading of the picture.

    Raises:
        ConfigError: The file is neither a PNG nor an SVG.
    """
    require_suffix(path)
    tile = Block(INPUT, INPUT, channels, shape, ())
    row, boxes = lay_out([tile, *blocks])
    figure = Figure()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for box in boxes.values():
        _draw_box(axes, box)
    for left, right in pairwise(row):
        _arrow(axes, [(boxes[left].right, 0), (boxes[right].x, 0)], GREY)
    highest = _draw_skips(axes, boxes, row)
    lowest = _draw_gathered(axes, boxes, row)
    _write_numbers(axes, [boxes[name] for name in row], lowest)
    _finish(axes, list(boxes.values()), highest, lowest, title)
    save_figure(figure, path)


def _draw_box(axes: Axes, box: Box) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (box.x, box.bottom),
            box.width,
            box.height,
            boxstyle="round,pad=0,rounding_size=0.025",
            facecolor=box.colour,
            edgecolor=INK,
            linewidth=0.8,
            zorder=3,
        )
    )
    if "…" in box.label:
        for part in (1, 2):  # the seams of what was merged
            x = box.x + part * box.width / 3
            axes.plot([x, x], [box.bottom, box.top], color=INK, linewidth=0.5, zorder=4)


def _arrow(axes: Axes, points: Sequence[tuple[float, float]], colour: str) -> None:
    """A line with right angles through the points, with a head at its end."""
    axes.add_patch(
        FancyArrowPatch(
            path=Outline(points),
            arrowstyle="-|>",
            mutation_scale=7,
            color=colour,
            linewidth=1.2,
            shrinkA=0,
            shrinkB=0,
            joinstyle="round",
            capstyle="butt",
            zorder=2,
        )
    )


def _gatherer(boxes: dict[str, Box], row: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Blocks that take in three maps or more beside the one before them, and these maps."""
    for before, name in pairwise(row):
        beside = [s for s in boxes[name].block.sources if s != before and s in boxes]
        if len(beside) >= MANY:
            yield name, beside


def _draw_skips(axes: Axes, boxes: dict[str, Box], row: Sequence[str]) -> float:
    """Arrows over the row, the shorter below the longer; gives the height of the highest."""
    gathering = {name for name, _ in _gatherer(boxes, row)}
    spans = [
        (row.index(source), end)
        for end, name in enumerate(row)
        for source in boxes[name].block.sources
        if name not in gathering and source in row[: max(end - 1, 0)]
    ]
    tops = [boxes[name].top for name in row]
    lanes: list[tuple[int, int, float]] = []
    for start, end in sorted(spans, key=lambda span: (span[1] - span[0], span)):
        under = [y for left, right, y in lanes if left <= end and start <= right]
        y = max([*tops[start : end + 1], *under]) + LANE
        lanes.append((start, end, y))
        left, right = boxes[row[start]], boxes[row[end]]
        _arrow(
            axes, [(left.middle, left.top), (left.middle, y), (right.middle, y),
                   (right.middle, right.top)], BLUE,
        )  # fmt: skip
    return max([*tops, *(y for *_, y in lanes)])


def _draw_gathered(axes: Axes, boxes: dict[str, Box], row: Sequence[str]) -> float:
    """Arrows below the row to the blocks that gather maps; gives the height of the lowest."""
    for box in boxes.values():
        if box.block.name not in row:
            feeder = next(boxes[s] for s in box.block.sources if s in boxes)
            _arrow(axes, [(box.middle, feeder.bottom), (box.middle, box.top)], VERMILLION)
            axes.text(
                box.right + 0.05, box.y, box.label, fontsize=NAME_SIZE - 1.5, color=INK,
                va="center", rotation=90,
            )  # fmt: skip
    lowest = min(box.bottom for box in boxes.values())
    for name, gathered in _gatherer(boxes, row):
        lowest -= LANE
        end = boxes[name]
        middles = [boxes[source].middle for source in gathered]
        for source, x in zip(gathered, middles, strict=True):
            axes.plot([x, x], [boxes[source].bottom, lowest], color=VERMILLION, linewidth=1.2)
        bus = [(min(middles), lowest), (end.middle, lowest), (end.middle, end.bottom)]
        _arrow(axes, bus, VERMILLION)
    return lowest


def _write_numbers(axes: Axes, row: Sequence[Box], lowest: float) -> None:
    """Below each box of the row its channels, the side of its map and its name."""
    first, second, third = (lowest - drop for drop in NUMBER_LINES)
    square = all(box.block.shape[0] == box.block.shape[1] for box in row)
    for y, text in ((first, "channels"), (second, "px")):
        axes.text(-0.12, y, text, fontsize=NAME_SIZE, color="#666666", ha="right", va="center")
    for _, same in groupby(row, key=lambda box: box.block.shape):
        boxes = list(same)
        height, width = boxes[0].block.shape
        middle = (boxes[0].middle + boxes[-1].middle) / 2
        side = f"{height}" if square else f"{height}x{width}"
        axes.text(middle, second, side, fontsize=NUMBER_SIZE, color=INK, ha="center", va="center")
        if len(boxes) > 1:
            for end, sign in ((boxes[0].middle, -1), (boxes[-1].middle, 1)):
                start = middle + sign * (0.09 * len(side) / 2 + 0.05)
                axes.plot([start, end], [second, second], color=GREY, linewidth=0.6)
    for box in row:
        axes.text(
            box.middle, first, f"{box.block.channels}", fontsize=NUMBER_SIZE, fontweight="bold",
            color=INK, ha="center", va="center",
        )  # fmt: skip
        axes.text(
            box.middle, third, box.label, fontsize=NAME_SIZE, color=INK, ha="center", va="top",
            rotation=90,
        )  # fmt: skip


def _finish(axes: Axes, boxes: Sequence[Box], highest: float, lowest: float, title: str) -> None:
    """Cut the page to what is drawn, with the heading above and the key below."""
    longest = max(len(box.label) for box in boxes)
    left, right = -0.95, max(box.right for box in boxes) + 0.25
    right = max(right, left + 7.5)  # the key needs as much
    bottom = lowest - NUMBER_LINES[-1] - LETTER * longest - 0.45
    top = highest + 0.62
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.get_figure(root=True).set_size_inches(right - left, top - bottom)  # type: ignore[union-attr]
    axes.text(
        left + 0.15, top - 0.15, title, fontsize=TITLE_SIZE, fontweight="bold", color=INK, va="top"
    )
    told = "box height: root of the map's side; width: root of its channels"
    axes.text(left + 0.15, bottom + 0.15, told, fontsize=NAME_SIZE, color="#666666")
    drawn = {to_hex(patch.get_edgecolor()).upper() for patch in axes.patches}
    names = {BLUE: "skip", VERMILLION: "gathered"}
    lines = [Line2D([], [], color=c, label=names[c]) for c in names if c in drawn]
    axes.legend(handles=lines, loc="lower right", ncols=2, frameon=False, fontsize=NAME_SIZE)
