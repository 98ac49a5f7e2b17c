"""An artifact of one project: a place, what must be there, and the command that makes it.

It can be sent to actors: it holds no settings. ``raymoe.project.artifacts`` lists them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from raymoe.errors import ParentError
from raymoe.project.contracts import Contract
from raymoe.project.provenance import Metadata, Provenance, refuse_other_inputs
from raymoe.project.tables import (
    metadata_of,
    open_parquet,
    read_schema,
    read_table,
    write_batches,
    write_table,
)
from raymoe.project.workspace import Workspace

OVERWRITE = " --overwrite"


@dataclass(frozen=True)
class Output:
    """See the module.

    Attributes:
        kind: the artifact's name, as its children's provenance has it.
        stage: what makes it, and what its provenance says.
        table: the contract; None of what is no table.
        workspace, name: where it lies.
        command: what makes it, as the user would type it.
    """

    kind: str
    stage: str
    table: Contract | None
    workspace: Workspace
    name: str
    command: str

    @property
    def path(self) -> str:
        """Its path in the workspace's file system, for messages."""
        return self.workspace.path(self.name)

    @property
    def contract(self) -> Contract:
        """The contract of its table."""
        if self.table is None:
            raise TypeError(f"{self.kind} is no table")
        return self.table

    @property
    def _file(self) -> str:
        """Its name, where it is one file: a pattern would be looked for in vain and called missing."""
        if "*" in self.name:
            raise TypeError(f"{self.kind} are several files: raymoe.project.interaction_tables reads them")
        return self.name

    @property
    def again(self) -> str:
        """The command that makes it although it is there."""
        return f"{self.command.removesuffix(OVERWRITE)}{OVERWRITE}"

    def made_with(self, command: str) -> Output:
        """The same where another command makes it: a sweep trains, too; some errors want ``--overwrite``."""
        return replace(self, command=command)

    def exists(self) -> bool:
        """Whether there is anything of that name."""
        return self.workspace.exists(self.name)

    def remove(self) -> None:
        """Remove it, if it is there."""
        self.workspace.remove(self.name)

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """The whole table, or some of its columns.

        Raises:
            ParentError: it is missing, damaged, or holds something else.
        """
        return read_table(self.workspace, self._file, self.contract, self.command, columns)

    def open_parquet(self) -> pq.ParquetFile:
        """The table, to be read group by group.

        Raises:
            ParentError: see ``read``.
        """
        return open_parquet(self.workspace, self._file, self.contract, self.command)

    def metadata(self) -> Metadata:
        """What the table says of itself; of its rows nothing is read.

        Raises:
            ParentError: see ``read``.
        """
        return metadata_of(read_schema(self.workspace, self._file, self.contract, self.command))

    def made_from(self, config: Mapping[str, object], parents: Mapping[str, str]) -> Provenance:
        """The provenance of the table that would be written now.

        Args:
            config: every setting that the content depends on.
            parents: fingerprints of what it is made from, by name.
        """
        return Provenance(self.stage, self.contract.tag, dict(config), dict(parents))

    def is_complete(self, made: Provenance, *, overwrite: bool = False, command: str | None = None) -> bool:
        """Whether it is already there, made from the same inputs; reads its metadata alone.

        Args:
            made: what it would be made from now.
            overwrite: act as if it were not there.
            command: what makes it, where that is another command than usual (a sweep trains, too).

        Raises:
            ParentError: it is there but damaged, or was made from other inputs (named), and ``overwrite`` is
                off.
        """
        if overwrite or not self.exists():
            return False
        output = self.made_with(command) if command else self
        found = metadata_of(read_schema(self.workspace, self.name, self.contract, output.again))
        output.refuse_other_inputs(found, made)
        return True

    def is_current(self, made: Provenance) -> bool:
        """Whether it is there, made from the same inputs. What is damaged or of other inputs is not."""
        try:
            return self.is_complete(made)
        except ParentError:
            return False

    def write(self, table: pa.Table, made: Provenance, extra: Mapping[str, object] | None = None) -> None:
        """Write the table; ``extra`` metadata is stored as JSON under ``raymoe.<key>``."""
        write_table(self.workspace, self.name, table, self.contract, made, extra)

    def write_batches(
        self,
        batches: Iterable[pa.RecordBatch],
        made: Provenance,
        extra: Mapping[str, object] | None = None,
        *,
        schema: pa.Schema | None = None,
    ) -> None:
        """Write the table as its batches come; ``schema`` is theirs where the contract is open."""
        write_batches(self.workspace, self.name, batches, self.contract, made, extra, schema=schema)

    def refuse_other_inputs(self, metadata: Metadata, made: Provenance) -> None:
        """Raise ParentError if what is there was made from other inputs than ``made``, naming them."""
        refuse_other_inputs(self.path, metadata, made, self.command)

    def refuse_changed(self, planned: str, now: str | None, remedy: str = "Run it again.") -> None:
        """Raise ParentError if it is no longer what the work at hand was planned from.

        Args:
            planned, now: its fingerprint then, and what is there now.
            remedy: what to do about it.
        """
        if now != planned:
            raise ParentError(f"{self.path} changed since this was planned", remedy)

    def refuse_other_parents(self, made_from: Mapping[str, str], now: Mapping[str, str]) -> None:
        """The one check of lineage: what this was made from has to be what is there now.

        Args:
            made_from: fingerprints of its parents when it was made, by name.
            now: those that are there, by name; only these are compared.

        Raises:
            ParentError: names the first that differs.
        """
        for name, fingerprint in now.items():
            if made_from.get(name) != fingerprint:
                raise ParentError(
                    f"{self.path} was made from {name} {made_from.get(name, 'unknown')}, the one there is "
                    f"{fingerprint}",
                    f"Make it again with: {self.again}",
                )


def parents_in(metadata: Metadata) -> dict[str, str]:
    """Fingerprints of what a table was made from, by name, as its metadata have them."""
    return Provenance.from_json(metadata["made_by"]).parents
