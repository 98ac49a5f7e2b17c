"""Where the probe's tables lie, one Parquet file per expert, and how they are read as one table."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from raymoe.errors import ParentError
from raymoe.project.contracts import INTERACTIONS
from raymoe.project.provenance import Provenance
from raymoe.project.tables import is_complete, metadata_of, read_schema, read_table
from raymoe.project.workspace import Workspace

PREFIX, SUFFIX = "interactions-", ".parquet"
OLD = "interactions.arrow"  # one file for all experts, as earlier versions wrote it


def interactions_name(folder: str, expert: str) -> str:
    """The file of one expert in a run's folder: ``interactions-unique-text.parquet`` for ``unique:text``."""
    return f"{folder}/{PREFIX}{expert.replace(':', '-')}{SUFFIX}"


def interactions_names(workspace: Workspace, folder: str) -> list[str]:
    """The files that are there, sorted."""
    names = workspace.names(folder)
    return [f"{folder}/{name}" for name in names if name.startswith(PREFIX) and name.endswith(SUFFIX)]


def read_interactions(workspace: Workspace, folder: str, made_by: str, expert: str | None = None) -> pa.Table:
    """The measured pairs of all experts, one after the other, or of one.

    Args:
        workspace, folder: the run's folder.
        made_by: the command that makes the tables, for the error messages.
        expert: only this one.

    Returns:
        A table of the contract ``interactions``; its metadata is that of the first expert's file.

    Raises:
        ParentError: a file is missing, damaged, or of another probe than the others.
    """
    metadata = read_interactions_metadata(workspace, folder, made_by)
    experts = metadata["experts"]
    if expert is not None and expert not in experts:
        raise ParentError(
            f"{workspace.path(folder)} has no interactions of expert {expert!r}, only {', '.join(experts)}",
            f"Measure it with: {made_by} --set probe.experts={expert} --overwrite",
        )
    tables = []
    for name in [expert] if expert is not None else experts:
        file = interactions_name(folder, name)
        table = read_table(workspace, file, INTERACTIONS, made_by)
        if metadata_of(table.schema)["plan"] != metadata["plan"]:
            raise ParentError(
                f"{workspace.path(file)} is of another probe than the tables beside it",
                f"Make them again with: {made_by} --overwrite",
            )
        tables.append(table)
    schema = tables[0].schema
    return pa.concat_tables([table.replace_schema_metadata(schema.metadata) for table in tables])


def read_interactions_metadata(workspace: Workspace, folder: str, made_by: str) -> dict[str, Any]:
    """What all the files say of themselves: ``experts``, ``plan``, ``skipped``, ``failed`` and more.

    Raises:
        ParentError: there are none, or the first is damaged.
    """
    found = interactions_names(workspace, folder)
    if not found:
        old = workspace.exists(f"{folder}/{OLD}")
        raise ParentError(
            f"{workspace.path(folder)}/{PREFIX}EXPERT{SUFFIX} is missing"
            + (f" ({OLD} is of an earlier version)" if old else ""),
            f"Make it with: {made_by}",
        )
    return metadata_of(read_schema(workspace, found[0], INTERACTIONS, made_by))


def interactions_complete(
    workspace: Workspace,
    folder: str,
    experts: tuple[str, ...],
    provenance: Provenance,
    command: str,
) -> bool:
    """Whether every expert's table is there, made from the same inputs.

    Raises:
        ParentError: one is there but damaged, or was made from other inputs.
    """
    there = interactions_names(workspace, folder)
    for name in there:
        is_complete(workspace, name, INTERACTIONS, provenance, command)
    return {interactions_name(folder, expert) for expert in experts} <= set(there)


def remove_interactions(workspace: Workspace, folder: str) -> None:
    """Remove the tables, those of earlier versions too."""
    for name in [*interactions_names(workspace, folder), f"{folder}/{OLD}"]:
        workspace.remove(name)
