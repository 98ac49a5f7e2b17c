from __future__ import annotations

import pytest

from raymoe.display.words import is_right_to_left, written
from raymoe.features.text_pieces import TextPiece, pieces_by_marks


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(["[CLS]", "שלום"], True), (["[CLS]", "12", "مرحبا"], True), (["[CLS]", "hi"], False)],
)
def test_direction_is_that_of_the_first_letter(tokens, expected):
    found = pieces_by_marks(tokens, [t.startswith("[") for t in tokens])
    assert is_right_to_left(found) is expected


def test_white_space_is_where_it_is_in_the_text():
    text = "(dog)s, e-mail café"
    spans = [(0, 1), (1, 4), (4, 5), (5, 6), (6, 7), (8, 9), (9, 10), (10, 14), (15, 18), (18, 19), (18, 19)]
    found = [TextPiece(text[a:b], span=(a, b)) for a, b in spans[:-1]]
    found = [TextPiece("<s>", special=True), *found, TextPiece("", True, span=spans[-1])]
    assert written(found) == text


def test_without_spans_words_stand_apart_and_punctuation_does_not():
    tokens = ["[CLS]", "(", "play", "##ing", ")", ",", "dogs", "!", "[SEP]"]
    assert written(pieces_by_marks(tokens, [t.startswith("[") for t in tokens])) == "(playing), dogs!"
