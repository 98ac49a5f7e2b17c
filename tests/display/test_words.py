from __future__ import annotations

import pytest

from raymoe.display.words import is_right_to_left, text_pieces


@pytest.mark.parametrize(
    ("tokens", "text", "joined"),
    [
        (["play", "##ing", "#", "##"], ["play", "ing", "#", "##"], [0, 1, 0, 0]),
        (["play", "ing", "Ġhard"], ["play", "ing", "hard"], [0, 1, 0]),
        (["▁play", "ing", "▁hard"], ["play", "ing", "hard"], [0, 1, 0]),
        (["##ing"], ["ing"], [0]),
        ([], [], []),
    ],
)
def test_marks_of_pieces_are_taken_off(tokens, text, joined):
    found = text_pieces(tokens, [False] * len(tokens))
    assert [p.text for p in found] == text
    assert [p.joined for p in found] == [bool(j) for j in joined]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(["[CLS]", "שלום"], True), (["[CLS]", "12", "مرحبا"], True), (["[CLS]", "hi"], False)],
)
def test_direction_is_that_of_the_first_letter(tokens, expected):
    found = text_pieces(tokens, [t.startswith("[") for t in tokens])
    assert is_right_to_left(found) is expected
