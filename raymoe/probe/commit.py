"""Finished units on disk: one small file each, under the unit's name, whole or not at all."""

from __future__ import annotations

import pyarrow as pa

from raymoe.errors import ParentError
from raymoe.workspace import Workspace

SUFFIX = ".arrow"


class UnitFiles:
    """The answers of one plan's units in the workspace.

    Args:
        workspace: where.
        folder: the plan's own folder; another plan has another.
    """

    def __init__(self, workspace: Workspace, folder: str) -> None:
        self.workspace, self.folder = workspace, folder

    def committed(self) -> set[str]:
        """Keys of the units that are there."""
        return {n.removesuffix(SUFFIX) for n in self.workspace.names(self.folder) if n.endswith(SUFFIX)}

    def commit(self, key: str, answer: bytes) -> None:
        """Store a unit's answer; storing it again changes nothing."""
        self.workspace.write(f"{self.folder}/{key}{SUFFIX}", answer)

    def read(self, key: str, rows: int) -> pa.Table:
        """A unit's answer, which has so many rows.

        Raises:
            ParentError: it is damaged; it has been removed, so that the next run does it again.
        """
        name = f"{self.folder}/{key}{SUFFIX}"
        answer = self.workspace.read(name)
        try:
            table = pa.ipc.open_stream(answer).read_all()
            if table.num_rows != rows:
                raise pa.ArrowInvalid(f"{table.num_rows} rows, expected {rows}")
            return table
        except (pa.ArrowException, OSError) as error:  # a body cut short is an OSError
            self.workspace.remove(name)
            raise ParentError(
                f"{self.workspace.path(name)} was damaged ({error}) and has been removed",
                "Run the same command again: only this unit is done again.",
            ) from None

    def remove(self) -> None:
        """Forget all of them."""
        self.workspace.remove(self.folder)
