"""Which words say little for themselves: English function words, and punctuation in any language.

A model can rely on them, and often does where they stand for the whole text; but a pair of "of" and a patch
explains nothing to a reader. So they are marked and can be hidden, and are never left out of what is
measured. The words are English alone; of other languages only punctuation is told.
"""

from __future__ import annotations

import unicodedata

_DETERMINERS = """a an the this that these those each every either neither some any no all both half such
    another other what whatever which whichever whose"""
_PRONOUNS = """i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his
    himself she her hers herself it its itself they them their theirs themselves one oneself who whoever whom
    someone somebody something anyone anybody anything everyone everybody everything nobody nothing none"""
_PREPOSITIONS = """about above across after against along amid among around as at before behind below beneath
    beside besides between beyond by despite down during except for from in inside into like near of off on
    onto out outside over past per since than through throughout till to toward towards under underneath until
    up upon via with within without"""
_CONJUNCTIONS = "and but or nor so yet if because although though unless whereas while whether"
_AUXILIARIES = """am is are was were be been being have has had having do does did doing done can could may
    might must shall should will would ought"""
_ADVERBS = """not n't there here then when where why how also too just only even very quite rather again ever
    never"""
# What is left of a word where a tokenizer cuts at the apostrophe: it's, we're, don't.
_REMAINS = "s t d ll m re ve don didn doesn isn aren wasn weren hasn haven hadn won wouldn couldn shouldn ain"
_ENGLISH = frozenset(
    " ".join(
        (_DETERMINERS, _PRONOUNS, _PREPOSITIONS, _CONJUNCTIONS, _AUXILIARIES, _ADVERBS, _REMAINS)
    ).split()
)
_APOSTROPHES = str.maketrans("’ʼ", "''")


def is_function_word(text: str) -> bool:
    """Whether a word is an English function word, in small or capital letters: the, of, and, it's.

    Args:
        text: a whole word; of a piece of one the answer means nothing ("the" of "the|rapy").
    """
    word = text.strip().translate(_APOSTROPHES).casefold()
    stem, apostrophe, rest = word.partition("'")
    if not apostrophe:
        return word in _ENGLISH
    if stem.endswith("n") and rest == "t":  # don't, isn't
        return stem in _ENGLISH or stem[:-1] in _ENGLISH or stem in ("can", "n")
    return rest in _ENGLISH and (not stem or stem in _ENGLISH)


def is_punctuation(text: str) -> bool:
    """Whether a text is made of punctuation and symbols alone, in any script: ``,``, ``«``, ``&``, ``।``.

    Emoji are symbols by Unicode but say something, so they are none. Nor is nothing at all.
    """
    seen = [character for character in text if not character.isspace()]
    return bool(seen) and all(_is_mark(character) for character in seen)


def _is_mark(character: str) -> bool:
    category = unicodedata.category(character)
    # Sm + < =, Sc $, Sk ^ `; of So only what Latin-1 has (© ° ¦): beyond it are emoji and drawings
    return category[0] == "P" or category in ("Sm", "Sc", "Sk") or (category == "So" and character < "\u0100")
