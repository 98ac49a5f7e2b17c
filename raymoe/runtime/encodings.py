"""Text files as editors and spreadsheets write them: the byte order mark says which Unicode it is."""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


def encoding_of(start: bytes) -> str:
    """The encoding that a file's first four bytes tell: UTF-8 where they are no byte order mark.

    Decoding with it takes the mark away.
    """
    return next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
