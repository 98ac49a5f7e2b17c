"""What an experiment is: what it asks, which tables it writes, and where its measuring and its showing are.

Each has a folder. Its ``__init__.py`` holds its ``EXPERIMENT`` and the contracts of its tables, and imports
nothing slow, so that names and help are there at once. Its ``measure.py`` has ``measure(project, ...)``,
which writes the tables; its ``show.py`` has ``show(project, tables)``, from which terminal and page both
draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from raymoe.errors import ParentError
from raymoe.project import Project, StageResult
from raymoe.project.contracts import Contract
from raymoe.project.provenance import Provenance
from raymoe.project.tables import is_complete, metadata_of, read_schema, read_table, write_table

if TYPE_CHECKING:
    import pyarrow as pa

    from raymoe.display.shown import Shown


@dataclass(frozen=True)
class Experiment:
    """One experiment, of the paper or beyond it.

    Attributes:
        name: as ``raymoe evaluate`` knows it.
        title: as people read it.
        place: in the paper.
        question: what it asks.
        help: the few words that the command line has for it.
        folder: the package with its ``measure`` and ``show``.
        tables: what it writes.
        options: which of ``device``, ``overwrite`` and ``samples`` its ``measure`` takes.
        formats: of the data that it suits (``data.format``); empty where it suits all.
        not_yet: what the page says before it was run.
        usage: words that its command may be followed by, for the page.
    """

    name: str
    title: str
    place: str
    question: str
    help: str
    folder: str
    tables: tuple[EvaluationTable, ...]
    options: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    not_yet: str = "Not measured yet."
    usage: tuple[str, ...] = ()

    @property
    def heading(self) -> str:
        """Title and place in the paper."""
        return f"{self.title} ({self.place})"

    def command(self, project: Project) -> str:
        """How a user runs it."""
        return project.command("evaluate", self.name, *self.usage)

    def suits(self, project: Project) -> bool:
        """Whether it can be asked of data like the project's."""
        return not self.formats or project.preset.data.format in self.formats

    def measure(self, project: Project, **options: Any) -> StageResult:
        """Write its tables, or find that they are current.

        Args:
            project: what to measure.
            options: those that it takes.

        Raises:
            ParentError: what it is measured from is missing.
            InputError: it doesn't suit the data or the settings.
        """
        result: StageResult = import_module(f"{self.folder}.measure").measure(project, **options)
        return result

    def show(self, project: Project, tables: Mapping[str, pa.Table]) -> Shown:
        """What is shown of its tables, by their names."""
        shown: Shown = import_module(f"{self.folder}.show").show(project, tables)
        return shown

    def read(self, project: Project) -> dict[str, pa.Table]:
        """Its tables, by name.

        Raises:
            ParentError: one is missing or damaged.
        """
        return {table.name: table.of(project).read() for table in self.tables}


@dataclass(frozen=True)
class EvaluationTable:
    """A table of ``raymoe evaluate``.

    Attributes:
        name: of its file, without the ending.
        made_by: the words of its command after ``raymoe``, without the dataset.
        contract: what it holds.
    """

    name: str
    made_by: tuple[str, ...]
    contract: Contract

    def of(self, project: Project) -> Output:
        """A project's own."""
        name = f"{project.root}/evaluation/{self.name}.parquet"
        return Output(project, name, self.contract, project.command(*self.made_by))


def evaluation_table(experiment: str, contract: Contract) -> EvaluationTable:
    """The table of an experiment that has the name of its contract."""
    return EvaluationTable(contract.name, ("evaluate", experiment), contract)


@dataclass(frozen=True)
class Output:
    """A project's table.

    Attributes:
        project: whose.
        name: in the workspace.
        contract: what it holds.
        command: what makes it, as the user would type it.
    """

    project: Project
    name: str
    contract: Contract
    command: str

    @property
    def path(self) -> str:
        """Its path in the workspace's file system, for messages."""
        return self.project.workspace.path(self.name)

    def exists(self) -> bool:
        """Whether there is a file of that name."""
        return self.project.workspace.exists(self.name)

    def made_from(self, config: Mapping[str, Any], parents: Mapping[str, str]) -> Provenance:
        """The provenance of the table that would be written now."""
        return Provenance("evaluate", self.contract.tag, dict(config), dict(parents))

    def is_current(self, made: Provenance) -> bool:
        """Whether it is there, made from the same inputs.

        A table of other runs, or a damaged one, is no error here: it is made from what is there now.
        """
        try:
            return is_complete(self.project.workspace, self.name, self.contract, made, self.command)
        except ParentError:
            return False

    def read(self) -> pa.Table:
        """The whole table.

        Raises:
            ParentError: it is missing, damaged, or holds something else.
        """
        return read_table(self.project.workspace, self.name, self.contract, f"{self.command} --overwrite")

    def metadata(self) -> dict[str, Any]:
        """What the table says of itself; of its rows nothing is read.

        Raises:
            ParentError: as ``read`` does.
        """
        again = f"{self.command} --overwrite"
        return metadata_of(read_schema(self.project.workspace, self.name, self.contract, again))

    def write(self, table: pa.Table, made: Provenance, extra: Mapping[str, Any] | None = None) -> None:
        """Write the table; ``extra`` metadata is stored as JSON under ``raymoe.<key>``."""
        write_table(self.project.workspace, self.name, table, self.contract, made, dict(extra or {}))
