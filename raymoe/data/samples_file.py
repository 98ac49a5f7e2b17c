"""Reading the samples table piece by piece, so that its pictures never have to be in memory together."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from raymoe.errors import ParentError
from raymoe.project.outputs import Output
from raymoe.project.tables import metadata_of


class SamplesFile:
    """A samples table on disk.

    Args:
        samples: where it is, and what makes it.

    Attributes:
        metadata: the table's own, decoded.

    Raises:
        ParentError: it is missing, cut short, or something else.
    """

    def __init__(self, samples: Output) -> None:
        self._file = samples.open_parquet()
        self._samples = samples
        self.metadata = metadata_of(self._file.schema_arrow)
        groups = self._file.metadata
        rows = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
        self._starts = np.cumsum([0, *rows])  # of each row group, and the end

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._file.schema_arrow.names)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def rows(self, start: int, stop: int, columns: list[str] | None = None) -> pa.Table:
        """Rows ``start`` to ``stop``, all columns or some; reads the row groups that hold them and no others.

        Raises:
            ParentError: the file is damaged there.
        """
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, stop, side="left"))
        try:
            table = self._file.read_row_groups(list(range(first, last)), columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise ParentError(
                f"{self._samples.path} is damaged in rows {start + 1} to {stop} ({error})",
                f"Delete it and make it again with: {self._samples.command}",
            ) from None
        return table.slice(start - int(self._starts[first]), stop - start)
