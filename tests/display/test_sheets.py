from __future__ import annotations

import csv
import io
import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymoe.display.sheets import Amount, Sheet, escaped, latex, to_csv


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Amount(67.849, deviation=0.451), "67.85 ± 0.45"),
        (Amount(-0.5, -1.0, 0.25, digits=1), "−0.5 (−1.0, 0.2)"),
        (Amount(3.0, signed=True), "+3.00"),
        (Amount(None, 1, 2), "–"),
        (Amount(float("nan")), "–"),
        (Amount(1.0, float("nan"), 2.0), "1.00"),
    ],
)
def test_amounts_are_written_with_their_spread(amount, text):
    assert str(amount) == text


@given(st.text(alphabet="ab \\&%$#_{}~^<>±×−–…\n", max_size=30))
def test_no_special_character_of_latex_is_left(text):
    found = escaped(text)
    plain = re.sub(r"\\[a-z]+\{\}|\$(?:\\pm|\\times|-)\$|\\[&%$#_{}]", "", found)
    assert not set(plain) & set("\\&%$#_{}^<>±×−–…\n")
    assert escaped("a_b & 5 %") == r"a\_b \& 5 \%"


def test_a_latex_table_has_a_line_for_every_row():
    rows = (("a_1", Amount(1.0)), ("a_1", Amount(2.0)), ("b", Amount(None)))
    text = latex(Sheet("scores", "50 % of <all>", ("model", "value"), rows))
    assert r"\caption{50 \% of \textless{}all\textgreater{}}" in text
    assert r"\begin{tabular}{lr}" in text
    body = text[text.index("midrule") : text.index("bottomrule")]
    assert re.findall(r"^ +(.*) \\\\$", body, re.MULTILINE) == [r"a\_1 & 1.00", "& 2.00", "b & --"]
    assert body.count("addlinespace") == 1


def test_csv_keeps_every_digit_and_any_text():
    table = pa.table({"name": ['a,"b"', "x\ny"], "value": [0.1 + 0.2, None], "seeds": [[0, 1], []]})
    rows = list(csv.DictReader(io.StringIO(to_csv(table).decode())))
    assert rows[0] == {"name": 'a,"b"', "value": "0.30000000000000004", "seeds": "0 1"}
    assert rows[1] == {"name": "x\ny", "value": "", "seeds": ""}
