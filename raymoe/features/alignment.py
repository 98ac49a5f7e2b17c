"""Where the pieces of a tokenizer that gives no offsets stand in a text.

Each piece is decoded alone (or with its neighbours, where a letter is spread over several), and all of them
are laid over the text in order, without a gap but for white space. What is compared are bare letters: without
accents, case, compatibility forms, white space and what can't be seen, since tokenizers change those. A piece
whose letters are nowhere in the text (an unknown one) may stand for any letters. A piece gets a span only
where every way of laying them all over the text gives it the same one; so a span is right or it is missing.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

from raymoe.features.text_pieces import Letters, TextPiece, Token, pieces_of

LONGEST_LETTER = 8  # tokens that a letter may be spread over
_MARKS = ("▁", "Ġ", "##")


def aligned(
    text: str,
    tokens: Sequence[str],
    special: Sequence[bool],
    decode: Callable[[Sequence[str]], str],
    cut: str | None = None,
) -> list[TextPiece]:
    """The pieces of a text, by what the tokens look like.

    Args:
        text: what was tokenised.
        tokens: as in the vocabulary, special ones included.
        special: which of them the tokenizer added.
        decode: text of tokens.
        cut: ``left`` or ``right``, where the tokens are not the whole text.
    """
    decode = _remembered(decode)
    of_text = [i for i, added in enumerate(special) if not added]
    units = _units([tokens[i] for i in of_text], decode)
    letters = Letters(text)
    spans: list[tuple[int, int] | None] = [None] * len(units)
    for dropped in ("", string.punctuation):  # some tokenizers (SigLIP's) leave punctuation out
        found = _laid(letters, [surfaces for _, surfaces in units], dropped, cut)
        if found is not None:
            spans = found
            break
    made = [Token(token, added) for token, added in zip(tokens, special, strict=True)]
    word = at = 0
    for (size, surfaces), span in zip(units, spans, strict=True):
        for k, i in enumerate(of_text[at : at + size]):
            follows = i > 0 and not special[i - 1]
            if not (follows and (k or _one_word(tokens[i - 1], tokens[i], decode))):
                word += 1
            mine = span
            if span is not None and k < size - 1:  # a share of the letter that the last of them completes
                first, last = letters.within(*span)
                mine = letters.span(first, min(first + 1, last))
            shown = surfaces[0] if surfaces and k == 0 else ""
            blank = bool(surfaces) and not any(map(_bare, surfaces))
            made[i] = Token(shown, False, mine, word, blank)
        at += size
    pieces = pieces_of(text, made)
    if pieces is None:  # letters in another order than the pieces
        return [TextPiece(token.name, False, token.special) for token in made]
    return pieces


def _remembered(decode: Callable[[Sequence[str]], str]) -> Callable[[Sequence[str]], str]:
    known = lru_cache(maxsize=1024)(lambda tokens: decode(list(tokens)))
    return lambda tokens: known(tuple(tokens))


def _units(tokens: list[str], decode: Callable[[Sequence[str]], str]) -> list[tuple[int, list[str]]]:
    """Tokens that make whole letters together: how many, and what letters they may stand for."""
    units: list[tuple[int, list[str]]] = []
    at = 0
    while at < len(tokens):
        size, surface = 1, decode(tokens[at : at + 1])
        if not _whole(surface) and not _is_blank(tokens[at]):
            for longer in range(2, min(LONGEST_LETTER, len(tokens) - at) + 1):
                together = decode(tokens[at : at + longer])
                if _whole(together):
                    size, surface = longer, together
                    break
        # What decodes to nothing, the first bytes of a letter that was cut, may be any letter.
        units.append((size, _surfaces(surface) if _whole(surface) or _is_blank(tokens[at]) else []))
        at += size
    return units


def _whole(surface: str) -> bool:
    return bool(surface) and "\N{REPLACEMENT CHARACTER}" not in surface


def _is_blank(token: str) -> bool:
    return not token.strip("▁Ġ \t\n\r")


def _surfaces(surface: str) -> list[str]:
    """What a decoded token may stand for: its text with and without the marks of a word's pieces."""
    bare = surface.strip()
    for mark in _MARKS:
        bare = bare.removeprefix(mark)
    bare = bare.removesuffix("@@").removesuffix("</w>")
    return list(dict.fromkeys((bare, surface.strip())))


def _one_word(before: str, token: str, decode: Callable[[Sequence[str]], str]) -> bool:
    """Whether two neighbouring pieces are written as one word."""
    return not any(c.isspace() for c in decode([before, token]).strip())


@lru_cache(maxsize=1 << 14)
def _bare(text: str) -> str:
    """Letters without accents, case, compatibility forms, white space and what can't be seen."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(
        c for c in plain if not c.isspace() and unicodedata.category(c)[0] not in "MC" and c != "▁"
    )


def _laid(
    letters: Letters, pieces: list[list[str]], dropped: str, cut: str | None
) -> list[tuple[int, int] | None] | None:
    """A span for each piece that can stand at one place only; None where they can't be laid over the text.

    Places are bits: bit x of ``ahead[i]`` says that the first i pieces can end before bare character x of the
    text, and bit x of ``back[i]`` that the rest can begin there.
    """
    without = str.maketrans("", "", dropped)
    of_letter = [_bare(letters.text[start:stop].translate(without)) for start, stop in letters.spans]
    bare = "".join(of_letter)
    owner = [i for i, found in enumerate(of_letter) for _ in found]
    everywhere = (1 << (len(bare) + 1)) - 1
    options: list[list[tuple[int, int]] | None] = []  # per piece: lengths and where such letters stand
    for surfaces in pieces:
        plain = dict.fromkeys(_bare(surface.translate(without)) for surface in surfaces)
        found = [(len(p), _places(bare, p)) for p in plain]
        options.append([(size, places) for size, places in found if places] or None)

    ahead = [everywhere if cut == "left" else 1]
    for option in options:
        reached = 0
        if option is None:  # anything, but at least one letter
            lowest = ahead[-1] & -ahead[-1]
            reached = everywhere & ~((lowest << 1) - 1) if lowest else 0
        for size, places in option or []:
            reached |= (ahead[-1] & places) << size
        ahead.append(reached)
    back = [everywhere if cut == "right" else 1 << len(bare)]
    for option in reversed(options):
        reached = 0
        if option is None:
            reached = (1 << max(0, back[-1].bit_length() - 1)) - 1
        for size, places in option or []:
            reached |= (back[-1] >> size) & places
        back.append(reached)
    back.reverse()
    ends = [a & b for a, b in zip(ahead, back, strict=True)]
    if not all(ends):
        return None
    spans: list[tuple[int, int] | None] = []
    for first, last in pairwise(ends):
        if first & (first - 1) or last & (last - 1):  # several ways
            spans.append(None)
            continue
        start, stop = first.bit_length() - 1, last.bit_length() - 1
        if start == stop:
            at = letters.spans[owner[start]][0] if start < len(owner) else len(letters.text)
            spans.append((at, at))
        else:
            spans.append(letters.span(owner[start], owner[stop - 1] + 1))
    return spans


def _places(text: str, part: str) -> int:
    """Bits of the places where a part stands in a text."""
    if not part:
        return (1 << (len(text) + 1)) - 1
    found, at = 0, text.find(part)
    while at >= 0:
        found |= 1 << at
        at = text.find(part, at + 1)
    return found
