"""JSON Lines, and a JSON file that is one list of objects."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar

from raymoe.data.readers.reader import ROWS, Columns, in_disguise
from raymoe.data.readers.text import TextReader
from raymoe.errors import InputError
from raymoe.runtime.quoting import in_short, listed, quoted, rows_named

WHOLE = (".json", ".json.gz")  # may be one list


class JsonReader(TextReader):
    """One object a row. A field that some rows lack is null there; one that none has is a missing column."""

    format: ClassVar[str] = "JSON Lines"
    may_lack_fields: ClassVar[bool] = True

    def __init__(self, path: Path, shown: str) -> None:
        super().__init__(path, shown)
        self._names: dict[str, None] = {}
        self._is_read = False

    @property
    def names(self) -> list[str] | None:
        """See ``Reader``."""
        return list(self._names) if self._is_read else None

    def batches(
        self, columns: Sequence[str], pictures: Collection[str], *, peek: bool = False, size: int = ROWS
    ) -> Iterator[tuple[int, Columns]]:
        """See ``Reader``."""
        twice: dict[str, list[int]] = {}
        found: Columns = {name: [] for name in columns}
        number = rows = 0
        with self.opened() as file:
            for number, (row, repeated) in enumerate(self._objects(file), 1):
                self._names.update(dict.fromkeys(row))
                for name in repeated & set(columns):
                    twice.setdefault(name, []).append(number)
                for name, values in found.items():
                    values.append(row.get(name))
                rows += 1
                if rows == size:
                    yield rows, found
                    found, rows = {name: [] for name in columns}, 0
        for name, places in twice.items():
            raise InputError(
                f"{self.shown}, {rows_named(places)}: the field {quoted(name)} is there more than once",
                "Leave one of them in each object.",
            )
        self._is_read = True
        if rows:
            yield rows, found

    def _objects(self, file: IO[str]) -> Iterator[tuple[dict[str, Any], set[str]]]:
        """Each row, and those of its fields that are written more than once."""
        if self.path.name.lower().endswith(WHOLE):
            text = file.read()
            if text.lstrip().startswith("["):
                for number, row in enumerate(self._parsed(text, None), 1):
                    yield self._checked(row, f"row {number}")
                return
            self._refuse_columns(text)
            lines: Iterator[str] = iter(text.split("\n"))
        else:
            lines = iter(file)
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield self._checked(self._parsed(line, number), f"line {number}")

    def _parsed(self, text: str, number: int | None) -> Any:
        try:
            return _DECODER.decode(text)
        except RecursionError:
            why = "nested too deeply"
        except json.JSONDecodeError as error:
            place = f"column {error.colno}" if number else f"line {error.lineno}, column {error.colno}"
            why = f"{error.msg}, {place}"
        except ValueError as error:  # a number of thousands of digits
            why = in_short(error)
        where = f", line {number}" if number else ""
        if number in (None, 1):  # what is no JSON at all shows at its start
            disguise = in_disguise(self.path, self.format)
            if disguise:
                raise self.unreadable(why)
        raise InputError(f"{self.shown}{where}: {why}", "Correct that line: one object a line.")

    def _refuse_columns(self, text: str) -> None:
        """Refuse one object that holds the whole table: its columns, or its rows in one field."""
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError):
            return  # several lines, or what their parser says
        fields = list(whole.values()) if isinstance(whole, dict) else []
        if fields and all(isinstance(field, (list, dict)) for field in fields):
            kind = "the rows in a field" if len(fields) == 1 else "columns"
            raise InputError(
                f"{self.shown} is one object of {kind} ({listed(list(whole))}), not one object a row",
                "Write a list of objects, or one object a line: with pandas "
                'to_json(path, orient="records", lines=True).',
            )

    def _checked(self, row: Any, where: str) -> tuple[dict[str, Any], set[str]]:
        if not isinstance(row, dict):
            more = "; a list of objects is read from a file named .json" if isinstance(row, list) else ""
            raise InputError(f"{self.shown}, {where}: not an object", f"Write one object a line{more}.")
        return row, row.names if isinstance(row, _Repeated) else set()


class _Repeated(dict[str, Any]):
    """A JSON object with names that are written more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs]
        self.names = {name for name in names if names.count(name) > 1}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Repeated(pairs)


_DECODER = json.JSONDecoder(object_pairs_hook=_object)
