"""The words of a text, and the text without some of them: what masking at the input takes out.

A word is what the encoder's tokenizer takes for one, with all its pieces; a mark of punctuation is one, too.
The text is tokenised anew for that, as not every store says where in the text its pieces stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raymoe.config import EncoderConfig
from raymoe.errors import InputError
from raymoe.features.files import is_siglip, locate
from raymoe.features.text_pieces import words
from raymoe.features.tokenizing import Tokenizer


@dataclass(frozen=True)
class Word:
    """A word of a text.

    Attributes:
        text: as it is written.
        start, stop: its characters.
        positions: of its pieces in the stored sequence, the first and the one after the last.
    """

    text: str
    start: int
    stop: int
    positions: tuple[int, int]


class WordFinder:
    """Finds the words that a text encoder sees; loads its tokenizer and no weights.

    Raises:
        InputError: the tokenizer can't be had.
    """

    def __init__(self, config: EncoderConfig) -> None:
        files = locate(config.source)
        self._source = config.source
        self._tokenizer = Tokenizer(files.folder)
        if is_siglip(files):
            self._tokenizer.lower()
        self._dropped = int(config.drop_cls and self._tokenizer.puts_one_first)

    def words(self, text: str, length: int) -> list[Word]:
        """The words of a text whose stored sequence has ``length`` positions.

        Raises:
            InputError: the text does not have so many, or where its pieces stand is not known.
        """
        found = self._tokenizer([text], self._limit(length)).pieces
        pieces = (found or [[]])[0][self._dropped :]
        if len(pieces) != length or any(p.span is None and not p.special for p in pieces):
            raise InputError(
                f"{self._source} does not say where the {length} stored pieces of a text stand in it",
                "Encode again with --overwrite, or mask with zero vectors: --set probe.mask=zero.",
            )
        spans = [piece.span or (0, 0) for piece in pieces]
        return [
            Word(
                text[spans[word.start][0] : spans[word.stop - 1][1]],
                spans[word.start][0],
                spans[word.stop - 1][1],
                (word.start, word.stop),
            )
            for word in words(pieces)
        ]

    def is_cut(self, text: str, length: int) -> bool:
        """Whether the text has more than the ``length`` positions that are stored of it."""
        return 0 in self._tokenizer([text], self._limit(length)).cut

    def _limit(self, length: int) -> int:
        return max(1, length + self._dropped)


def seen_text(text: str, found: Sequence[Word], cut: bool) -> str:
    """The text as far as the encoder sees it: where it was cut, what lies behind must not move up."""
    return text[: found[-1].stop] if cut and found else text


def without(text: str, found: Sequence[Word], kept: np.ndarray) -> str:
    """The text with those words taken out that are not kept, each with the white space behind it.

    Without any word taken out it is the very same text; without any left it may be empty, and the encoder
    then sees what its tokenizer makes of nothing.

    Args:
        text: the whole.
        found: words, in order.
        kept: bool, one for each.
    """
    parts, at = [], 0
    for word, stays in zip(found, kept.tolist(), strict=True):
        if stays:
            continue
        parts.append(text[at : max(at, word.start)])
        at = max(at, word.stop)
        while at < len(text) and text[at].isspace():
            at += 1
    return "".join([*parts, text[at:]])
