"""Values in messages are short and printable, whatever they are."""

from hypothesis import given
from hypothesis import strategies as st

from raymoe.runtime.quoting import LINE, WIDTH, in_short, listed, quoted, rows_named

ANY = st.text(st.characters(exclude_categories=()), max_size=300)
VALUES = st.recursive(
    ANY | st.binary(max_size=300) | st.integers() | st.floats() | st.none(),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(ANY, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_is_short_and_on_one_line(value):
    shown = quoted(value)
    assert len(shown) <= WIDTH + 30
    assert shown.isprintable()
    shown.encode()


@given(ANY)
def test_a_short_text_can_be_read_back(text):
    if len(repr(text)) <= WIDTH:
        assert eval(quoted(text)) == text


@given(ANY)
def test_a_librarys_message_is_one_line(text):
    shown = in_short(text)
    assert len(shown) <= LINE + 3
    assert shown.isprintable()


@given(st.lists(ANY, min_size=1, max_size=50))
def test_a_list_is_as_much_as_a_line_holds(names):
    shown = listed(names)
    assert len(shown) <= LINE + WIDTH + 50
    assert shown.isprintable()


def test_what_is_left_out_is_counted():
    assert listed([f"name{i}" for i in range(100)]).endswith(" and 74 more")
    assert rows_named([3]) == "row 3"
    assert rows_named([3, 8]) == "rows 3, 8"
    assert rows_named(range(1, 13)) == "rows 1, 2, 3, 4, 5, ... (12 in all)"
    assert quoted(b"x" * 5000) == "5,000 bytes"
    assert quoted(10**5000).startswith("a very long int") or len(quoted(10**5000)) <= WIDTH + 30
