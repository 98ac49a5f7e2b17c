"""Words and regions are taken out exactly, and nothing else is touched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.tiny_encoders import save_text_model

from raymoe.config import EncoderConfig
from raymoe.errors import InputError
from raymoe.features.masked_picture import MaskedPicture, region_boxes
from raymoe.features.masked_words import Word, WordFinder, seen_text, without

WHOLE = (0.0, 0.0, 1.0, 1.0)


def words_of(text):
    """Runs of letters, each a word."""
    found, start = [], None
    for i, letter in enumerate([*text, " "]):
        if letter.isspace():
            if start is not None:
                found.append(Word(text[start:i], start, i, (len(found), len(found) + 1)))
            start = None
        elif start is None:
            start = i
    return found


@given(st.text("ab ,\n", max_size=30), st.data())
def test_a_word_goes_with_the_space_behind_it_and_the_others_stay(text, data):
    words = words_of(text)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words))), dtype=bool)
    made = without(text, words, kept)
    assert made.split() == [word.text for word, stays in zip(words, kept, strict=True) if stays]
    if kept.all():
        assert made == text


def test_what_is_left_of_a_text():
    words = words_of("the dog  barks, loud")
    cases = {"1111": "the dog  barks, loud", "0111": "dog  barks, loud", "1011": "the barks, loud"}
    for kept, left in {**cases, "1110": "the dog  barks, ", "0000": ""}.items():
        assert without("the dog  barks, loud", words, np.array([k == "1" for k in kept])) == left


def test_what_an_encoder_cuts_off_does_not_move_up():
    words = words_of("the dog barks loud")[:2]
    assert seen_text("the dog barks loud", words, cut=True) == "the dog"
    assert seen_text("the dog barks loud", words, cut=False) == "the dog barks loud"


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5-encoder", "llama"])
def test_words_are_where_the_tokenizer_sees_them(tmp_path, name):
    """Every family's pieces make whole words, whose letters are the text's own."""
    save_text_model(tmp_path, name)
    finder = WordFinder(EncoderConfig(source=f"hf:{tmp_path}"))
    text = "Der Hund läuft, schnell"
    length = len(finder._tokenizer([text], 10_000).pieces[0])
    found = finder.words(text, length)
    assert [text[word.start : word.stop] for word in found] == [word.text for word in found]
    assert {"Hund", "schnell"} <= {word.text for word in found}
    assert "".join(word.text for word in found) == "DerHundläuft,schnell"
    assert not finder.is_cut(text, length)
    assert finder.is_cut(text, length - 2)
    with pytest.raises(InputError, match="does not say where the"):
        finder.words(text, length + 3)


@given(
    size=st.tuples(st.integers(7, 40), st.integers(7, 40)),
    seen=st.sampled_from([WHOLE, (0.25, 0.0, 0.75, 1.0), (0.1, 0.2, 0.95, 0.8)]),
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    fill=st.sampled_from(["white", "mean", "blur"]),
    data=st.data(),
)
def test_regions_are_filled_and_the_rest_stays(size, seen, grid, fill, data):
    pixels = np.random.default_rng(0).integers(0, 250, (size[1], size[0], 3)).astype(np.uint8)
    boxes = region_boxes(seen, *grid)
    masked = MaskedPicture(Image.fromarray(pixels), boxes, fill)
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(boxes), max_size=len(boxes))))
    made = np.asarray(masked.without(kept))
    times = np.zeros(size[::-1], dtype=int)  # how many regions a pixel is in
    changed = np.zeros(size[::-1], dtype=bool)
    for (left, top, right, bottom), stays in zip(masked.pixels, kept, strict=True):
        times[top:bottom, left:right] += 1
        changed[top:bottom, left:right] = not stays
    left, top, right, bottom = (round(f * size[i % 2]) for i, f in enumerate(seen))
    assert (times[top:bottom, left:right] == 1).all()  # regions divide what is seen
    assert times.sum() == times[top:bottom, left:right].size
    assert (made[~changed] == pixels[~changed]).all()
    if fill == "white":
        assert (made[changed] == 255).all()
    if fill == "mean":
        assert (made[changed] == np.rint(pixels.reshape(-1, 3).mean(0))).all()
    assert (np.asarray(masked.picture) == pixels).all()


def test_a_blurred_region_has_lost_what_was_in_it():
    pixels = np.zeros((60, 60, 3), np.uint8)
    pixels[::2] = 255
    masked = MaskedPicture(Image.fromarray(pixels), region_boxes(WHOLE, 2, 2), "blur")
    left = np.asarray(masked.without(np.array([False, True, True, True])))[5:25, 5:25]
    assert np.abs(np.diff(left[..., 0].astype(float), axis=0)).max() < 5  # it was 255


def test_a_picture_with_fewer_pixels_than_regions_is_refused():
    with pytest.raises(ValueError, match="2 x 9 pixels"):
        MaskedPicture(Image.new("RGB", (2, 9)), region_boxes(WHOLE, 3, 3), "white")
