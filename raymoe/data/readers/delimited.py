"""CSV and TSV. Nothing is guessed of values: ids such as 007 and labels such as 1|3 stay what they are."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, ClassVar

from raymoe.data.readers.reader import ROWS, Columns
from raymoe.data.readers.text import TextReader
from raymoe.errors import InputError
from raymoe.runtime.quoting import quoted, rows_named

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
LONGEST_FIELD = 2**31 - 1  # what csv can hold; by itself it takes 128 KiB
BLANK = "".join(DELIMITERS) + " \r\n"  # of a line that is no row
DIRECTIVE = re.compile(r"sep=(.)\s*", re.I)  # Excel's first line, which names the delimiter


class DelimitedReader(TextReader):
    """A file of lines of fields, the first of which names the columns.

    Args:
        path, shown: see ``Reader``.
        wanted: columns that it should have: the delimiter makes most of them of the first line, and of
            delimiters that make as many of them most columns.
        telling: columns of few values, by which a row inside a quoted text is known.
    """

    format: ClassVar[str] = "CSV"

    def __init__(self, path: Path, shown: str, wanted: Sequence[str], telling: Sequence[str] = ()) -> None:
        super().__init__(path, shown)
        self._telling = telling
        csv.field_size_limit(LONGEST_FIELD)
        first = ""
        self._directive: str | None = None
        with self.opened(newline="") as file:
            for number, line in enumerate(file):
                named = DIRECTIVE.fullmatch(line) if number == 0 else None
                if named:
                    self._directive = named[1]
                    continue
                first += line
                if first.strip(BLANK) and first.count('"') % 2 == 0:
                    break
        if not first.strip(BLANK):
            raise InputError(f"{shown} is empty", "Its first line names the columns.")
        tabs = path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab"))
        possible = self._directive or ("\t" if tabs else DELIMITERS)
        found = {d: self._fields(first, d) for d in possible}
        self._delimiter = max(found, key=lambda d: (len(set(wanted) & set(found[d])), len(found[d])))
        self._names = found[self._delimiter]

    @property
    def names(self) -> list[str]:
        """See ``Reader``."""
        return self._names

    def _fields(self, line: str, delimiter: str) -> list[str]:
        try:
            return next(
                (row for row in csv.reader(io.StringIO(line, newline=""), delimiter=delimiter) if any(row)),
                [],
            )
        except csv.Error:
            return []

    def batches(
        self, columns: Sequence[str], pictures: Collection[str], *, peek: bool = False, size: int = ROWS
    ) -> Iterator[tuple[int, Columns]]:
        """See ``Reader``."""
        self.refuse_repeated(self._names, columns)
        places = {name: self._names.index(name) for name in columns if name in self._names}
        swallowed = _Swallowed(self._names, self._delimiter, [n for n in self._telling if n in self._names])
        lengths: dict[int, list[int]] = {}
        found: Columns = {name: [] for name in places}
        number = rows = 0
        with self.opened(newline="") as file:
            for number, (row, lines) in enumerate(self._rows(file)):
                if number == 0:  # the names
                    continue
                if len(row) != len(self._names):
                    lengths.setdefault(len(row), []).append(number)
                    continue
                if peek:
                    swallowed.look_at(number, row, lines)
                for name, place in places.items():
                    found[name].append(row[place])
                rows += 1
                if rows == size:
                    yield rows, found
                    found, rows = {name: [] for name in places}, 0
        self._refuse_lengths(lengths)
        swallowed.refuse(self)
        if rows:
            yield rows, found

    def _rows(self, file: IO[str]) -> Iterator[tuple[list[str], list[str]]]:
        """Each row that is not empty, and the lines that it is written on.

        One of delimiters alone is empty, too: spreadsheets write such rows below a table.
        """
        lines: list[str] = []
        first = 1
        if self._directive:
            next(file)
            first = 2

        def remembered() -> Iterator[str]:
            for line in file:
                lines.append(line)
                yield line

        rows = csv.reader(remembered(), delimiter=self._delimiter, strict=True)
        before = first - 1
        try:
            for row in rows:
                if any(row):
                    yield row, lines
                first = before + rows.line_num + 1
                lines.clear()
        except csv.Error as error:
            raise self.unreadable(self._where(str(error), first, before + rows.line_num)) from None

    def _where(self, error: str, first: int, line: int) -> str:
        if "unexpected end" in error:
            return f"the quotation mark of the row that begins in line {first} is never closed"
        return f"line {line}: {error} (a quotation mark inside a quoted field is written twice)"

    def _refuse_lengths(self, lengths: dict[int, list[int]]) -> None:
        if not lengths:
            return
        said = "; ".join(
            f"{rows_named(rows)}: {n} field{'s' * (n != 1)}" for n, rows in sorted(lengths.items())[:3]
        )
        by = DELIMITERS.get(self._delimiter, quoted(self._delimiter))
        raise InputError(
            f"{self.shown} has {len(self._names)} columns (by {by}), but not in every row: {said}",
            "Put quotation marks around fields that hold the delimiter; write all fields in every row.",
        )


class _Swallowed:
    """Rows inside a quoted text: a stray quotation mark makes one text of all that is up to the next."""

    def __init__(self, names: list[str], delimiter: str, telling: list[str]) -> None:
        self._names, self._delimiter = names, delimiter
        self._telling = {name: names.index(name) for name in telling}
        self._seen: dict[str, set[str]] = {name: set() for name in telling}
        self._suspects: list[tuple[int, list[str]]] = []

    def look_at(self, number: int, row: list[str], lines: list[str]) -> None:
        """One row, and the lines that it is written on."""
        for name, place in self._telling.items():
            self._seen[name].add(row[place])
        if self._telling and len(lines) > 1:
            each = [[c.strip('"') for c in line.rstrip("\r\n").split(self._delimiter)] for line in lines]
            # The lines of a row with a text of several lines are parts of it: not each has every column.
            if all(len(cells) == len(self._names) for cells in each):
                self._suspects.append((number, each[1]))

    def refuse(self, reader: DelimitedReader) -> None:
        """Refuse a text whose lines are rows: their cells are values that other rows have."""
        for number, cells in self._suspects:
            told = {name: cells[place] for name, place in self._telling.items()}
            if all(value and value in self._seen[name] for name, value in told.items()):
                raise InputError(
                    f"{reader.shown}, row {number}: a text in quotation marks goes over several lines that "
                    f"look like rows of their own: {quoted(self._delimiter.join(cells), 60)}",
                    "A quotation mark is stray: write it twice inside quotation marks, or remove it.",
                )
