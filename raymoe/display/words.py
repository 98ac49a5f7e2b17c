"""A text's pieces as running text, and which way it runs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from raymoe.display.function_words import is_function_word, is_punctuation
from raymoe.features.text_pieces import TextPiece, words


def written(found: Sequence[TextPiece]) -> str:
    """The pieces as running text, without special ones.

    White space is where it is in the text, or between words where the pieces' spans are not known.
    """
    shown = [piece for piece in found if not piece.special and piece.text]
    text, before = "", None
    for piece in shown:
        apart = not piece.joined
        if apart and before and before.span and piece.span:
            apart = before.span[1] < piece.span[0]
        text += f" {piece.text}" if apart and before else piece.text
        before = piece
    if any(piece.span for piece in shown):
        return text
    text = re.sub(r" ([.,;:!?)\]]+)(?= |$)", r"\1", text.strip())
    return re.sub(r"([(\[]) ", r"\1", text)


def minor_positions(found: Sequence[TextPiece]) -> list[int]:
    """Positions of the pieces of function words and of punctuation, in order."""
    minor: list[int] = []
    for word in words(found):
        text = "".join(found[i].text for i in word)
        if is_function_word(text) or is_punctuation(text):
            minor += word
    return minor


def is_right_to_left(found: Sequence[TextPiece]) -> bool:
    """Whether the first letter of the text is of a script that runs to the left; [CLS] has no say."""
    for character in "".join(piece.text for piece in found if not piece.special):
        direction = unicodedata.bidirectional(character)
        if direction in ("L", "R", "AL"):
            return direction != "L"
    return False
