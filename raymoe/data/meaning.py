"""What a value means as an id, a split or a label: one rule, whatever the table's format.

A number and its digits are the same value: CSV has text alone, and the same data must come out the same.
Where that leaves two readings of a column of labels, as of classes named by digits, and they differ, it is
refused.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Any

from raymoe.config.data import LabelsAre
from raymoe.runtime.quoting import listed, quoted, rows_named
from raymoe.task import Task

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
EXACT_FLOAT = 2**53  # whole numbers beyond it may have lost digits
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
SEPARATORS = re.compile(r"[|;]")
_ITEM = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s,\[\]'"]+)"""
WRITTEN_LIST = re.compile(rf"\[\s*(?:{_ITEM}\s*(?:,\s*{_ITEM}\s*)*,?\s*)?\]")
SHOWN_VALUES = 5


class Problems:
    """What is wrong with a table: a line for each kind and column, with a count and the first rows."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], _Kind] = {}

    def add(self, row: int, column: str, kind: str, value: str = "", said: str = "") -> None:
        """One wrong cell.

        Args:
            row: from 1.
            column: its column.
            kind: what is wrong, as several rows may have it.
            value: what it is there, as it is to be shown.
            said: what to say where it is the only one; kind and value by default.
        """
        found = self._found.setdefault(
            (column, kind), _Kind(said or f"{kind}: {value}" if value else said or kind)
        )
        found.rows.append(row)
        if value:
            found.values[value] = found.values.get(value, 0) + 1

    def lines(self) -> list[str]:
        """One line per kind."""
        return [_line(column, kind, found) for (column, kind), found in self._found.items()]


@dataclass
class _Kind:
    said: str
    rows: list[int] = field(default_factory=list)
    values: dict[str, int] = field(default_factory=dict)


def _line(column: str, kind: str, found: _Kind) -> str:
    where = f"{rows_named(found.rows)}, column {listed([column])}"
    if len(found.rows) == 1 or not found.values:
        return f"{where}: {found.said if len(found.rows) == 1 else kind}"
    common = sorted(found.values.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{v} ({n:,} times)" if n > 1 else v for v, n in common[:SHOWN_VALUES])
    more = f" and {len(common) - SHOWN_VALUES:,} more" if len(common) > SHOWN_VALUES else ""
    return f"{where}: {kind}: {shown}{more}"


def is_null(value: Any) -> bool:
    """Whether a cell holds nothing; of numbers that is also not-a-number, as pandas has it."""
    if isinstance(value, Decimal):
        return value.is_nan()
    return value is None or (isinstance(value, float) and math.isnan(value))


def id_of(value: Any) -> str:
    """A sample's id: text as it is written, a number as its digits.

    Raises:
        ValueError: it is none; says why.
    """
    if is_null(value) or (isinstance(value, str) and not value.strip()):
        raise ValueError("no id")
    if isinstance(value, str):
        if not is_whole(value):
            raise ValueError(f"{_BROKEN}: an id must be whole")
        return value
    if isinstance(value, (bool, list, tuple, dict)):
        raise ValueError(f"{type(value).__name__}, not an id: text or a whole number")
    if isinstance(value, float) and not abs(value) < EXACT_FLOAT:
        raise ValueError("a floating-point number that may have lost digits: write ids as text or integers")
    return str(value)


def id_if_any(value: Any) -> str:
    """The id, or "" where there is none."""
    try:
        return id_of(value)
    except ValueError:
        return ""


_BROKEN = "half of a surrogate pair (text that was cut within a character, or a name that is no Unicode)"


def is_whole(text: str) -> bool:
    """Whether a text has no half of a surrogate pair: Arrow and UTF-8 have no place for one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def split_of(value: Any) -> str:
    """train, val or test, of one of the names that they have, in small or capital letters.

    Raises:
        ValueError: it is none of them.
    """
    found = SPLITS.get(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"unknown split {quoted(value)} (known: {', '.join(SPLITS)})")
    return found


@dataclass(frozen=True)
class Labels:
    """How a column of labels is to be read.

    Attributes:
        column: its name, for messages.
        classes: their names, by index.
        task: how many labels a sample has.
        are: what values are where classes are named by numbers.
        separator: between several labels in one text; None: ``|`` or ``;``.
        named: whether numbers were replaced by the names that the file gives them.
    """

    column: str
    classes: tuple[str, ...]
    task: Task
    are: LabelsAre = "either"
    separator: str | None = None
    named: bool = False

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.classes)

    def indices(self, values: Iterable[Any], problems: Problems) -> list[list[int]]:
        """Sorted class indices of each row, none where it has a problem.

        The column is read as a whole: what its values are is the same in every row.
        """
        rows: list[list[Label] | None] = []
        for row, value in enumerate(values, 1):
            try:
                rows.append(list(self._labels(value)))
            except ValueError as error:
                rows.append(None)
                problems.add(row, self.column, *_kind_and_value(error))
        read = self._reading(rows, problems)
        if read is None:
            return [[] for _ in rows]
        found = [self._of_row(row, labels, read, problems) for row, labels in enumerate(rows, 1)]
        self._refuse_hot(rows, found, problems)
        return found

    def _labels(self, value: Any) -> Iterator[Label]:
        """The labels of one cell, not yet looked up."""
        if is_null(value):
            what = "no label"
            raise ValueError(
                what if self.task.one_label else f"{what}; no class is an empty list, or an empty text"
            )
        if not isinstance(value, str):
            for item in value if isinstance(value, (list, tuple)) else [value]:
                yield _label(item)
            return
        if not value.strip():
            if self.task.one_label:
                raise ValueError("no label")
            return
        value = value if value in self._known else value.strip()
        parts = None if value in self._known else written_list(value)
        if parts is None:
            parts = self._parts(value)
        for part in parts:
            if not part.strip():
                raise ValueError("nothing between two separators", quoted(value))
            yield _label(part)

    def _parts(self, value: str) -> list[str]:
        parts = SEPARATORS.split(value) if self.separator is None else value.split(self.separator)
        if self.separator is not None and self.separator.isspace():
            parts = value.split()
        if value not in self._known:
            return parts
        if len(parts) > 1 and {part.strip() for part in parts} <= self._known:
            raise ValueError(
                "one class or several: a name holds the separator (labels_separator in [data] sets another)",
                quoted(value),
            )
        return [value]

    def _reading(
        self, rows: Sequence[list[Label] | None], problems: Problems
    ) -> Callable[[Label], int | None] | None:
        """How a label is looked up, or None where that is not to be known."""
        by_name = _Names(self.classes)
        if self.named or self.are == "names":
            return by_name.index
        if self.are == "indices":
            return self._index
        if not by_name.has_numbers:
            return lambda label: by_name.index(label) if label.number is None else self._index(label)
        labels = {label for row in rows for label in row or []}
        numbers = sorted((x for x in labels if x.number is not None), key=lambda x: (x.number, x.text))
        as_names = {x: by_name.index(x) for x in numbers}
        as_indices = {x: self._index(x) for x in numbers}
        can_be_indices = len(numbers) == len(labels) and None not in as_indices.values()
        if None in as_names.values():
            return self._index if can_be_indices else by_name.index
        differ = [x for x in numbers if as_names[x] != as_indices[x]]
        if can_be_indices and differ:
            first = differ[0]
            name, index = (self.classes[found[first] or 0] for found in (as_names, as_indices))
            where = [i for i, row in enumerate(rows, 1) if row and first in row]
            for row in where:
                problems.add(
                    row,
                    self.column,
                    f"{first.text} is class {quoted(name)} by name, but {quoted(index)} by index (from 0): "
                    'say labels_are = "names" or "indices" in [data]',
                )
            return None
        return by_name.index

    def _index(self, label: Label) -> int | None:
        """The class that a number counts to, from 0."""
        number = label.number
        inside = number is not None and number == int(number) and 0 <= number < len(self.classes)
        return int(number) if number is not None and inside else None

    def _of_row(
        self,
        row: int,
        labels: list[Label] | None,
        read: Callable[[Label], int | None],
        problems: Problems,
    ) -> list[int]:
        found: list[int] = []
        if labels is None:
            return found
        for label in labels:
            index = read(label)
            if index is None:
                problems.add(row, self.column, *self._unknown(label, read))
                return []
            if index in found:
                kind = "is there twice: labels are class names or indices, not a 0 or 1 per class"
                problems.add(row, self.column, f"a class {kind}", label.text, f"class {label.text} {kind}")
                return []
            found.append(index)
        if self.task.one_label and len(found) != 1:
            problems.add(
                row, self.column, f"{len(found)} labels, but the task is {self.task.name}: exactly one"
            )
            return []
        return sorted(found)

    def _unknown(self, label: Label, read: Callable[[Label], int | None]) -> tuple[str, str, str]:
        """Kind, value, and what is said of it alone, of a label that is no class."""
        number, shown = label.number, quoted(label.text)
        if number is not None and self.are != "names" and not _Names(self.classes).has_numbers:
            if number == int(number):
                outside = f"outside 0..{len(self.classes) - 1}"
                return f"classes {outside}", label.text, f"class {label.text} is {outside}"
            return "neither class names nor indices", shown, f"{shown} is neither a class name nor an index"
        if self.are == "indices" and not self.named:
            return (
                "no indices of the classes",
                shown,
                f"{shown} is no index of the {len(self.classes)} classes",
            )
        kind = f"not one of the classes ({listed(self.classes)}){self._comma(label.text)}"
        if self.named:
            kind += ', but the file names its numbers so (labels_are = "indices" takes the numbers)'
        close = difflib.get_close_matches(label.text[:100], self.classes, 1) if "," not in label.text else []
        meant = f" (is it {quoted(close[0])}?)" if close else ""
        return kind, f"{shown}{meant}", f"{shown}{meant} is {kind}"

    def _comma(self, text: str) -> str:
        parts = {part.strip() for part in text.split(",")}
        if self.separator is None and "," in text and parts <= self._known:
            return '; for several in one text set labels_separator = "," in [data]'
        return ""

    def _refuse_hot(
        self, rows: Sequence[list[Label] | None], found: Sequence[list[int]], problems: Problems
    ) -> None:
        """Of two classes, rows [0, 1] and [1, 0] can be a 0 or 1 per class: with more, one is there twice."""
        both = [i for i, row in enumerate(rows, 1) if row and [x.number for x in row] in ([0, 1], [1, 0])]
        if len(self.classes) == 2 and not self.task.one_label and len(both) == len(rows) and all(found):
            for row in both:
                problems.add(
                    row,
                    self.column,
                    "both classes in every row: labels are names or indices, not a 0 or 1 per class",
                )


@dataclass(frozen=True)
class Label:
    """One label as it is in a table: its text, and the number that it is, if it is one."""

    text: str
    number: Decimal | None = None
    is_exact: bool = True


def _label(value: Any) -> Label:
    """A label of a list's item or of a cell.

    Raises:
        ValueError: nothing that can be one.
    """
    if isinstance(value, str):
        if not is_whole(value):
            raise ValueError("neither a class name nor an index", quoted(value))
        return Label(value, _number(value))
    if isinstance(value, bool):
        return Label(str(value).lower(), None, is_exact=False)
    if isinstance(value, (int, float, Decimal)) and not is_null(value):
        number = Decimal(str(value))
        if number.is_finite():
            return Label(str(value), number)
    what = "null" if is_null(value) else quoted(value)
    raise ValueError("neither a class name nor an index", what)


def _number(text: str) -> Decimal | None:
    """The number that a text is, as CSV has no other."""
    stripped = text.strip()
    if len(stripped) > 40 or not NUMBER.fullmatch(stripped):
        return None
    try:
        return Decimal(stripped)
    except InvalidOperation:
        return None


class _Names:
    """Classes by name: as written, without space around it, by the number or the truth value that it is."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._exact = {name: i for i, name in enumerate(classes)}
        self.has_numbers = any(_number(name) is not None for name in classes)
        self._numbers = _only_ones((_number(name), i) for name, i in self._exact.items())
        self._truths = _only_ones(
            (name.strip().lower() if name.strip().lower() in ("true", "false") else None, i)
            for name, i in self._exact.items()
        )

    def index(self, label: Label) -> int | None:
        """The class of that name, if there is one."""
        text = label.text.strip()
        truth = self._truths.get(text.lower())
        if truth is not None or not label.is_exact:
            return truth
        for written in (label.text, text):
            if written in self._exact:
                return self._exact[written]
        return self._numbers.get(label.number) if label.number is not None else None


def _only_ones(pairs: Iterable[tuple[Any, int]]) -> Mapping[Any, int]:
    """What one class alone is."""
    found: dict[Any, list[int]] = {}
    for key, i in pairs:
        found.setdefault(key, []).append(i)
    return {key: i for key, (i, *more) in found.items() if key is not None and not more}


def written_list(text: str) -> list[str] | None:
    """The items of a list as Python or JSON writes it, ``['cat', 'dog']``, as pandas does in CSV."""
    stripped = text.strip()
    if not WRITTEN_LIST.fullmatch(stripped):
        return None
    items = re.findall(_ITEM, stripped[1:-1])
    return [re.sub(r"\\(.)", r"\1", item[1:-1]) if item[0] in "'\"" else item for item in items]


def _kind_and_value(error: ValueError) -> tuple[str, ...]:
    """A kind, and where there is one the value, with what is said of it alone."""
    kind, *value = error.args
    return (kind, value[0], f"{value[0]}: {kind}") if value else (kind,)
