"""Parquet and Arrow files. A column is read by its type: dictionaries, views, large types as their values."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from raymoe.data.cells import Encoded
from raymoe.data.readers.reader import ROWS, Columns, Reader
from raymoe.errors import InputError
from raymoe.runtime.quoting import listed, quoted, rows_named

FILE_MAGIC = b"ARROW1"
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


class ArrowReader(Reader):
    """What both formats share; each says what its schema is, and gives record batches.

    Args:
        path, shown: see ``Reader``.
        as_numbers: columns whose numbers are left as they are, although the file has names for them.
        features: of a Hugging Face dataset, where they are not in the file.
    """

    def __init__(
        self,
        path: Path,
        shown: str,
        as_numbers: Collection[str] = (),
        features: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(path, shown)
        with self.explained():
            self.schema = self._open()
            self._names = list(self.schema.names)  # decoded here, where it may fail
        own = self.schema.metadata or {}
        self.metadata = {k.decode(errors="replace"): v.decode(errors="replace") for k, v in own.items()}
        found = _features(own) or features or {}
        self._class_names = {
            name: names
            for name, feature in found.items()
            if name not in as_numbers and (names := class_names(feature))
        }
        self.named = frozenset(self._class_names)

    def _open(self) -> pa.Schema:
        raise NotImplementedError

    def _record_batches(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        """Batches that have at least these columns, of that size if they can be."""
        raise NotImplementedError

    @property
    def names(self) -> list[str]:
        """See ``Reader``."""
        return self._names

    def batches(
        self, columns: Sequence[str], pictures: Collection[str], *, peek: bool = False, size: int = ROWS
    ) -> Iterator[tuple[int, Columns]]:
        """See ``Reader``."""
        self.refuse_repeated(self._names, columns)
        there = [name for name in columns if name in self._names]
        unread = [n for n in there if peek and n in pictures and _is_bytes(self.schema.field(n).type)]
        read = [name for name in there if name not in unread]
        start = 0
        with self.explained():
            for whole in self._record_batches(read, size):
                for offset in range(0, whole.num_rows, size):
                    part = whole.slice(offset, size)
                    found: Columns = {name: [Encoded.UNREAD] * part.num_rows for name in unread}
                    for name in read:
                        values = self._values(name, part.column(name), name in pictures, start)
                        found[name] = values
                    start += part.num_rows
                    yield part.num_rows, found

    def _values(self, name: str, array: pa.Array, is_picture: bool, start: int) -> list[Any]:
        """A column's values as Python has them: text, numbers, lists; bytes of pictures alone."""
        while isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        try:
            array.validate(full=True)  # of a damaged file offsets may point anywhere in memory
            if is_picture and _is_numbers(array.type):
                return [
                    None if row is None else row.to_numpy(zero_copy_only=False).tobytes()
                    for row in _rows(array)
                ]
            values = array.to_pylist()
            if not is_picture:
                values = [_texts(value) for value in values]
        except (UnicodeDecodeError, pa.ArrowInvalid) as error:
            if isinstance(error, pa.ArrowInvalid) and "UTF8" not in str(error):
                raise
            raise InputError(
                f"{self.shown}, column {name}: bytes that are no UTF-8, within rows {start + 1} to "
                f"{start + len(array)}",
                "Write the column as text.",
            ) from None
        names = self._class_names.get(name)
        return values if names is None else self._with_names(name, values, names, start)

    def _with_names(self, column: str, values: list[Any], names: list[str], start: int) -> list[Any]:
        """Numbers of classes as the names that the file gives them; -1 is none."""

        def named(value: Any) -> Any:
            if isinstance(value, list):
                return [named(v) for v in value]
            if value is None or value == -1:
                return None
            if type(value) is int and 0 <= value < len(names):
                return names[value]
            raise IndexError

        found, wrong = [], []
        for row, value in enumerate(values, start + 1):
            try:
                found.append(named(value))
            except IndexError:
                wrong.append(row)
        if wrong:
            first = quoted(values[wrong[0] - start - 1])
            raise InputError(
                f"{self.shown}, {rows_named(wrong)}, column {column}: {first} is no number of the "
                f"{len(names)} classes that the file itself names ({listed(names)})",
                'Write the file again, or say labels_are = "indices" in [data].',
            )
        return found


class ParquetReader(ArrowReader):
    """A Parquet file."""

    format: ClassVar[str] = "Parquet"

    def _open(self) -> pa.Schema:
        return pq.read_schema(self.path)

    def _record_batches(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        file = pq.ParquetFile(self.path, memory_map=True)
        yield from file.iter_batches(size, columns=columns, use_threads=False)


class IpcReader(ArrowReader):
    """An Arrow file, or a stream, as Hugging Face ``datasets`` writes it."""

    format: ClassVar[str] = "Arrow"

    def _open(self) -> pa.Schema:
        with self.path.open("rb") as file:
            start = file.read(8)
            self._is_file = start.startswith(FILE_MAGIC)
            if not self._is_file:
                self._refuse_half_a_stream(file, start)
        with pa.memory_map(str(self.path)) as mapped:
            opened = pa.ipc.open_file(mapped) if self._is_file else pa.ipc.open_stream(mapped)
            return opened.schema

    def _refuse_half_a_stream(self, file: Any, start: bytes) -> None:
        """A stream may end at any message: only its end mark says that it is whole."""
        size = self.path.stat().st_size
        if start[:4] == END_OF_STREAM[:4] and size > 8:
            file.seek(-8, 2)
            if file.read() != END_OF_STREAM:
                raise self.unreadable("it has no end, as when writing was interrupted")

    def _record_batches(self, columns: list[str], size: int) -> Iterator[pa.RecordBatch]:
        with pa.memory_map(str(self.path)) as mapped:
            if self._is_file:
                opened = pa.ipc.open_file(mapped)
                found = (opened.get_batch(i) for i in range(opened.num_record_batches))
            else:
                found = iter(pa.ipc.open_stream(mapped))
            yield from found


def class_names(feature: Any) -> list[str] | None:
    """The names that a feature of a Hugging Face dataset gives its numbers, or those in its lists."""
    if isinstance(feature, list):
        return class_names(feature[0]) if len(feature) == 1 else None
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") == "ClassLabel":
        names = feature.get("names")
        return [str(name) for name in names] if isinstance(names, list) else None
    return class_names(feature.get("feature"))


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    try:
        return dict(json.loads(metadata[b"huggingface"])["info"]["features"])
    except (KeyError, TypeError, ValueError):
        return {}


def _stored(kind: pa.DataType) -> pa.DataType:
    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind


def _is_bytes(kind: pa.DataType) -> bool:
    """Whether a column holds bytes, in whatever clothes."""
    kind = _stored(kind)
    if pa.types.is_dictionary(kind):
        return _is_bytes(kind.value_type)
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
        or _is_numbers(kind)
    )


def _is_numbers(kind: pa.DataType) -> bool:
    """Whether a column holds bytes as a list of numbers."""
    kind = _stored(kind)
    lists = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    return any(is_kind(kind) for is_kind in lists) and pa.types.is_uint8(kind.value_type)


def _rows(array: pa.Array) -> Iterator[pa.Array | None]:
    return (row.values if row.is_valid else None for row in array)


def _texts(value: Any) -> Any:
    """Bytes as the text they are: some writers leave out that a column is text."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [_texts(v) for v in value]
    return value
