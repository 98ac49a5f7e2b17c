"""Random hostile input: how much of it is tried, and the texts that people have and tools trip over."""

from hypothesis import settings
from hypothesis import strategies as st


def few(usual: int) -> settings:
    """So many examples in the suite; under ``make test-hostile`` as many as its profile says."""
    if settings.get_current_profile_name() == "hostile":
        return settings()
    return settings(max_examples=usual)


# What somebody's format, terminal or font gives a meaning of its own.
PIECES = (
    *(
        "</script>",
        "<!--",
        "-->",
        "]]>",
        "&amp;",
        "&",
        "<b>",
        '"',
        "'",
        "`",
        "$x_1$",
        "$",
        r"\alpha",
        "\\",
        "%s",
        "{}",
    ),
    *(
        "{{ 7 * 7 }}",
        "{% raw %}",
        "~",
        "^",
        "_",
        "#",
        "[red]",
        "[/]",
        "[bold",
        ":smile:",
        "--",
        "---",
        "..",
        "/",
        "a/b",
    ),
    *(
        ",",
        ";",
        "|",
        "\t",
        "\n",
        "\r",
        "\r\n",
        "\x00",
        "\x07",
        "\x1b[31m",
        "\x1b]0;title\x07",
        "\x7f",
        "\x85",
        "\x9b",
    ),
    *(
        "\u2028",
        "\u202e",
        "\u2066",
        "\u200f",
        "\ufeff",
        "\ufffe",
        "\uffff",
        "\u0301",
        "\u00a0",
        "é",
        "ß",
        "−",
        "±",
        "…",
    ),
    *(
        "漢字",
        "かな",
        "한국",
        "שלום",
        "مرحبا",
        "नमस्ते",
        "😀",
        "👩‍👩‍👧",
        "𝔘",
        "NaN",
        "null",
        "=1+1",
        "CON",
        " ",
        "dog",
    ),
)
LONE = ("\ud800", "\udfff", "\udc80")  # halves of surrogate pairs, as JSON and file names can hold


def texts(lone: bool = False, min_size: int = 0) -> st.SearchStrategy[str]:
    """Texts of such pieces, and of any characters.

    Args:
        lone: with halves of surrogate pairs, which no table can hold.
        min_size: pieces at least.
    """
    any_character = st.characters(codec=None if lone else "utf-8")
    piece = st.sampled_from(PIECES + (LONE if lone else ())) | st.text(any_character, min_size=1, max_size=4)
    return st.lists(piece, min_size=min_size, max_size=6).map("".join)
