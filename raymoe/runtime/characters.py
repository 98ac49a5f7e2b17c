"""Text of other people's, made fit to be shown: nothing in it acts on a terminal, a page or a drawing.

Titles, ids and names come from tables of users; they hold what a tweet or a scraper left there.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

MARK = "\ufffd"  # stands for a character that can't be shown
# Controls (a terminal obeys them, XML forbids them), halves of surrogate pairs (no encoding has them),
# non-characters, and what turns the direction of all that comes after it.
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff]"
    "|[" + "".join(f"{chr(p << 16 | 0xFFFE)}{chr(p << 16 | 0xFFFF)}" for p in range(1, 17)) + "]"
)
_SPACES = re.compile("[\t\n\r\x0b\x0c\x85\u2028\u2029]+")
# What plain letters say as well, where an encoding lacks the sign.
PLAIN = {
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
    **dict.fromkeys("\u2018\u2019\u201a\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u2033", '"'),
    "±": "+-",
    "×": "x",
    "·": ".",
    "…": "...",
    "≤": "<=",
    "≥": ">=",
    "→": "->",
    "✓": "ok",
    "ρ": "rho",
    "§": "section ",
    "\u00a0": " ",
}
HANDLER = "raymoe.plain"  # of what an encoding lacks, a name for ``errors=``


def visible(text: str) -> str:
    """The text with a mark for each character that would act instead of being seen; lines and tabs stay."""
    return _ACTING.sub(MARK, text)


def one_line(text: str) -> str:
    """The same in one line: for a label, a name, a cell."""
    return visible(_SPACES.sub(" ", text))


def encodable(text: str, encoding: str) -> str:
    """The text as an encoding can write it: see ``PLAIN``; letters without their accents; else ``?``."""
    return text.encode(encoding, HANDLER).decode(encoding, "replace")


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    # In ASCII, which all have: of many encodings the error says no more than "charmap".
    return "".join(map(_in_ascii, error.object[error.start : error.end])), error.end


def _in_ascii(character: str) -> str:
    if character in PLAIN:
        return PLAIN[character]
    letter = unicodedata.normalize("NFD", character)[0]  # not NFKD, whose ½ begins with 1
    if letter.isascii():
        return letter
    return "" if unicodedata.combining(letter) else "?"


codecs.register_error(HANDLER, _plain)
