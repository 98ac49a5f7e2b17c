"""How table files are written and read: each names its contract, what made it, and the hash of that.

The metadata are ``raymoe.schema`` (``samples/1``), ``raymoe.made_by`` (JSON of stage, configuration and
parents) and ``raymoe.fingerprint``. Readers refuse a table of another contract or one cut short, by name.
Files ending in ``.parquet`` are Parquet, in ``.arrow`` Arrow IPC.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from raymoe.errors import ParentError
from raymoe.project.contracts import Contract
from raymoe.project.provenance import Metadata, Provenance
from raymoe.project.workspace import Workspace

ROW_GROUP = 256  # rows of a Parquet table that are read at once, so that pictures needn't all be in memory


def write_table(
    workspace: Workspace,
    name: str,
    table: pa.Table,
    contract: Contract,
    provenance: Provenance,
    extra: Mapping[str, object] | None = None,
) -> None:
    """Write a table under its contract; ``extra`` metadata is stored as JSON under ``raymoe.<key>``."""
    conform(table.schema, contract, name)
    table = table.replace_schema_metadata(provenance.metadata(extra))

    def write(sink: pa.NativeFile) -> None:
        if name.endswith(".parquet"):
            pq.write_table(table, sink, compression="zstd", row_group_size=ROW_GROUP)
        else:
            with pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)

    workspace.write_with(name, write)


def write_batches(
    workspace: Workspace,
    name: str,
    batches: Iterable[pa.RecordBatch],
    contract: Contract,
    provenance: Provenance,
    extra: Mapping[str, object] | None = None,
    *,
    schema: pa.Schema | None = None,
) -> None:
    """Write a table batch by batch, as they come, so that it is never held in memory.

    In a Parquet file every batch is a row group.

    Args:
        workspace, name, contract, provenance, extra: as in ``write_table``.
        batches: all of one schema.
        schema: theirs, where the contract is open; by default the contract's.
    """
    schema = schema or contract.schema
    conform(schema, contract, name)
    schema = schema.with_metadata(provenance.metadata(extra))

    def write(sink: pa.NativeFile) -> None:
        if name.endswith(".parquet"):
            writer = pq.ParquetWriter(sink, schema, compression="zstd")
        else:
            writer = pa.ipc.new_file(sink, schema)
        with writer:
            for batch in batches:
                writer.write_batch(batch.replace_schema_metadata(schema.metadata))

    workspace.write_with(name, write)


def read_table(
    workspace: Workspace, name: str, contract: Contract, made_by: str, columns: list[str] | None = None
) -> pa.Table:
    """Read a table; Arrow files are memory-mapped.

    Args:
        workspace: where it is.
        name: its name there.
        contract: what it must be.
        made_by: the command that makes it, for the error messages.
        columns: those of a Parquet file that are read; by default all.

    Raises:
        ParentError: it is missing, cut short, or holds something else.
    """
    if name.endswith(".parquet"):
        file = open_parquet(workspace, name, contract, made_by)
        with _whole(workspace, name, made_by):
            return file.read(columns)
    _require(workspace, name, made_by)
    with _whole(workspace, name, made_by), pa.memory_map(workspace.local(name)) as source:
        table = pa.ipc.open_file(source).read_all()
    _check_contract(table.schema, workspace.path(name), contract, made_by)
    return table


def open_parquet(workspace: Workspace, name: str, contract: Contract, made_by: str) -> pq.ParquetFile:
    """Open a Parquet table to read it group by group; arguments and errors: see ``read_table``."""
    _require(workspace, name, made_by)
    with _whole(workspace, name, made_by):
        file = pq.ParquetFile(workspace.local(name))
    _check_contract(file.schema_arrow, workspace.path(name), contract, made_by)
    return file


def read_schema(workspace: Workspace, name: str, contract: Contract, made_by: str) -> pa.Schema:
    """A table's schema with its metadata, from the file's footer: of the rows nothing is read.

    Arguments and errors: see ``read_table``; damage to the rows themselves goes unnoticed.
    """
    _require(workspace, name, made_by)
    with _whole(workspace, name, made_by), workspace.fs.open_input_file(workspace.path(name)) as source:
        if name.endswith(".parquet"):
            schema = pq.ParquetFile(source).schema_arrow
        else:
            schema = pa.ipc.open_file(source).schema
    _check_contract(schema, workspace.path(name), contract, made_by)
    return schema


def _require(workspace: Workspace, name: str, made_by: str) -> None:
    if not workspace.exists(name):
        raise ParentError(f"{workspace.path(name)} is missing", f"Make it with: {made_by}")


@contextmanager
def _whole(workspace: Workspace, name: str, made_by: str) -> Iterator[None]:
    """Turn what Arrow says of a damaged file into an error that says what to do."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        kind = "Parquet" if name.endswith(".parquet") else "Arrow"
        raise ParentError(
            f"{workspace.path(name)} is not a whole {kind} file ({error})",
            f"It was cut short or damaged: delete it and make it again with: {made_by}",
        ) from None


def _check_contract(schema: pa.Schema, path: str, contract: Contract, made_by: str) -> None:
    tag = metadata_of(schema).get("schema")
    if tag != contract.tag:
        raise ParentError(
            f"{path} holds {tag or 'no raymoe table'}, expected {contract.tag}",
            f"Delete it and make it again with: {made_by}",
        )
    conform(schema, contract, path, f"Delete it and make it again with: {made_by}")


def conform(schema: pa.Schema, contract: Contract, name: str, remedy: str = "Make it again.") -> None:
    """Raise unless the schema has the contract's columns, with their types; ``remedy`` ends the message."""
    problems = []
    for wanted in contract.schema:
        found = schema.field(wanted.name).type if wanted.name in schema.names else "missing"
        if found != wanted.type:
            problems.append(f"column {wanted.name} is {found}, not {wanted.type}")
    if not contract.open:
        problems += [f"unknown column {n}" for n in schema.names if n not in contract.schema.names]
    if problems:
        raise ParentError(f"{name} does not fit {contract.tag}: {'; '.join(problems)}", remedy)


def metadata_of(schema: pa.Schema) -> Metadata:
    """A table's own metadata without the prefix, JSON values decoded."""
    found: dict[str, object] = {}
    for key, value in (schema.metadata or {}).items():
        if key.startswith(b"raymoe."):
            name, text = key[7:].decode(), value.decode()
            found[name] = text if name in ("schema", "fingerprint", "made_by") else json.loads(text)
    return cast(Metadata, found)
