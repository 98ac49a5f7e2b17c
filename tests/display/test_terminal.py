"""Tables in a terminal: every number is there, whole, however narrow it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from raymoe.display.sheets import Amount, Sheet
from raymoe.display.shown import Shown
from raymoe.display.terminal import lines_of, print_shown

ROWS = (
    ("SII, synergy expert", "top 10 %", Amount(0.104, 0.094, 0.113, digits=3), Amount(2970, digits=0)),
    ("SII, synergy expert", "11-20 %", Amount(0.099, -0.089, 0.109, digits=3), Amount(1710, digits=0)),
    ("redundancy gap", "top 10 %", Amount(1.64), Amount(None)),
)
SHEET = Sheet("s", "Mean [of] all", ("score", "features", "mean comprehensiveness", "pairs"), ROWS)


def test_blocks_have_a_line_of_their_own_and_numbers_stand_below_each_other():
    assert [line.plain for line in lines_of(SHEET)] == [
        "               mean comprehensiv-",
        "features                    eness  pairs",
        "SII, synergy expert",
        "  top 10 %   0.104 (0.094, 0.113)   2970",
        "  11-20 %   0.099 (−0.089, 0.109)   1710",
        "redundancy gap",
        "  top 10 %                   1.64      –",
    ]


def test_a_sheet_without_blocks_keeps_its_first_column():
    sheet = Sheet("s", "", ("model", "score"), (("Dense", Amount(1.0)), ("FL-I2MoE", Amount(-2.0))))
    assert [line.plain for line in lines_of(sheet)] == [
        "model     score",
        "Dense      1.00",
        "FL-I2MoE  −2.00",
    ]


cells = st.one_of(
    st.text("ab ,", max_size=25),
    st.builds(Amount, st.floats(-99, 99), st.floats(-99, 99) | st.none(), st.floats(-99, 99)),
)


@given(st.lists(st.tuples(st.sampled_from("xy"), cells, cells), max_size=6), st.integers(1, 60))
def test_no_width_loses_or_cuts_a_number(rows, width):
    sheet = Sheet("s", "", ("block", "some words", "value"), tuple(rows))
    wide, narrow = (" ".join(line.plain for line in lines_of(sheet, w)) for w in (None, width))
    number = r"−?\d+\.\d\d"
    assert sorted(re.findall(number, narrow)) == sorted(re.findall(number, wide))
    wanted = sorted(n for row in rows for cell in row[1:] for n in re.findall(number, str(cell)))
    assert sorted(re.findall(number, narrow)) == wanted


@pytest.mark.parametrize("width", [40, 60, 80])
def test_lines_fit_where_folding_can_make_them(width):
    rows = (
        ("x", "random pairs, as many features", Amount(75.31, 72.1, 78.3), Amount(0.13, -0.19, 0.42)),
    ) * 2
    lines = lines_of(Sheet("s", "", ("block", "masked", "micro F1", "more"), rows), width)
    assert max(cell_len(line.plain) for line in lines) <= width


def test_what_is_shown_is_printed_with_its_notes_and_finding_and_no_markup_is_read(capsys):
    shown = Shown("It was [b]so[/b].", sheets=(SHEET,), notes=("A note [1].",))
    print_shown("Alignment (Fig. 4)", shown)
    said = capsys.readouterr().out
    assert said.startswith("Alignment (Fig. 4). Mean [of] all\n")
    assert said.endswith("A note [1].\nIt was [b]so[/b].\n")
