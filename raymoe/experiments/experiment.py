"""What an experiment is: what it asks, which tables it writes, and where its measuring and its showing are.

Each has a folder. Its ``__init__.py`` holds its ``EXPERIMENT`` and the contracts of its tables, and imports
nothing slow, so that names and help are there at once. Its ``measure.py`` has ``measure(project, ...)``,
which writes the tables; its ``show.py`` has ``show(project, tables)``, from which terminal and page both
draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from raymoe.display.vocabulary import index_note
from raymoe.project import Project, StageResult
from raymoe.project.artifacts import INTERACTIONS, Artifact
from raymoe.project.contracts import Contract

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
    tables: tuple[Artifact, ...]
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
        probe = project.preset.probe
        of_pairs = any(INTERACTIONS in table.parents for table in self.tables)
        if of_pairs and (said := index_note(probe.index, probe.inclusion)):
            return replace(shown, notes=(*shown.notes, said))
        return shown

    def read(self, project: Project) -> dict[str, pa.Table]:
        """Its tables, by name.

        Raises:
            ParentError: one is missing or damaged.
        """
        return {table.name: table.of(project).read() for table in self.tables}


def evaluation_table(experiment: str, contract: Contract, parents: tuple[Artifact, ...]) -> Artifact:
    """A table of an experiment; it has the name of its contract."""
    place = f"{{root}}/evaluation/{contract.name}.parquet"
    return Artifact(contract.name, ("evaluate", experiment), place, contract, parents)
