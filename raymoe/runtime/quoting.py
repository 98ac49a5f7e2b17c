"""Values of a user's data as messages show them: on one line, short, without a character that acts."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

WIDTH = 80  # characters of a value
LINE = 200  # of somebody else's message
NAMED_ROWS = 5

_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = _SHORT.maxdict = 6
_SHORT.maxstring = _SHORT.maxother = 40
_SHORT.maxlevel = 3


def quoted(value: object, width: int = WIDTH) -> str:
    """A value as it would be typed, in quotation marks where it is text; cut after ``width`` characters."""
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value):,} bytes"
    if isinstance(value, str):
        shown = repr(value[:width])  # escapes control characters, half surrogates and what has no glyph
        if len(value) <= width and len(shown) <= width + 2:
            return shown
        return f"{shown[:width]}... ({len(value):,} characters)"
    try:
        shown = _SHORT.repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return f"a very long {type(value).__name__}"
    return shown if len(shown) <= width else f"{shown[:width]}..."


def in_short(error: object, width: int = LINE) -> str:
    """A library's message on one line, cut, with what can't be printed escaped."""
    words = " ".join(str(error).split())
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in words[: width + 1])
    return text if len(text) <= width else f"{text[:width]}..."


def listed(names: Sequence[object], width: int = LINE) -> str:
    """Names after each other, as many as a line holds, and how many more there are."""
    shown: list[str] = []
    for name in names:
        plain = name if isinstance(name, str) and name.isprintable() and name == name.strip() else None
        text = plain if plain and len(plain) <= WIDTH else quoted(name)
        if shown and len(", ".join([*shown, text])) > width:
            return f"{', '.join(shown)} and {len(names) - len(shown):,} more"
        shown.append(text)
    return ", ".join(shown)


def rows_named(rows: Sequence[int]) -> str:
    """``row 3``, or ``rows 3, 5, 9 (12 in all)``: the first few."""
    if len(rows) == 1:
        return f"row {rows[0]}"
    first = ", ".join(map(str, rows[:NAMED_ROWS]))
    return f"rows {first}" if len(rows) <= NAMED_ROWS else f"rows {first}, ... ({len(rows):,} in all)"
