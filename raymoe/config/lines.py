"""In which line of a TOML file a field is, for messages: tomllib keeps no places."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence

_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*"
HEADER = re.compile(rf"^[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]")
KEY = re.compile(rf"^[ \t]*({_DOTTED})[ \t]*=")

Path = Sequence[int | str]


def line_of(text: str, path: Path) -> int | None:
    """The line, counted from 1, of a field or of the innermost table around it that has a line of its own.

    Args:
        text: a file that is TOML.
        path: names from the top, and the numbers of tables of an array, from 0.

    Returns:
        None where there is no such line.
    """
    best, length = None, 0
    for number, found in _places(text):
        if length < len(found) <= len(path) and list(path[: len(found)]) == found:
            best, length = number, len(found)
    return best if best is not None and _begins_here(text, best) else None


def _places(text: str) -> Iterator[tuple[int, list[int | str]]]:
    """Every line that looks like a header or a field, and where what it says is."""
    table: list[int | str] = []
    counts: Counter[tuple[int | str, ...]] = Counter()
    for number, line in enumerate(text.split("\n"), 1):
        header, key = HEADER.match(line), KEY.match(line)
        if header:
            table = _names(header[2])
            if header[1] == "[[":
                counts[tuple(table)] += 1
                table = [*table, counts[tuple(table)] - 1]
            else:  # a table of the last of an array's
                for end in range(len(table) - 1, 0, -1):
                    if tuple(table[:end]) in counts:
                        table.insert(end, counts[tuple(table[:end])] - 1)
            yield number, table
        elif key:
            yield number, [*table, *_names(key[1])]


def _names(dotted: str) -> list[int | str]:
    return [name.strip("\"'") for name in re.findall(_NAME, dotted)]


def _begins_here(text: str, number: int) -> bool:
    """Whether the line is none in the middle of a long string or a list."""
    try:
        tomllib.loads("\n".join(text.split("\n")[: number - 1]))
    except tomllib.TOMLDecodeError:
        return False
    return True
