"""What a stored token shows, which word it is of and where it stands, for every family of tokenizers."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st
from support.hostile import few
from support.tiny_encoders import TOKENIZERS

from raymoe.display.words import written
from raymoe.features.text_pieces import Letters, TextPiece, pieces_by_marks, word_at, words
from raymoe.features.tokenizing import Tokenizer

SENTENCE = "dog dogs, café 猫 #tag"


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    root = tmp_path_factory.mktemp("tokenizers")
    for name, save in TOKENIZERS.items():
        save(root / name)
    return {name: Tokenizer(root / name) for name in TOKENIZERS}


def pieces_of(tokenizer, text, limit=10_000):
    found = tokenizer([text], limit)
    assert len(found.pieces[0]) == len(found.tokens[0]) == int(found.valid_BT.sum())
    assert [piece.special for piece in found.pieces[0]] == found.special_BT[0].tolist()
    return found.pieces[0]


def shown_words(pieces):
    return ["".join(pieces[i].text for i in word) for word in words(pieces)]


def visible(text):
    """A text as a reader sees it: no white space, nothing that can't be seen."""
    return "".join(c for c in text if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bert", ["dog", "dogs", ",", "café", "猫", "#", "tag"]),
        ("gpt2", ["dog", "dogs", ",", "café", "猫", "#", "tag"]),
        ("roberta", ["dog", "dogs", ",", "café", "猫", "#", "tag"]),
        ("clip", ["dog", "dogs", ",", "café", "猫", "#", "tag"]),
        ("unigram", ["dog", "dogs,", "café", "猫", "#tag"]),  # words by white space alone
        ("unigram-bytes", ["dog", "dogs,", "café", "猫", "#tag"]),
        ("llama", ["dog", "dogs,", "café", "猫", "#tag"]),
        ("byt5", ["dog", "dogs,", "café", "猫", "#tag"]),
        ("phobert", ["dog", "dogs,", "café", "猫", "#tag"]),
    ],
)
def test_words_are_whole_in_every_family(tokenizers, name, expected):
    pieces = pieces_of(tokenizers[name], SENTENCE)
    assert shown_words(pieces) == expected
    assert len([p for p in pieces if not p.special]) >= len(expected)


@pytest.mark.parametrize("name", list(TOKENIZERS))
def test_pieces_written_out_are_the_text(tokenizers, name):
    """What the page's list of samples shows and its search looks at."""
    assert written(pieces_of(tokenizers[name], SENTENCE)) == SENTENCE


@pytest.mark.parametrize("name", ["gpt2", "roberta", "clip", "llama", "byt5"])
def test_a_letter_of_several_bytes_is_shown_once_and_whole(tokenizers, name):
    pieces = pieces_of(tokenizers[name], "ca\u00e9 x \u732b")
    at, cat = (next(i for i, p in enumerate(pieces) if p.text == letter) for letter in "é猫")
    assert [(p.text, p.joined, p.span) for p in pieces[at : at + 2]] == [
        ("é", True, (2, 3)),
        ("", True, (2, 3)),
    ]
    assert [(p.text, p.joined, p.span) for p in pieces[cat : cat + 3]] == [
        ("猫", False, (6, 7)),
        ("", True, (6, 7)),
        ("", True, (6, 7)),
    ]
    assert [p.shown for p in pieces[cat : cat + 3]] == ["猫", "·", "·"]


@pytest.mark.parametrize("name", ["gpt2", "roberta"])
def test_a_piece_that_ends_within_a_letter_has_it(tokenizers, name):
    pieces = [p for p in pieces_of(tokenizers[name], "fés") if not p.special]
    assert [(p.text, p.joined, p.span) for p in pieces] == [
        ("fé", False, (0, 2)),
        ("", True, (1, 2)),
        ("s", True, (2, 3)),
    ]


def test_what_is_shown_are_the_texts_own_letters(tokenizers):
    """Lower case, accents, compatibility forms and unknown letters are the tokenizer's business."""
    assert shown_words(pieces_of(tokenizers["bert"], "Café DOGS ☃")) == ["Café", "DOGS", "☃"]
    assert shown_words(pieces_of(tokenizers["clip"], "CAFE\u0301 İ")) == ["CAFE\u0301", "İ"]
    assert shown_words(pieces_of(tokenizers["unigram"], "ﬁ Ａ e\u0301")) == ["ﬁ", "Ａ", "e\u0301"]


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text(
    st.sampled_from("dogs ,café猫犬#tag\n\t▁Ġ\u0301\u200d👩👧🏽ﬁİßé'-.\u00a0\u3000<>/|@"), max_size=40
)


@pytest.mark.parametrize("name", list(TOKENIZERS))
@pytest.mark.hostile
@few(150)
@example(SENTENCE)
@example("👩🏽‍👧 e\u0301e\u0301 \u0301")
@example("a\x00b\x85c\u200bd\u3000e")
@example("0\x1b\U0001cf00")
@example("▁▁ ▁dog Ġ </s> <s> [SEP] <0xE7> ## @@ ##ing")
@given(text=text)
def test_nothing_is_broken_doubled_or_out_of_place(tokenizers, name, text):
    pieces = [piece for piece in pieces_of(tokenizers[name], text) if not piece.special]
    assert "\ufffd" in text or not any("\ufffd" in piece.text for piece in pieces)
    known = [piece for piece in pieces if piece.span]
    for before, after in itertools.pairwise(known):
        assert before.span[0] <= after.span[0]
        assert before.span[1] <= after.span[1]
    assert all(0 <= piece.span[0] <= piece.span[1] <= len(text) for piece in known)
    assert not any(piece.joined for piece in pieces if not piece.span)
    for piece in known:  # what it shows stands where it says
        assert visible(piece.text) in visible(text[slice(*piece.span)])
    shown = "".join(piece.text for piece in pieces)
    if name == "phobert":  # of which not every piece has a span
        return
    assert len(known) == len(pieces)
    # Tokenizers may drop what has no place in their vocabulary; what they keep is there once, and in order.
    covered = {i for piece in known for i in range(*piece.span)}
    assert visible(shown) == visible("".join(c for i, c in enumerate(text) if i in covered))
    # A control character parts letters that are one where the tokenizer drops it.
    spoken = regex.sub(r"\p{Cc}", "", text)
    letters = {visible(letter) for said in (text, spoken) for letter in regex.findall(r"\X", said)}
    assert all(visible(letter) in letters for p in known for letter in regex.findall(r"\X", p.text))
    if name in ("gpt2", "roberta", "llama"):
        assert visible(shown) == visible(text)


@pytest.mark.parametrize("name", ["unigram", "llama", "gpt2", "byt5"])
@pytest.mark.hostile
@few(100)
@given(parts=st.lists(st.text(st.sampled_from("dogscafé猫"), min_size=1, max_size=6), max_size=6))
def test_white_space_ends_words_and_nothing_else_among_letters(tokenizers, name, parts):
    pieces = pieces_of(tokenizers[name], " ".join(parts))
    assert shown_words(pieces) == parts


@pytest.mark.parametrize("name", ["bert", "clip"])
@pytest.mark.hostile
@few(100)
@given(parts=st.lists(st.text(st.sampled_from("dogscaf"), min_size=1, max_size=6), max_size=6))
def test_punctuation_is_a_word_where_the_tokenizer_says_so(tokenizers, name, parts):
    pieces = pieces_of(tokenizers[name], ", ".join(parts))
    expected = [word for part in parts for word in (part, ",")][: 2 * len(parts) - 1] if parts else []
    assert shown_words(pieces) == expected


@pytest.mark.parametrize("name", list(TOKENIZERS))
def test_a_text_that_is_cut_shows_its_beginning(tokenizers, name):
    text = "dog café, dogs " * 20
    pieces = [p for p in pieces_of(tokenizers[name], text, limit=12) if not p.special]
    shown = "".join(p.text for p in pieces)
    assert len(pieces) <= 12
    assert shown
    assert visible(text).startswith(shown)


def test_the_word_of_a_piece():
    pieces = [
        TextPiece("[CLS]", special=True),
        TextPiece("dog"),
        TextPiece("s", True),
        TextPiece(""),
        TextPiece("a"),
    ]
    assert [list(word_at(pieces, i)) for i in range(5)] == [[0], [1, 2], [1, 2], [3], [4]]
    assert [list(word) for word in words(pieces)] == [[1, 2], [4]]


def test_letters_are_what_readers_take_for_letters():
    text = "e\u0301👩🏽\u200d👧 क\u093f"
    assert [text[a:b] for a, b in Letters(text).spans] == ["e\u0301", "👩🏽\u200d👧", " ", "क\u093f"]


@pytest.mark.parametrize(
    ("tokens", "text", "joined"),
    [
        (["play", "##ing", "#", "##"], ["play", "ing", "#", "##"], [0, 1, 0, 0]),
        (["play", "ing", "Ġhard"], ["play", "ing", "hard"], [0, 1, 0]),
        (["▁play", "ing", "▁hard"], ["play", "ing", "hard"], [0, 1, 0]),
        ([" play", "ing", " hard"], ["play", "ing", "hard"], [0, 1, 0]),
        (["##ing"], ["ing"], [0]),
        ([], [], []),
    ],
)
def test_marks_of_pieces_that_were_stored_without_spans(tokens, text, joined):
    found = pieces_by_marks(tokens, [False] * len(tokens))
    assert [p.text for p in found] == text
    assert [p.joined for p in found] == [bool(j) for j in joined]
