"""Tables that are whole at any width: they wrap, or lack a column, but cut no name and no score."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.table import Table

#: Width of a screen that has none: a file, a pipe.
UNLIMITED = 10_000

GAP = 2  # blanks between columns


def results_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    texts: Sequence[str] = (),
    least: Sequence[str] = (),
    *,
    width: int = UNLIMITED,
) -> Table:
    """A plain table; every column but the first and the ``texts`` is right-aligned.

    Where it is too wide, headers and ``texts`` are wrapped at blanks. Where it is still too
    wide, columns are left out, and the table's last line says which. What no width can hold is
    folded within the words of the first column.

    Args:
        columns: Their names.
        rows: Cells; floats are shown with four decimals.
        texts: Columns of words.
        least: Columns that may be left out, the first one first.
        width: Of the screen, in characters.
    """
    cells = [[f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in r] for r in rows]
    shown = list(range(len(columns)))
    narrow, wide = _widths(columns, cells, texts)
    dropped: list[str] = []
    for name in least:
        if _total(narrow, shown) <= width:
            break
        shown.remove(list(columns).index(name))
        dropped.append(name)
    caption = f"left out for want of room: {', '.join(dropped)}" if dropped else None
    table = Table(
        box=None, pad_edge=False, padding=(0, GAP // 2), header_style="bold",
        caption=caption, caption_justify="left",
    )  # fmt: skip
    chosen = _fit(narrow, wide, shown, width)
    for number in shown:
        left = columns[number] in (columns[0], *texts)
        table.add_column(
            columns[number],
            justify="left" if left else "right",
            width=chosen[number],
            overflow="fold",
        )
    for row in cells:
        table.add_row(*(row[number] for number in shown))
    return table


def _widths(
    columns: Sequence[str], cells: Sequence[Sequence[str]], texts: Sequence[str]
) -> tuple[list[int], list[int]]:
    """The least width of each column that cuts no word, or no cell, and the one it would like."""
    narrow, wide = [], []
    for number, name in enumerate(columns):
        column = [row[number] for row in cells]
        unbroken = [word for cell in column for word in cell.split()] if name in texts else column
        narrow.append(max(map(cell_len, [*name.split(), *unbroken]), default=0))
        wide.append(max(map(cell_len, [name, *column]), default=0))
    return narrow, wide


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[number] for number in shown) + GAP * (len(shown) - 1)


def _fit(narrow: list[int], wide: list[int], shown: Sequence[int], width: int) -> list[int]:
    """Widths that fill the screen at most: room goes to the columns that want it, evenly."""
    chosen = list(narrow)
    room = width - _total(narrow, shown)
    if room < 0:  # names are folded rather than cut
        chosen[0] = max(1, chosen[0] + room)
    wanting = [number for number in shown if wide[number] > chosen[number]]
    while room > 0 and wanting:
        for number in wanting[: room or 1]:
            chosen[number] += 1
            room -= 1
            if not room:
                break
        wanting = [number for number in wanting if wide[number] > chosen[number]]
    return chosen
