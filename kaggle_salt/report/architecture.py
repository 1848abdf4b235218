"""A drawing of a network: its blocks as boxes as high as their maps, skips as arrows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from kaggle_salt.report.curves import BLUE, GREY, INK, TITLE_SIZE, VERMILLION, save_figure

SUFFIXES = (".png", ".svg")

#: Fill of the boxes: the tile, on the way down, on the way up, the logits. After Okabe and Ito.
TILE, DOWN, UP, LOGITS = "#E8E8E4", "#9CCDEB", "#F3C77C", "#8FD3BE"

#: Inches: of a box with one channel, and with a map of one pixel; both grow with the root.
PER_ROOT_CHANNEL, PER_ROOT_PIXEL = 0.021, 0.15
THINNEST, LOWEST = 0.06, 0.2
PITCH, GAP = 0.42, 0.13  # room that a box has at least, and that between two
LANE = 0.17  # between two arrows that run side by side
NUMBER_LINES = (0.25, 0.43, 0.55)  # channels, pixels and names, below the lowest line
NAME_SIZE, NUMBER_SIZE = 8.5, 9.5  # points
LETTER = 0.07  # inches of a name's letter

#: As many blocks of the same form in a row become one box.
MANY = 3


@dataclass(frozen=True)
class Box:
    """A block with its place, in inches; ``y`` is the height of its middle."""

    block: Block
    label: str
    x: float
    y: float
    width: float
    height: float
    colour: str

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        return self.y + self.height / 2

    @property
    def bottom(self) -> float:
        return self.y - self.height / 2


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
    merged, labels = _merge_repeated([tile, *blocks])
    row = _longest_way(merged)
    boxes = _place(merged, row, labels)
    figure = Figure()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for box in boxes.values():
        _draw_box(axes, box)
    for left, right in pairwise(row):
        _arrow(axes, [(_right(boxes[left]), 0), (boxes[right].x, 0)], GREY)
    highest = _draw_skips(axes, boxes, row)
    lowest = _draw_gathered(axes, boxes, row)
    _write_numbers(axes, [boxes[name] for name in row], lowest)
    _finish(axes, list(boxes.values()), highest, lowest, title)
    save_figure(figure, path)


# What is drawn


def _merge_repeated(blocks: Sequence[Block]) -> tuple[list[Block], dict[str, str]]:
    """Make one block of many alike in a row that only the next one reads; and their labels."""
    readers = Counter(source for block in blocks for source in block.sources)
    runs: list[list[Block]] = []
    for block in blocks:
        last = runs[-1][-1] if runs else None
        if (
            last
            and _same_form(last, block)
            and block.sources == (last.name,)
            and (readers[last.name] == 1)
        ):
            runs[-1].append(block)
        else:
            runs.append([block])
    kept: list[Block] = []
    labels: dict[str, str] = {}
    for run in runs:
        if len(run) < MANY:
            kept += run
            labels |= {block.name: block.name for block in run}
        else:  # it is called as the last of them is, which others may read
            kept.append(replace(run[-1], sources=run[0].sources))
            labels[run[-1].name] = f"{run[0].name} … {run[-1].name.rpartition('.')[2]}"
    return kept, labels


def _same_form(one: Block, other: Block) -> bool:
    return (one.kind, one.channels, one.shape) == (other.kind, other.channels, other.shape)


def _longest_way(blocks: Sequence[Block]) -> list[str]:
    """Names of the blocks on the longest way from the first block to the last."""
    ways: dict[str, list[str]] = {}
    for block in blocks:
        before = [ways[source] for source in block.sources if source in ways]
        ways[block.name] = [*max(before, key=len, default=[]), block.name]
    return ways[blocks[-1].name]


def _place(blocks: Sequence[Block], row: Sequence[str], labels: dict[str, str]) -> dict[str, Box]:
    by_name = {block.name: block for block in blocks}
    narrowest = min(row, key=lambda name: by_name[name].shape)  # the first of the smallest
    turn = row.index(narrowest)
    boxes: dict[str, Box] = {}
    x = 0.0
    for number, name in enumerate(row):
        width, height = _extent(by_name[name])
        room = max(width, PITCH)
        colour = DOWN if number <= turn else UP
        colour = {0: TILE, len(row) - 1: LOGITS}.get(number, colour)
        left = x + (room - width) / 2
        boxes[name] = Box(by_name[name], labels[name], left, 0, width, height, colour)
        x += room + GAP
    for block in blocks:
        feeder = next((boxes[source] for source in block.sources if source in boxes), None)
        if block.name not in boxes and feeder is not None:
            width, height = _extent(block)
            y = feeder.bottom - 2 * LANE - height / 2
            boxes[block.name] = Box(
                block, labels[block.name], feeder.middle - width / 2, y, width, height, UP
            )
    return boxes


def _extent(block: Block) -> tuple[float, float]:
    """Width and height of a box, in inches."""
    width = PER_ROOT_CHANNEL * block.channels**0.5
    return max(width, THINNEST), max(PER_ROOT_PIXEL * block.shape[0] ** 0.5, LOWEST)


# How it is drawn


def _right(box: Box) -> float:
    return box.x + box.width


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
                _right(box) + 0.05, box.y, box.label, fontsize=NAME_SIZE - 1.5, color=INK,
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
    left, right = -0.95, max(_right(box) for box in boxes) + 0.25
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
