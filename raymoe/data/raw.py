"""Reading a raw table, Parquet, CSV or JSON Lines, as columns; knows nothing of what the values should be."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from raymoe.errors import InputError

# What a raw Parquet file may say about itself that is worth carrying on.
PROVENANCE_KEYS = ("licence", "license", "provenance", "citation", "homepage", "source")


@dataclass(frozen=True)
class RawTable:
    """A raw table as it was found.

    Attributes:
        name: its path or its ``embedded:`` name, for messages.
        folder: what relative picture paths start from.
        columns: those asked for, but those of encoded pictures, which ``batches`` reads as they are needed.
        sha256: of the content.
        provenance: what the file says about where it comes from.
        streamed: the Parquet file and names of the columns that aren't held in memory.
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
    streamed: tuple[Path, frozenset[str]] | None = None
    notes: tuple[str, ...] = ()
    left_out: tuple[dict[str, Any], ...] = ()
    numbered: bool = True
    carried: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def is_encoded(self, name: str) -> bool:
        """Whether a column holds encoded pictures, not their paths."""
        return self.streamed is not None and name in self.streamed[1]

    def batches(self, names: Sequence[str], size: int) -> Iterator[list[tuple[Any, ...]]]:
        """Rows in order, ``size`` at a time: each a tuple of the named columns' values, or () without any."""
        encoded = list(dict.fromkeys(name for name in names if self.is_encoded(name)))  # one may serve two
        starts = range(0, len(self), size)
        read: Iterable[dict[str, list[Any]]] = ({} for _ in starts)
        if encoded and self.streamed is not None:
            read = _binary_batches(self.streamed[0], encoded, size)
        for start, found in zip(starts, read, strict=True):
            parts = [found[n] if n in found else self.columns[n][start : start + size] for n in names]
            yield list(zip(*parts, strict=True)) if names else [()] * min(size, len(self) - start)


def read_raw(source: str, columns: list[str], pictures: Sequence[str] = ()) -> RawTable:
    """Read the named columns of a raw table.

    Args:
        source: path ending in .parquet, .csv or .jsonl, or ``embedded:NAME`` for a file of this package.
        columns: names of the columns needed.
        pictures: those of them that may hold encoded pictures; such a column isn't read here.

    Raises:
        InputError: the file is missing, can't be parsed, or lacks a column.
    """
    path = locate(source)
    if not path.is_file():
        raise InputError(f"no such file: {source}", "Correct data.source: a .parquet, .csv or .jsonl file.")
    readers = {".parquet": _read_parquet, ".csv": _read_csv, ".jsonl": _read_jsonl}
    if path.suffix not in readers:
        raise InputError(
            f"{source} is of no known format", f"data.source must end in {', '.join(sorted(readers))}."
        )
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        streamed = _binary_columns(path, pictures) if path.suffix == ".parquet" else frozenset()
        held = [name for name in columns if name not in streamed]
        found, names, metadata = readers[path.suffix](path, held)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{source} can't be read as {path.suffix[1:]}: {error}",
            "It is damaged, cut short or of another format: get it again or correct it.",
        ) from None
    missing = [name for name in held if name not in found]
    if missing:
        raise InputError(
            f"{source} has no column {', '.join(missing)}",
            f"Its columns are {', '.join(names)}; name the right ones in the preset's data section.",
        )
    provenance = {
        k: metadata[k.encode()].decode(errors="replace") for k in PROVENANCE_KEYS if k.encode() in metadata
    }
    return RawTable(source, path.parent, found, sha256, provenance, (path, streamed) if streamed else None)


def locate(source: str) -> Path:
    """Where a raw table is, or one of this package's own (``embedded:NAME``)."""
    if source.startswith("embedded:"):
        return Path(str(importlib.resources.files("raymoe.data") / "embedded" / source[len("embedded:") :]))
    return Path(source).expanduser()


# What a reader returns: those columns that are there, the names of all, and the file's metadata.
_Found = tuple[dict[str, list[Any]], list[str], dict[bytes, bytes]]


def _read_parquet(path: Path, columns: list[str]) -> _Found:
    file = pq.ParquetFile(path, memory_map=True)
    names = file.schema_arrow.names
    table = file.read(columns=[name for name in columns if name in names])
    found = {name: table[name].to_pylist() for name in table.column_names}
    return found, names, file.schema_arrow.metadata or {}


def _binary_columns(path: Path, names: Sequence[str]) -> frozenset[str]:
    """Those of the columns that hold bytes."""
    schema = pq.read_schema(path)
    kinds = {name: schema.field(name).type for name in names if name in schema.names}
    return frozenset(n for n, t in kinds.items() if pa.types.is_binary(t) or pa.types.is_large_binary(t))


def _binary_batches(path: Path, names: list[str], size: int) -> Iterator[dict[str, list[bytes | None]]]:
    """Columns of bytes, ``size`` rows at a time; mapped and decompressed page by page."""
    file = pq.ParquetFile(path, memory_map=True)
    rows: dict[str, list[bytes | None]] = {name: [] for name in names}
    for batch in file.iter_batches(size, columns=names, use_threads=False):
        for name in names:  # a batch may end early where a row group does
            rows[name] += batch.column(name).to_pylist()
        while len(rows[names[0]]) >= size:
            yield {name: values[:size] for name, values in rows.items()}
            rows = {name: values[size:] for name, values in rows.items()}
    if rows[names[0]]:
        yield rows


def _read_csv(path: Path, columns: list[str]) -> _Found:
    table = pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        # Ids such as 007 and labels such as 1|3 must stay what they are, so nothing is guessed.
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
        ),
    )
    return {n: table[n].to_pylist() for n in columns if n in table.column_names}, table.column_names, {}


def _read_jsonl(path: Path, columns: list[str]) -> _Found:
    """Line by line, as a value's type may differ between rows (one label, a list of labels)."""
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path}, line {number}: {error}", "Correct that line.") from None
            if not isinstance(row, dict):
                raise InputError(f"{path}, line {number}: not an object", "Write one object a line.")
            rows.append(row)
    # A field that no row has is a missing column; one that only some rows lack is null there.
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {n: [row.get(n) for row in rows] for n in columns if n in names}, names, {}
