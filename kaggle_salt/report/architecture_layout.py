"""Where the boxes of a network's drawing stand, and how large they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kaggle_salt.learning.networks.anatomy import Block

#: Fill of the boxes: the tile, on the way down, on the way up, the logits. After Okabe and Ito.
TILE, DOWN, UP, LOGITS = "#E8E8E4", "#9CCDEB", "#F3C77C", "#8FD3BE"

#: Inches: of a box with one channel, and with a map of one pixel; both grow with the root.
PER_ROOT_CHANNEL, PER_ROOT_PIXEL = 0.021, 0.15
THINNEST, LOWEST = 0.06, 0.2
PITCH, GAP = 0.42, 0.13  # room that a box has at least, and that between two
LANE = 0.17  # between two arrows that run side by side

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
    def right(self) -> float:
        return self.x + self.width

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        return self.y + self.height / 2

    @property
    def bottom(self) -> float:
        return self.y - self.height / 2


def lay_out(blocks: Sequence[Block]) -> tuple[list[str], dict[str, Box]]:
    """Put the blocks of a network in their places.

    Args:
        blocks: The input, then the network's blocks in the order they run. Many alike in a row
            become one box.

    Returns:
        The names of those on the longest way from the input to the last block, which stand in a
        row at height 0, and the box of each block by its name. Those beside that way hang below.
    """
    merged, labels = _merge_repeated(blocks)
    row = _longest_way(merged)
    return row, _place(merged, row, labels)


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
