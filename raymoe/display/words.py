"""How a tokenizer's pieces are written for people. Knows the three usual ways of marking pieces of words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TextPiece:
    """One position of a text: what to show, and whether it continues the word before it."""

    text: str
    joined: bool
    special: bool


def text_pieces(tokens: list[str], special: list[bool]) -> list[TextPiece]:
    """Strip the marks of WordPiece (``##ing``), SentencePiece (``▁word``) or byte-level BPE (``Ġword``)."""
    starts = next((mark for mark in ("Ġ", "▁") if any(t.startswith(mark) for t in tokens)), None)
    found: list[TextPiece] = []
    for token, is_special in zip(tokens, special, strict=True):
        first = not found or found[-1].special
        if is_special:
            found.append(TextPiece(token, False, True))
        elif starts:
            found.append(
                TextPiece(token.removeprefix(starts), not first and not token.startswith(starts), False)
            )
        else:
            continues = token.startswith("##") and len(token) > 2
            found.append(TextPiece(token[2:] if continues else token, continues and not first, False))
    return found


def written(found: Sequence[TextPiece]) -> str:
    """The pieces as running text, without special ones."""
    shown = [piece for piece in found if not piece.special]
    text = "".join(piece.text if piece.joined else f" {piece.text}" for piece in shown).strip()
    text = re.sub(r" ([.,;:!?)\]]+)(?= |$)", r"\1", text)
    return re.sub(r"([(\[]) ", r"\1", text)


def is_right_to_left(found: Sequence[TextPiece]) -> bool:
    """Whether the first letter of the text is of a script that runs to the left; [CLS] has no say."""
    for character in "".join(piece.text for piece in found if not piece.special):
        direction = unicodedata.bidirectional(character)
        if direction in ("L", "R", "AL"):
            return direction != "L"
    return False
