"""Tables for people: the same cells as HTML and LaTeX (booktabs), and any Arrow table as CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import pyarrow as pa

from raymoe.display.fonts import scripts_of
from raymoe.runtime.characters import MARK, one_line

_LATEX = {
    MARK: "?",
    "\0": "{}",  # put between two characters that would become one
    '"': r"\symbol{34}",  # in some languages, and in some fonts, the character is another
    "`": r"\textasciigrave{}",
    "|": r"\textbar{}",
    "\u00ad": r"\-",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "…": r"\dots{}",
    "\u00a0": "~",
    **{character: "\\" + character for character in "&%$#_{}"},
}


_LIGATURE = re.compile(r"([-',])(?=\1)")
_PDFLATEX = "\u017f"  # the last letter that pdfLaTeX knows of itself; and some signs
_SIGNS = frozenset("‘’‚“”„•†‡€‰‹›™—")


@dataclass(frozen=True)
class Amount:
    """A number with what is known of its spread.

    Attributes:
        value: None or NaN where there is none.
        low, high: an interval.
        deviation: over seeds; not shown beside an interval.
        digits: after the point.
        signed: write a plus.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    deviation: float | None = None
    digits: int = 2
    signed: bool = False

    def __str__(self) -> str:
        if not _is_number(self.value):
            return "–"
        text = self._written(self.value, self.signed)
        if _is_number(self.low) and _is_number(self.high):
            return f"{text} ({self._written(self.low)}, {self._written(self.high)})"
        return f"{text} ± {self.deviation:.{self.digits}f}" if _is_number(self.deviation) else text

    @classmethod
    def scaled(
        cls,
        scale: float,
        value: float | None,
        low: float | None,
        high: float | None,
        digits: int,
        signed: bool = False,
    ) -> Amount:
        """A value and its interval times ``scale``: 100 for fractions in per cent."""

        def times(x: float | None) -> float | None:
            return None if x is None else scale * x

        return cls(times(value), times(low), times(high), digits=digits, signed=signed)

    def _written(self, value: float, signed: bool = False) -> str:
        return f"{value:{'+' if signed else ''}.{self.digits}f}".replace("-", "−")


Cell = str | Amount


@dataclass(frozen=True)
class Sheet:
    """A table as it is shown; a new value in the first column begins a new block.

    Attributes:
        name: of its files.
        caption: what it holds, in one sentence.
        columns: the heads.
        rows: as many cells each.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers."""
        return [any(isinstance(row[i], Amount) for row in self.rows) for i in range(len(self.columns))]

    def begins_block(self, i: int) -> bool:
        """Whether row ``i`` has another first cell than the row above it."""
        return i == 0 or self.rows[i][0] != self.rows[i - 1][0]


def latex(sheet: Sheet) -> str:
    """A ``table`` environment that needs the package booktabs; all text is escaped."""
    blocks = any(not sheet.begins_block(i) for i in range(len(sheet.rows)))
    lines = [
        r"% needs \usepackage{booktabs}",
        *_other_letters([sheet.caption, *sheet.columns, *(str(c) for row in sheet.rows for c in row)]),
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escaped(sheet.caption)}}}",
        rf"  \label{{tab:{sheet.name}}}",
        rf"  \begin{{tabular}}{{{''.join('r' if n else 'l' for n in sheet.numeric)}}}",
        r"    \toprule",
        f"    {_line(sheet.columns)}",
        r"    \midrule",
    ]
    for i, row in enumerate(sheet.rows):
        if blocks and i and sheet.begins_block(i):
            lines.append(r"    \addlinespace")
        lines.append(f"    {_line(row if sheet.begins_block(i) else ('', *row[1:]))}")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""])


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is, in one line; of ``--`` it would make a dash."""
    apart = _LIGATURE.sub("\\1\0", one_line(text))
    return "".join(_LATEX.get(character, character) for character in apart)


def to_csv(table: pa.Table) -> bytes:
    """Every column with all its digits, UTF-8; lists are separated by spaces, nulls are empty."""
    buffer = io.StringIO()
    usual = csv.writer(buffer, lineterminator="\n")
    quoting = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in (table.column_names, *zip(*(column.to_pylist() for column in table.columns), strict=True)):
        cells = [" ".join(map(str, cell)) if isinstance(cell, list) else cell for cell in row]
        # A carriage return, which Python leaves bare, ends a line for others.
        writer = quoting if any(isinstance(cell, str) and "\r" in cell for cell in cells) else usual
        writer.writerow(cells)
    return buffer.getvalue().encode()


def _line(cells: Sequence[Cell]) -> str:
    line = " & ".join(escaped(str(cell)) for cell in cells) + r" \\"
    # The line above would take it as its option.
    return f"{{}}{line}" if line.startswith(("[", "*")) else line


def _other_letters(texts: Iterable[str]) -> list[str]:
    """A comment that says what the table needs where pdfLaTeX alone can't print it."""
    known = _SIGNS | _LATEX.keys()
    letters = {c for text in texts for c in one_line(text) if c > _PDFLATEX and c not in known}
    if not letters:
        return []
    return [f"% needs XeLaTeX or LuaLaTeX, and a font with {', '.join(scripts_of(letters))} characters"]


def _is_number(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
