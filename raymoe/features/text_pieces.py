"""What a stored token is: a piece of a text, as it is shown, where it stands, and which word it belongs to.

One contract for every tokenizer. Of a text and its pieces in order:

* ``span`` is where in the text the letters are that a piece is made of, in characters. Spans go forward and
  overlap only where a letter is spread over pieces. None where it is not known.
* ``text`` is what a piece shows: the letters of its span as they stand in the text (not lower-cased, not
  normalised), each letter in the first piece that has a share of it. A letter is what a reader takes for one:
  with its accents, whole, however many bytes or code points it has. So nothing broken is shown, no letter
  twice, and the pieces one after another are the text without its white space. A piece with no letter of its
  own shows nothing: it continues the letter before (``joined``) or is white space.
* ``joined`` says that a piece belongs to the same word as the one before. Where words end is the tokenizer's
  to say, and white space always ends one. A piece of white space alone is no part of a word.
* ``special`` ones (CLS, SEP and their like) are not of the text: they show their own name and have no span.

Where the span is not known a piece is shown as its tokenizer writes it, and is not joined.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import regex

CONTINUES, BLANK = "·", "␣"  # stand for pieces without a letter of their own where something must be seen


@dataclass(frozen=True)
class TextPiece:
    """One position of a text; see the module."""

    text: str
    joined: bool = False
    special: bool = False
    span: tuple[int, int] | None = None

    @property
    def shown(self) -> str:
        """What stands for it where it must be seen: its text, or a mark."""
        return self.text or (CONTINUES if self.joined else BLANK)


@dataclass(frozen=True)
class Token:
    """What a tokenizer says of one position.

    Attributes:
        name: as in its vocabulary, or as it decodes it.
        special: added by the tokenizer.
        span: characters of the text that it is made from, white space included; None where unknown.
        word: number of its word; pieces of different words are never joined.
        blank: it stands for white space alone, whatever its span says.
    """

    name: str
    special: bool = False
    span: tuple[int, int] | None = None
    word: int | None = None
    blank: bool = False


class Letters:
    """The letters of a text: what a reader takes for one (Unicode's grapheme clusters).

    Attributes:
        spans: of each letter, in characters.
        white: of each letter, whether it is white space.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans = [found.span() for found in regex.finditer(r"\X", text)]
        self.white = [text[start:stop].isspace() for start, stop in self.spans]
        self._at = [i for i, (start, stop) in enumerate(self.spans) for _ in range(start, stop)]

    def within(self, start: int, stop: int) -> tuple[int, int]:
        """Numbers of the letters that characters ``start`` to ``stop`` touch, without white space around."""
        if start >= stop:
            first = self._at[start] if start < len(self._at) else len(self.spans)
            return first, first
        first, last = self._at[start], self._at[stop - 1] + 1
        while first < last and self.white[first]:
            first += 1
        while first < last and self.white[last - 1]:
            last -= 1
        return first, last

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Characters of the letters ``first`` to ``last``."""
        if first < last:
            return self.spans[first][0], self.spans[last - 1][1]
        at = self.spans[first][0] if first < len(self.spans) else len(self.text)
        return at, at

    def written(self, first: int, last: int) -> str:
        """The letters as they are shown: on one line, and nothing if none of them can be seen."""
        start, stop = self.span(first, last)
        shown = "".join(c for c in self.text[start:stop] if c.isspace() or unicodedata.category(c) != "Cc")
        seen = any(unicodedata.category(c) not in ("Cf", "Zs", "Zl", "Zp", "Cc") for c in shown)
        return " ".join(shown.split()) if seen else ""


def pieces_of(text: str, tokens: Sequence[Token]) -> list[TextPiece] | None:
    """The pieces of a text by what its tokenizer says of each.

    Returns:
        As many as tokens; None where spans are not within the text or go back, so that they can't be true.
    """
    letters = Letters(text)
    found: list[TextPiece] = []
    reached = last_start = 0  # letters that are shown already; where the piece before begins
    before: Token | None = None  # the piece before, where another can be joined to it
    for token in tokens:
        if token.special or token.span is None:
            found.append(TextPiece(token.name, False, token.special))
            before = None
            continue
        start, stop = token.span
        if not 0 <= start <= stop <= len(text):
            return None
        first, last = letters.within(start, stop)
        if (token.blank or first == last) and first < reached:  # within a letter that is shown already
            first = max(first, last_start)
            found.append(TextPiece("", before is not None, span=letters.span(first, reached)))
            last_start = first
            continue
        if token.blank or first == last:
            found.append(TextPiece("", span=letters.span(first, first)))
            before = None
            continue
        if first < last_start or last < reached:
            return None
        shares = first < reached
        together = before is not None and before.word == token.word and not any(letters.white[reached:first])
        own = letters.written(max(first, reached), last) if last > reached else ""
        joined = before is not None and (shares or together)
        found.append(TextPiece(own, joined, span=letters.span(first, last)))
        reached, last_start, before = last, first, token
    return found


def words(pieces: Sequence[TextPiece]) -> list[range]:
    """Positions of each word, in order; what is special or has no letter to show is of none."""
    found: list[range] = []
    for i, piece in enumerate(pieces):
        if piece.special:
            continue
        if piece.joined and found and found[-1].stop == i:
            found[-1] = range(found[-1].start, i + 1)
        else:
            found.append(range(i, i + 1))
    return [word for word in found if any(pieces[i].text for i in word)]


def word_at(pieces: Sequence[TextPiece], position: int) -> range:
    """Positions of the word that a piece belongs to: itself, where it is of none."""
    return next((word for word in words(pieces) if position in word), range(position, position + 1))


def pieces_by_marks(tokens: Sequence[str], special: Sequence[bool]) -> list[TextPiece]:
    """The pieces of tokens that were stored without spans, by their marks.

    These are ``##ing`` of WordPiece, ``▁word`` of SentencePiece, ``Ġword`` of byte-level BPE, and a space
    before a word where such marks were decoded.
    """
    starts = next((mark for mark in ("Ġ", "▁", " ") if any(t.startswith(mark) for t in tokens)), None)
    found: list[TextPiece] = []
    for token, is_special in zip(tokens, special, strict=True):
        first = not found or found[-1].special
        if is_special:
            found.append(TextPiece(token, False, True))
        elif starts:
            found.append(TextPiece(token.removeprefix(starts), not first and not token.startswith(starts)))
        else:
            continues = token.startswith("##") and len(token) > 2
            found.append(TextPiece(token[2:] if continues else token, continues and not first))
    return found
