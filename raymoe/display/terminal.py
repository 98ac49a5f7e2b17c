"""What is shown of an experiment, in a terminal or a log: the page's tables, without its figures.

A log has no width, so every row is a line there. In a terminal that is too narrow, words and intervals are
folded; numbers stay whole.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import zip_longest

from rich.cells import cell_len
from rich.text import Text

from raymoe.display.sheets import Amount, Cell, Sheet
from raymoe.display.shown import Shown
from raymoe.runtime.progress import console

PROSE = 88  # characters of a line at most
HEAD = 13  # a longer word of a head is divided


def print_shown(title: str, shown: Shown) -> None:
    """Print tables, notes and finding under a title."""
    for sheet in shown.sheets:
        _print_prose(f"{title}. {sheet.caption}", "bold")
        for line in lines_of(sheet, console.width if console.is_terminal else None):
            console.print(line)
    for note in shown.notes:
        _print_prose(note)
    if shown.finding:
        _print_prose(shown.finding)


def lines_of(sheet: Sheet, width: int | None = None) -> list[Text]:
    """The sheet in columns; the first cell of blocks of several rows has a line of its own.

    Args:
        sheet: the table.
        width: of the terminal; by default lines are as long as they have to be.
    """
    blocks = any(not sheet.begins_block(i) for i in range(len(sheet.rows)))
    first, indent = (1, "  ") if blocks else (0, "")
    heads, right = sheet.columns[first:], sheet.numeric[first:]
    rows = [tuple(map(_parts, row[first:])) for row in sheet.rows]
    for row in rows:
        row[0][:1] = [indent + part for part in row[0][:1]]
    widths, gap = _widths(heads, rows, width)
    lines = [
        Text(line)
        for line in _placed(
            [_folded(_words(h), n) for h, n in zip(heads, widths, strict=True)], widths, right, gap, low=True
        )
    ]
    for i, row in enumerate(rows):
        if blocks and sheet.begins_block(i):
            lines.append(Text(str(sheet.rows[i][0]), style="bold"))
        cells = [_folded(parts, n) for parts, n in zip(row, widths, strict=True)]
        lines += map(Text, _placed(cells, widths, right, gap))
    return lines


Parts = list[str]  # of a cell: what stays whole


def _parts(cell: Cell) -> Parts:
    """Words, and of an amount its value and its interval."""
    if not isinstance(cell, Amount):
        return str(cell).split()
    value, bracket, interval = str(cell).partition(" (")
    return [value, f"({interval}"] if bracket else [value]


def _words(head: str) -> Parts:
    """A head's words, long ones in two."""
    found = []
    for word in head.split():
        found += [word] if len(word) <= HEAD else [f"{word[: HEAD - 1]}-", word[HEAD - 1 :]]
    return found


def _widths(
    heads: tuple[str, ...], rows: list[tuple[Parts, ...]], limit: int | None
) -> tuple[list[int], int]:
    """The width of every column, and the gap between two: as wide as its cells, and its head's longest word.

    Where that is more than the limit the gap is smaller, and the widest columns are as narrow as they can be.
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(heads)
    words = [max(map(cell_len, _words(head)), default=0) for head in heads]
    whole = [
        max([w, *(cell_len(" ".join(c)) for c in column)]) for w, column in zip(words, columns, strict=True)
    ]
    least = [
        max([w, *(cell_len(p) for c in column for p in c)]) for w, column in zip(words, columns, strict=True)
    ]
    gap = 2 if limit is None or sum(whole) + 2 * (len(whole) - 1) <= limit else 1
    for i in sorted(range(len(whole)), key=lambda i: -whole[i]):
        over = 0 if limit is None else sum(whole) + gap * (len(whole) - 1) - limit
        whole[i] = max(least[i], whole[i] - max(over, 0))
    return whole, gap


def _folded(parts: Parts, width: int) -> list[str]:
    """The lines of a cell."""
    lines: list[str] = []
    for part in parts:
        if lines and cell_len(f"{lines[-1]} {part}") <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


def _placed(
    cells: list[list[str]], widths: list[int], right: list[bool], gap: int, *, low: bool = False
) -> Iterator[str]:
    """Cells of several lines side by side; with ``low`` their last lines are in one row, else their first."""
    if low:
        most = max(map(len, cells))
        cells = [[""] * (most - len(cell)) + cell for cell in cells]
    for parts in zip_longest(*cells, fillvalue=""):
        padded = [_padded(*column) for column in zip(parts, widths, right, strict=True)]
        yield (" " * gap).join(padded).rstrip()


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def _print_prose(text: str, look: str = "") -> None:
    for line in textwrap.wrap(text, min(PROSE, console.width)):
        console.print(Text(line, style=look))
