"""Reading a raw table, in whatever format, as columns; knows nothing of what the values should be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raymoe.data.cells import (
    PictureCell,
    PictureColumn,
    Unreadable,
    decoded,
    joined,
    path_of,
    picture_cell,
    read_file,
)
from raymoe.data.readers.reader import ROWS, Columns, Reader
from raymoe.data.readers.sources import FILE_NAME, Shard, Source, find, split_in
from raymoe.errors import InputError
from raymoe.project.provenance import Skipped
from raymoe.runtime.quoting import listed, quoted

# What a raw table may say about itself that is worth carrying on.
PROVENANCE_KEYS = ("licence", "license", "provenance", "citation", "homepage", "source")


@dataclass(frozen=True)
class RawTable:
    """A raw table as it was found.

    Attributes:
        name: its path or its ``embedded:`` name, for messages.
        folder: what relative picture paths start from.
        columns: those asked for; of pictures those that are paths, as ``batches`` reads others when needed.
        sha256: of the content.
        provenance: what the file says about where it comes from.
        encoded: columns of pictures that are in the table.
        wrong: of columns of pictures the rows, from 1, by the name of a type that no picture has.
        named: columns whose numbers the file names, and which hold these names.
        read_again: the encoded columns asked for, some rows at a time.
        notes: warnings for the user.
        left_out: samples that have no row, each ``{"sample_id", "row", "reason"}``.
        numbered: whether its rows have numbers that mean something to the user.
        carried: further columns of strings that the samples table gets as they are.
    """

    name: str
    folder: Path
    columns: dict[str, list[Any]]
    sha256: str
    provenance: dict[str, str]
    encoded: frozenset[str] = frozenset()
    wrong: Mapping[str, Mapping[str, list[int]]] = field(default_factory=dict)
    named: frozenset[str] = frozenset()
    read_again: Callable[[Sequence[str], int], Iterator[Columns]] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    left_out: tuple[Skipped, ...] = ()
    numbered: bool = True
    carried: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def is_encoded(self, name: str) -> bool:
        """Whether a column holds encoded pictures, not their paths alone."""
        return name in self.encoded

    def paths(self, name: str) -> list[str | None]:
        """Of a column of pictures the path of each row, where it has one."""
        paths = self.columns.get(name) or [None] * len(self)
        return [path if isinstance(path, str) else None for path in paths]

    def path(self, value: str) -> Path:
        """The file that a picture's cell names."""
        return path_of(self.folder, value)

    def picture(self, cell: PictureCell) -> bytes:
        """The encoded picture of a cell that is not empty.

        Raises:
            ValueError: it can't be read; says why.
        """
        if isinstance(cell, bytes):
            return cell
        if isinstance(cell, Unreadable):
            raise ValueError(cell.reason)
        return read_file(self.folder, str(cell))

    def batches(self, names: Sequence[str], size: int) -> Iterator[list[tuple[Any, ...]]]:
        """Rows in order, ``size`` at a time: each a tuple of the named columns' values, or () without any."""
        # Once each, however many modalities a column serves.
        encoded = [name for name in dict.fromkeys(names) if self.is_encoded(name)]
        found: Columns = {name: [] for name in encoded}
        again = self.read_again(encoded, size) if encoded and self.read_again else iter(())
        for start in range(0, len(self), size):
            rows = min(size, len(self) - start)
            while encoded and len(found[encoded[0]]) < rows:
                for name, values in self._next(again).items():
                    found[name] += values
            parts = [found[n][:rows] if n in found else self.columns[n][start : start + rows] for n in names]
            yield list(zip(*parts, strict=True)) if names else [()] * rows
            found = {name: values[rows:] for name, values in found.items()}

    def _next(self, again: Iterator[Columns]) -> Columns:
        try:
            return next(again)
        except StopIteration:
            raise InputError(
                f"{self.name} has fewer rows than when it was read first", "Leave it alone while this runs."
            ) from None


def read_raw(
    source: str,
    columns: Sequence[str],
    pictures: Collection[str] = (),
    *,
    settings: Mapping[str, str] | None = None,
    as_numbers: Collection[str] = (),
) -> RawTable:
    """Read the named columns of a raw table; docs/own-tables.md says of which forms.

    Args:
        source: the path of a file, a pattern of several, a folder, or ``embedded:NAME`` of this package.
        columns: names of the columns needed.
        pictures: those of them that hold pictures or their paths.
        settings: what named each column, for messages; names of files may stand in for ``split_column``.
        as_numbers: columns whose numbers are left, where the file itself has names for them.

    Raises:
        InputError: nothing is there, it can't be parsed, or lacks a column.
    """
    settings = settings or {}
    place = find(source)
    telling = [name for name, said in settings.items() if said in ("split_column", "labels_column")]
    parts = [
        _Part(shard, reader, place.is_image_folder, [n for n in columns if settings.get(n) == "split_column"])
        for shard, reader in place.readers(columns, as_numbers, telling)
    ]
    held: Columns = {name: [] for name in columns if name not in pictures}
    cells = {name: PictureColumn() for name in columns if name in pictures}
    _refuse_missing(place, parts, columns, settings)
    try:
        for part in parts:
            for found in part.batches(columns, pictures, peek=True):
                for name, values in held.items():
                    values += found[name]
                for name, column in cells.items():
                    column.add(found[name], part.place)
        sha256 = place.sha256()
    except FileNotFoundError:
        raise InputError(f"{source} is no longer there", "Leave it alone while this runs.") from None
    _refuse_missing(place, parts, columns, settings)
    for column in cells.values():
        column.judge()

    def read_again(names: Sequence[str], size: int) -> Iterator[Columns]:
        for part in parts:
            for found in part.batches(names, names, size=size):
                yield {name: _pictures(found[name], cells[name], part.place) for name in names}

    metadata = parts[0].reader.metadata
    encoded = frozenset(name for name, column in cells.items() if column.is_encoded)
    paths = {name: column.paths for name, column in cells.items() if not column.is_base64}
    return RawTable(
        name=source,
        folder=place.folder,
        columns={**held, **paths},
        sha256=sha256,
        provenance={k: metadata[k] for k in PROVENANCE_KEYS if k in metadata},
        encoded=encoded,
        wrong={name: column.wrong for name, column in cells.items()},
        named=frozenset(n for n in columns if any(n in part.reader.named for part in parts)),
        read_again=read_again,
    )


def column_names(source: str) -> list[str]:
    """The names of all columns, in order, each column once; ``split`` where names of files stand in for one.

    Raises:
        InputError: see ``read_raw``.
    """
    place = find(source)
    names: list[str] = []
    for _, reader in place.readers((), (), ()):
        if reader.names is None:
            for _ in reader.batches((), (), peek=True):
                pass
        here = reader.offered or []
        names += [name for name in here if name not in names or here.count(name) > 1]
    if "split" not in names and all(shard.split for shard in place.shards):
        names.append("split")
    return names


def _pictures(values: Sequence[Any], column: PictureColumn, place: str) -> list[PictureCell]:
    """Cells of an encoded column as bytes, or paths from the table's folder."""
    found: list[PictureCell] = []
    for value in values:
        try:
            cell = picture_cell(value)
        except TypeError:
            cell = None
        if isinstance(cell, str) and cell:
            cell = decoded(cell) if column.is_base64 else joined(place, cell)
        found.append(cell)
    return found


class _Part:
    """One file of a source, with the columns that its name or folder stands in for.

    Args:
        shard, reader: the file.
        is_image_folder: whether its ``file_name`` is a picture's path, from its own folder.
        splits: columns that the split may be in.
    """

    def __init__(self, shard: Shard, reader: Reader, is_image_folder: bool, splits: Sequence[str]) -> None:
        self._shard, self.reader = shard, reader
        self._is_image_folder, self._splits = is_image_folder, splits
        self.place = "" if is_image_folder else shard.place  # of paths as the reader gives them
        if reader.names is None and (is_image_folder or shard.split):
            for _ in reader.batches((), (), peek=True):  # which of its columns are there
                pass

    def source_of(self, name: str) -> str | None:
        """The column that has the values of one; "" where the file's name says the split, else None."""
        names = self.reader.names
        if names is None or name in names:
            return name
        if self._is_image_folder:  # the names that Hugging Face gives to file_name and text_file_name
            other = FILE_NAME if name == "image" or name in self._splits else f"{name}_{FILE_NAME}"
            if other in names:
                return other
        return "" if name in self._splits and self._shard.split else None

    def batches(
        self, columns: Sequence[str], pictures: Collection[str], *, peek: bool = False, size: int = ROWS
    ) -> Iterator[Columns]:
        """The columns asked for, some rows at a time."""
        sources = {name: self.source_of(name) for name in columns}
        read = list(dict.fromkeys(source for source in sources.values() if source))
        bytes_in = {source for name, source in sources.items() if source and name in pictures}
        for rows, found in self.reader.batches(read, bytes_in, peek=peek, size=size):
            yield {name: self._column(name, source, found, rows) for name, source in sources.items()}

    def _column(self, name: str, source: str | None, found: Columns, rows: int) -> list[Any]:
        if not source:
            return [None if source is None else self._shard.split] * rows
        values = found[source]
        if self._is_image_folder and source.endswith(FILE_NAME):
            values = [joined(self._shard.place, v) if isinstance(v, str) else v for v in values]
            if name in self._splits and source != name:
                return [split_in(v) if isinstance(v, str) else None for v in values]
        return values


def _refuse_missing(
    place: Source, parts: Sequence[_Part], columns: Sequence[str], settings: Mapping[str, str]
) -> None:
    """Refuse a source that lacks columns, as far as it is known: fields of JSON may be in any of the files.

    Raises:
        InputError: names the columns, and the settings that name them.
    """
    anywhere = dict.fromkeys(name for part in parts for name in part.reader.names or [])
    unknown = any(part.reader.names is None for part in parts)
    for part in parts:
        may_lack = part.reader.may_lack_fields
        missing = [n for n in columns if part.source_of(n) is None and not (may_lack and n in anywhere)]
        if missing and not (may_lack and unknown):
            names = list(anywhere) if may_lack else part.reader.names or []
            raise _missing(place.name if may_lack else part.reader.shown, missing, names, settings)


def _missing(
    shown: str, missing: Sequence[str], names: Sequence[str], settings: Mapping[str, str]
) -> InputError:
    """The error that columns are not there."""
    said = [f"{settings[n]} for {quoted(n)}" if n in settings else quoted(n) for n in missing]
    how = f"Its columns are {listed(names)}; name the right ones in the preset's [data]: {', '.join(said)}"
    if any(settings.get(n) == "split_column" for n in missing):
        how += ", or split_rule to draw the splits"
    return InputError(f"{shown} has no column {listed(missing)}", f"{how}.")
