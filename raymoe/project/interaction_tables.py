"""The probe's tables, one Parquet file per expert: where each lies, and how they are read as one table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from raymoe.errors import ParentError
from raymoe.project.outputs import Output
from raymoe.project.provenance import Metadata, Provenance
from raymoe.project.tables import metadata_of

OLD = "interactions.arrow"  # one file for all experts, as earlier versions wrote it


def read_interactions(interactions: Output, expert: str | None = None) -> pa.Table:
    """The measured pairs of all experts, one after the other, or of one.

    Args:
        interactions: the run's.
        expert: only this one.

    Returns:
        A table of the contract ``interactions``; its metadata is that of the first expert's file.

    Raises:
        ParentError: a file is missing, damaged, or of another probe than the others.
    """
    metadata = read_interactions_metadata(interactions)
    experts = metadata["experts"]
    if expert is not None and expert not in experts:
        folder = interactions.path.rsplit("/", 1)[0]
        raise ParentError(
            f"{folder} has no interactions of expert {expert!r}, only {', '.join(experts)}",
            f"Measure it with: {interactions.command} --set probe.experts={expert} --overwrite",
        )
    tables = []
    for name in [expert] if expert is not None else experts:
        file = of_expert(interactions, name)
        table = file.read()
        if metadata_of(table.schema)["plan"] != metadata["plan"]:
            raise ParentError(
                f"{file.path} is of another probe than the tables beside it",
                f"Make them again with: {file.again}",
            )
        tables.append(table)
    schema = tables[0].schema
    return pa.concat_tables([table.replace_schema_metadata(schema.metadata) for table in tables])


def read_interactions_metadata(interactions: Output) -> Metadata:
    """What all the files say of themselves: ``experts``, ``plan``, ``skipped``, ``failed`` and more.

    Raises:
        ParentError: there are none, or the first is damaged.
    """
    found = of_experts(interactions)
    if not found:
        old = _old(interactions).exists()
        raise ParentError(
            f"{interactions.path.replace('*', 'EXPERT')} is missing"
            + (f" ({OLD} is of an earlier version)" if old else ""),
            f"Make it with: {interactions.command}",
        )
    return found[0].metadata()


def interactions_complete(interactions: Output, experts: Sequence[str], made: Provenance) -> bool:
    """Whether every expert's table is there, made from the same inputs.

    Raises:
        ParentError: one is there but damaged, or was made from other inputs.
    """
    there = of_experts(interactions)
    for table in there:
        table.is_complete(made)
    return {of_expert(interactions, expert).name for expert in experts} <= {table.name for table in there}


def remove_interactions(interactions: Output) -> None:
    """Remove the tables, those of earlier versions too."""
    for table in [*of_experts(interactions), _old(interactions)]:
        table.remove()


def is_of_earlier_version(interactions: Output) -> bool:
    """Whether there is one table for all experts, as earlier versions wrote it."""
    return _old(interactions).exists()


def of_expert(interactions: Output, expert: str) -> Output:
    """The table of one expert: ``interactions-unique-text.parquet`` for ``unique:text``."""
    return replace(interactions, name=interactions.name.replace("*", expert.replace(":", "-")))


def of_experts(interactions: Output) -> list[Output]:
    """The tables that are there, sorted by name."""
    folder, _, base = interactions.name.rpartition("/")
    pattern = re.compile(re.escape(base).replace(re.escape("*"), ".+"))
    names = [name for name in interactions.workspace.names(folder) if pattern.fullmatch(name)]
    return [replace(interactions, name=f"{folder}/{name}") for name in names]


def _old(interactions: Output) -> Output:
    return replace(interactions, name=f"{interactions.name.rpartition('/')[0]}/{OLD}")
