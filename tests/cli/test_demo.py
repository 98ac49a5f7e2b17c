"""What the end of ``raymoe demo`` calls a feature."""

from __future__ import annotations

import pytest

from raymoe.cli.demo import _word
from raymoe.features.text_pieces import TextPiece


@pytest.mark.parametrize(
    ("position", "expected"),
    [(0, "'<s>'"), (1, "'dog'"), (2, "'|f|é'"), (3, "'f|é|'"), (4, "'fé|·|'"), (5, "'␣'")],
)
def test_a_piece_is_shown_inside_its_word(position, expected):
    pieces = [
        TextPiece("<s>", special=True),
        TextPiece("dog"),
        TextPiece("f"),
        TextPiece("é", True),
        TextPiece("", True),
        TextPiece(""),
    ]
    assert _word(pieces, position) == expected
