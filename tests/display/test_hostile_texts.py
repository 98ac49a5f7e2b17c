"""Text of users in LaTeX, CSV and figures: what comes out is what went in, escaped."""

import csv
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile import few, texts

from raymoe.display import fonts
from raymoe.display.plots import drawn, new_figure, png, svg
from raymoe.display.sheets import Sheet, escaped, latex, to_csv
from raymoe.display.shown import Plot
from raymoe.runtime.characters import MARK, one_line

pytestmark = pytest.mark.hostile

# How LaTeX reads what ``escaped`` wrote, by its own rules: an independent reader of the few commands used.
COMMANDS = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">",
    "textasciigrave": "`", "textbar": "|", "dots": "…", "symbol": '"', "pm": "±", "times": "×",
}  # fmt: skip


def read_latex(text):
    """The characters that LaTeX would set; fails on one that it does not print as it is."""
    found, i = "", 0
    while i < len(text):
        if match := re.match(r"\$(?:\\(pm|times)|(-))\$", text[i:]):
            found += COMMANDS[match[1]] if match[1] else "−"
        elif match := re.match(r"\\symbol\{34\}", text[i:]):
            found += '"'
        elif match := re.match(r"\\([a-z]+)\{\}", text[i:]):
            found += COMMANDS[match[1]]
        elif match := re.match(r"\\([&%$#_{}-])", text[i:]):
            found += "\u00ad" if match[1] == "-" else match[1]
        elif match := re.match(r"\{\}", text[i:]):
            pass
        elif match := re.match("--|~|''|,,", text[i:]):
            found += {"--": "–", "~": "\u00a0"}[match[0]]
        else:
            assert text[i] not in '\\&%$#_{}~^<>"`|', text
            assert ord(text[i]) >= 32, text
            found, match = found + text[i], re.match(".", text[i])
        i += len(match[0])
    return found


@few(150)
@given(texts(lone=True))
def test_latex_prints_what_was_given(text):
    assert read_latex(escaped(text)) == one_line(text).replace(MARK, "?")


@few(60)
@given(st.lists(st.tuples(texts(), texts()), min_size=1, max_size=4), texts())
def test_a_latex_table_has_as_many_rows_and_columns_as_were_given(rows, caption):
    lines = latex(Sheet("name", caption, ("a", "b"), tuple(rows))).splitlines()
    body = lines[next(i for i, line in enumerate(lines) if "midrule" in line) + 1 :]
    body = [line[4:] for line in body if line.endswith(r"\\")]
    assert len(body) == len(rows)
    before = None
    for line, (first, second) in zip(body, rows, strict=True):
        assert not line.startswith(("[", "*")), "an option of the line above"
        cells = re.split(r"(?<!\\)(?:^|(?<= ))& ", line.removeprefix("{}").removesuffix(r"\\"))
        shown = "" if first == before else one_line(first).replace(MARK, "?")
        assert [read_latex(cell).strip() for cell in cells] == [
            shown.strip(), one_line(second).replace(MARK, "?").strip()
        ]  # fmt: skip
        before = first


def test_a_latex_table_says_which_letters_need_another_engine():
    sheet = Sheet("name", "caption é −±×", ("漢字", "b"), (("नमस्ते", "😀"),))
    assert "% needs XeLaTeX or LuaLaTeX, and a font with devanagari, CJK, emoji characters" in latex(sheet)
    assert "XeLaTeX" not in latex(Sheet("name", "é ± − … “x”", ("a",), (("b",),)))


@few(100)
@given(st.lists(st.tuples(texts(), st.none() | texts(min_size=1)), min_size=1, max_size=4), texts(min_size=1))
def test_csv_reads_back_the_same(rows, head):
    names = [head, f"{head}2"]
    table = pa.table(
        {
            name: pa.array(column, pa.string())
            for name, column in zip(names, zip(*rows, strict=True), strict=True)
        }
    )
    text = to_csv(table).decode()
    found = list(csv.reader(io.StringIO(text, newline="")))
    assert found == [names, *([first, second or ""] for first, second in rows)]
    if "\0" not in text:  # pandas' parser ends a field there
        read = pd.read_csv(
            io.BytesIO(text.encode()),
            keep_default_na=False,
            dtype=str,
            skip_blank_lines=False,
            engine="python",
        )
        assert len(read) == len(rows)


def figure_of(label):
    """Title, axis labels, ticks, legend and annotation of one text."""
    figure = new_figure(4, 3)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label=f"x{fonts.drawable(label)}")
    axes.set(title=fonts.drawable(label), xlabel=fonts.drawable(label))
    axes.set_yticks([0, 1], [fonts.drawable(label), "other"])
    axes.text(0.5, 0.5, fonts.drawable(label))
    axes.legend()
    return figure


@few(12)
@given(texts(lone=True))
def test_a_figure_of_any_text_is_a_well_formed_picture(text):
    figure = drawn(Plot("name", "caption", lambda: figure_of(text)))
    root = ET.fromstring(svg(figure))
    assert root.tag.endswith("svg")
    assert png(figure, dpi=30).startswith(b"\x89PNG")


def test_dollars_are_dollars_everywhere():
    """matplotlib would take what is between two of them for a formula."""
    figure = drawn(Plot("name", "caption", lambda: figure_of(r"$\frac{1$ and $x_1$")))
    svg(figure)
    assert figure.axes[0].get_title("left") == r"$\frac{1$ and $x_1$"


@few(100)
@given(texts(lone=True))
def test_what_can_be_drawn_is_one_line_without_what_xml_forbids(text):
    found = fonts.drawable(text)
    assert not set(found) & set("\n\r\t\x00\x1b\u2028\u200d\u202e\ud800\ufffe")
    assert "".join(found.split()) == "".join(
        c for c in "".join(one_line(text).split()) if not fonts._unseen(c)
    )


@pytest.fixture
def no_fonts(monkeypatch):
    """As in a new process on a machine with DejaVu alone."""
    monkeypatch.setattr(fonts, "_chosen", [])
    monkeypatch.setattr(fonts, "_lacking", set())
    monkeypatch.setattr(fonts, "_said", set())
    monkeypatch.setattr(fonts, "_installed", lambda: ())


def test_missing_letters_are_said_once_with_what_to_install(no_fonts, capsys):
    assert not fonts.cover(["漢字 and नमस्ते", "ascii", "עברית"])
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("warning") == 2, "DejaVu has Hebrew"
    assert "CJK characters (字 漢)" in said
    assert "apt install fonts-noto-cjk" in said
    assert "devanagari" in said
    assert "apt install fonts-noto-core" in said
    assert not fonts.cover(["漢字 かな"])
    assert "CJK" not in capsys.readouterr().out, "once for each script"
    assert not fonts.cover(["\U0001f9ff"])
    assert "fonts-symbola" in capsys.readouterr().out


def test_without_foreign_letters_nothing_is_looked_for(no_fonts, monkeypatch):
    monkeypatch.setattr(fonts, "_search", lambda missing: pytest.fail("looked for fonts"))
    assert not fonts.cover(["Plain text − ± é", ""])
    assert fonts.families() == [fonts.BASE]


def font_with(path, family, characters):
    """A font of squares, made with fontTools."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    for move, *to in [
        ("moveTo", (50, 0)),
        ("lineTo", (50, 700)),
        ("lineTo", (750, 700)),
        ("lineTo", (750, 0)),
    ]:
        getattr(pen, move)(*to)
    pen.closePath()
    square = pen.glyph()
    names = [".notdef", *(f"uni{ord(c):04X}" for c in characters)]
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(c): n for c, n in zip(characters, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular", "psName": family.replace(" ", "")})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


def test_a_font_of_the_machine_that_has_the_letters_is_found_and_drawn_with(monkeypatch, tmp_path, capsys):
    from matplotlib import font_manager

    font_with(tmp_path / "squares.ttf", "Test Squares", "漢字")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    font_manager.fontManager.addfont(str(tmp_path / "squares.ttf"))
    for name, empty in (("_chosen", []), ("_lacking", set()), ("_said", set())):
        monkeypatch.setattr(fonts, name, empty)
    fonts._installed.cache_clear()
    fonts._characters.cache_clear()
    try:
        plain = svg(drawn(Plot("name", "caption", lambda: figure_of("plain"))))
        figure = drawn(Plot("name", "caption", lambda: figure_of("plain 漢字")))
        assert fonts.families() == [fonts.BASE, "Test Squares"]
        assert b"TestSquares" in svg(figure)
        assert "warning" not in capsys.readouterr().out
        again = svg(drawn(Plot("name", "caption", lambda: figure_of("plain"))))
        assert again == plain, "other figures are the same bytes as before"
    finally:
        fonts._installed.cache_clear()
        fonts._characters.cache_clear()
    assert np.isfinite(len(plain))
