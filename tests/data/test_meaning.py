"""What ids, splits and labels mean, held against a plain statement of the rule."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymoe.data.meaning import SPLITS, Labels, Problems, id_of, is_whole, split_of
from raymoe.task import Task

MULTILABEL, MULTICLASS, BINARY = (Task.named(n) for n in ("multilabel", "multiclass", "binary"))


def read(values, classes=("cat", "dog", "bird"), task=MULTILABEL, **how):
    """Indices, and what is wrong."""
    problems = Problems()
    found = Labels("labels", tuple(classes), task, **how).indices(values, problems)
    return found, problems.lines()


def right(values, *args, **how):
    found, lines = read(values, *args, **how)
    assert lines == []
    return found


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ([2, 0], [0, 2]),
        (["bird", "cat"], [0, 2]),
        ("cat|bird", [0, 2]),
        (" cat ; dog ", [0, 1]),
        ("['cat', \"dog\"]", [0, 1]),
        ("[0, 2]", [0, 2]),
        ("[]", []),
        ("", []),
        ("  ", []),
        ([], []),
        (1.0, [1]),
        ("1.0", [1]),
        (Decimal("2.00"), [2]),
        ([0.0, "1"], [0, 1]),
    ],
)
def test_labels_in_every_form(value, wanted):
    assert right([value]) == [wanted]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "no label"),
        (math.nan, "no label"),
        ([None], "null: neither"),
        ("cat||dog", "nothing between two separators"),
        (1.5, "'1.5' is neither a class name nor an index"),
        (3, "class 3 is outside 0..2"),
        (True, "'true' is not one of the classes"),
        ({"a": 1}, "neither"),
        (["cat", ["dog"]], "neither"),
        ([1, 0, 0], "class 0 is there twice"),
        ("['cat' 'dog']", "is not one of the classes"),
        ("\ud83d", "neither"),
        ("٢", "not one of the classes"),
    ],
)
def test_what_is_no_label_says_so(value, said):
    found, (line,) = read([["cat"], value])
    assert found == [[0], []]
    assert line.startswith("row 2, column labels: ")
    assert said in line


def test_a_class_misspelt_is_one_line_with_counts_and_the_classes():
    _, lines = read([["cat"], ["dgo"], ["dgo"], "horse"] + [["dgo"]] * 6)
    assert lines == [
        "rows 2, 3, 4, 5, 6, ... (9 in all), column labels: not one of the classes (cat, dog, bird): "
        "'dgo' (is it 'dog'?) (8 times), 'horse'"
    ]


@given(st.sampled_from([BINARY, MULTICLASS]), st.sampled_from(["", " ", None, [], "[]"]))
def test_a_task_of_one_label_has_no_sample_without(task, value):
    classes = ("a", "b")
    assert len(read([value], classes, task)[1]) == 1


NUMBERED = st.lists(st.integers(0, 9), min_size=2, max_size=6, unique=True).map(lambda n: [str(x) for x in n])
SPELLINGS = (int, str, float, lambda x: f" {x} ", lambda x: Decimal(x), lambda x: f"{x}.0")


@given(NUMBERED, st.data())
def test_classes_named_by_digits_have_one_reading_or_are_refused(classes, data):
    """The oracle tries both readings of the whole column; the spelling of a number changes nothing."""
    values = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=8))
    as_names = [classes.index(str(v)) if str(v) in classes else None for v in values]
    as_indices = [v if v < len(classes) else None for v in values]
    spelt = [data.draw(st.sampled_from(SPELLINGS))(v) for v in values]
    found, lines = read(spelt, classes, MULTICLASS)
    possible = [r for r in (as_names, as_indices) if None not in r]
    if possible and all(r == possible[0] for r in possible):
        assert lines == []
        assert found == [[i] for i in possible[0]]
    else:
        assert lines
    if len(possible) == 2 and as_names != as_indices:
        assert len(lines) == 1
        assert "labels_are" in lines[0]
    for are, reading in (("names", as_names), ("indices", as_indices)):
        found, lines = read(spelt, classes, MULTICLASS, are=are)
        assert bool(lines) == (None in reading)
        if not lines:
            assert found == [[i] for i in reading]


def test_both_readings_are_shown():
    _, lines = read([1, 0, 1], ("1", "0"), BINARY)
    assert lines == [
        "row 2, column labels: 0 is class '0' by name, but '1' by index (from 0): "
        'say labels_are = "names" or "indices" in [data]'
    ]


def test_a_name_in_the_column_tells_that_its_numbers_are_names():
    assert right([["1"], [2], ["none"]], ("none", "1", "2")) == [[1], [2], [0]]


@pytest.mark.parametrize("values", [[True, False], ["True", "False"], ["true", "false"], ["TRUE", " False "]])
def test_truth_values_are_classes_of_that_name(values):
    assert right(values, ("false", "true"), BINARY) == [[1], [0]]
    assert right(values, ("True", "False"), BINARY) == [[0], [1]]
    assert read(values, ("no", "yes"), BINARY)[1]
    assert len(read(values, ("True", "true"), BINARY)[1]) == 1  # which of them?


def test_names_that_hold_a_separator():
    assert right(["a|b", ["a|b"]], ("a|b", "c")) == [[0], [0]]
    assert "a name holds the separator" in read(["a|b"], ("a|b", "a", "b"))[1][0]
    assert right(["a|b", "a,b"], ("a|b", "a", "b"), separator=",") == [[0], [1, 2]]
    assert right(["a b", " b  a"], ("a", "b"), separator=" ") == [[0, 1], [0, 1]]
    assert "labels_separator" in read(["cat,dog", "dog, cat"])[1][0]


def test_a_0_or_1_per_class_is_never_taken_for_indices():
    for value in ([0, 1], [1, 0], "0|1"):
        assert "0 or 1 per class" in read([value] * 3, ("a", "b"))[1][0]
    assert "0 or 1 per class" in read([[0, 0, 1]])[1][0]
    assert right([[0, 1], [1]], ("a", "b")) == [[0, 1], [1]]


def test_names_of_the_file_are_names():
    assert right(["1", "2"], ("2", "1"), MULTICLASS, named=True) == [[1], [0]]
    assert "labels_are" in read(["neg"], ("negative", "positive"), BINARY, named=True)[1][0]


@given(st.text(max_size=20))
def test_an_id_is_text_as_it_is_written(text):
    if text.strip():
        assert id_of(text) == text
    else:
        with pytest.raises(ValueError, match="no id"):
            id_of(text)


@given(st.integers(-(10**30), 10**30))
def test_an_id_of_a_number_is_its_digits(number):
    assert id_of(number) == str(number)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "no id"),
        (math.nan, "no id"),
        (True, "bool"),
        ([1], "list"),
        ({}, "dict"),
        (1.5e18, "lost digits"),
        (math.inf, "lost digits"),
        ("great \ud83d", "surrogate"),
    ],
)
def test_what_is_no_id_says_so(value, said):
    with pytest.raises(ValueError, match=said):
        id_of(value)


@given(st.text(st.characters(exclude_categories=()), max_size=8))
def test_whole_texts_are_those_that_utf8_can_hold(text):
    assert is_whole(text) == (not any(0xD800 <= ord(c) < 0xE000 for c in text))


@given(st.sampled_from(sorted(SPLITS)), st.data())
def test_splits_go_by_several_names(name, data):
    written = "".join(data.draw(st.sampled_from([c, c.upper()])) for c in name)
    assert split_of(f" {written}") == SPLITS[name]


@pytest.mark.parametrize("value", ["holdout", None, 0, "", "training", ["train"]])
def test_other_splits_are_refused_with_the_known(value):
    with pytest.raises(ValueError, match=r"unknown split .*known: train, val"):
        split_of(value)
