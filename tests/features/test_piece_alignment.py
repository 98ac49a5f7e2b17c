"""Pieces without offsets, laid over their text: a span is right or it is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile import few

from raymoe.features.alignment import aligned

# Pieces of words and whether each is unknown to the vocabulary; few letters, so that much is ambiguous.
piece = st.tuples(st.text(st.sampled_from("aAbé猫"), min_size=1, max_size=3), st.booleans())
word = st.lists(piece, min_size=1, max_size=3)


def decode(tokens):
    return " ".join(tokens).replace("@@ ", "").strip()


def tokens_and_spans(words, gaps):
    """A text, its tokens as a tokenizer in Python has them, and where each really is."""
    text, tokens, spans = "", [], []
    for parts, gap in zip(words, gaps, strict=False):
        text += gap if text else ""
        for k, (part, unknown) in enumerate(parts):
            tokens.append("<unk>" if unknown else part.lower() + ("@@" if k < len(parts) - 1 else ""))
            spans.append((len(text), len(text) + len(part)))
            text += part
    return text, tokens, spans


@pytest.mark.hostile
@few(400)
@given(st.lists(word, max_size=5), st.lists(st.sampled_from([" ", "  ", "\n"]), min_size=5, max_size=5))
def test_a_span_is_the_true_one_or_none(words, gaps):
    text, tokens, spans = tokens_and_spans(words, gaps)
    found = aligned(text, ["<s>", *tokens], [True, *[False] * len(tokens)], decode)
    assert found[0].special
    for piece, token, span in zip(found[1:], tokens, spans, strict=True):
        assert piece.span in (None, span), (text, tokens)
        if piece.span:
            assert piece.text == text[slice(*span)]
        else:
            assert (piece.text, piece.joined) == (token.removesuffix("@@"), False)
    if "<unk>" not in tokens:
        assert all(piece.span for piece in found[1:]), (text, tokens)


@pytest.mark.hostile
@few(200)
@given(st.lists(word, min_size=1, max_size=5), st.integers(0, 6), st.sampled_from(["left", "right"]))
def test_of_a_text_that_was_cut_too(words, kept, side):
    text, tokens, spans = tokens_and_spans(words, [" "] * 5)
    kept = slice(max(0, len(tokens) - kept), None) if side == "left" else slice(0, kept)
    found = aligned(text, tokens[kept], [False] * len(tokens[kept]), decode, side)
    for piece, span in zip(found, spans[kept], strict=True):
        assert piece.span in (None, span), (text, tokens)


def test_what_is_between_two_unknown_pieces_is_found_where_there_is_one_place_only():
    def spans(text, *tokens):
        return [piece.span for piece in aligned(text, tokens, [False] * len(tokens), decode)]

    assert spans("xx dog yy", "<unk>", "dog", "<unk>") == [(0, 2), (3, 6), (7, 9)]
    assert spans("xx a a yy", "<unk>", "a", "<unk>") == [None, None, None]
    assert spans("dog, cat!", "dog", "cat") == [(0, 3), (5, 8)], "SigLIP leaves punctuation out"
    assert spans("dog cat", "dog", "bird") != [None, None], "an unknown piece may be anything"
    assert spans("dog cat", "cat", "dog") == [None, None]


def test_what_does_not_fit_is_shown_as_it_is():
    found = aligned("dog cat", ["cat", "dog"], [False, False], decode)
    assert [(piece.text, piece.joined, piece.span) for piece in found] == [
        ("cat", False, None),
        ("dog", False, None),
    ]
