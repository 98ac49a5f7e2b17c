"""Which words say little for themselves."""

from __future__ import annotations

import pytest

from raymoe.display.function_words import is_function_word, is_punctuation


@pytest.mark.parametrize(
    "word", ["the", "The", "OF", " and ", "it's", "It’s", "don't", "can't", "'s", "n't", "isn't"]
)
def test_function_words(word):
    assert is_function_word(word)
    assert not is_punctuation(word)


@pytest.mark.parametrize(
    "word", ["mouse", "cat's", "thee", "them-all", "der", "1", "", "'", "rock'n'roll", "faint"]
)
def test_words_that_say_something(word):
    assert not is_function_word(word)


@pytest.mark.parametrize("mark", [",", "...", "“", "«", "।", "、", "¿", "&", "$", "+", "--", "( )", "©", "؟"])
def test_punctuation_of_any_script(mark):
    assert is_punctuation(mark)
    assert not is_function_word(mark)


@pytest.mark.parametrize("text", ["", " ", "a.", "3", "שלום", "😀", "☂", "c++", "é"])
def test_what_is_no_punctuation(text):
    assert not is_punctuation(text)
