"""Everything that a run writes, each stated once: its place, its contract, what makes it, its parents.

    <workspace>/<dataset>/samples.parquet
                          features/                 parts, and features.json when complete
                          baselines.parquet         linear probes on pooled features
                          sweep.parquet, sweep.json what a sweep found, and what it chose
                          evaluation/               tables of experiments, declared in theirs
                          runs/<model><variant>-seed<n>/
                                                    checkpoint/, epochs, predictions, metrics,
                                                    importance.arrow, units/,
                                                    interactions-<expert>.parquet,
                                                    report/ with index.html and figures

``SAMPLES.of(project)`` is a project's own: it reads, writes, says whether it is what would be made now, and
names the command that makes it. The order of the stages follows from the parents (pipeline.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.parquet as pq

from raymoe.errors import ParentError
from raymoe.project import contracts
from raymoe.project.contracts import Contract
from raymoe.project.project import Project
from raymoe.project.provenance import Json, Provenance, refuse_other_inputs
from raymoe.project.tables import (
    Metadata,
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
class Artifact:
    """One thing that a stage writes.

    Attributes:
        name: what messages and the provenance of its children call it.
        made_by: the words of its command after ``raymoe``, without the dataset: ``("evaluate", "planted")``.
        place: its name in the workspace; ``{root}``, ``{run}`` and ``{sweep}`` are the project's folders.
        contract: of its table; None of what is no table.
        parents: what it is made from.
    """

    name: str
    made_by: tuple[str, ...]
    place: str
    contract: Contract | None = None
    parents: tuple[Artifact, ...] = ()

    @property
    def stage(self) -> str:
        """The stage that makes it."""
        return self.made_by[0]

    def of(self, project: Project) -> Output:
        """A project's own."""
        places = {"root": project.root, "run": project.run, "sweep": project.sweep}
        return Output(self, project.workspace, self.place.format(**places), project.command(*self.made_by))


@dataclass(frozen=True)
class Output:
    """An artifact of one project. It can be sent to actors: it holds no settings.

    Attributes:
        artifact: what it is.
        workspace, name: where it lies.
        command: what makes it, as the user would type it.
    """

    artifact: Artifact
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
        if self.artifact.contract is None:
            raise TypeError(f"{self.artifact.name} is no table")
        return self.artifact.contract

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
        return read_table(self.workspace, self.name, self.contract, self.command, columns)

    def open_parquet(self) -> pq.ParquetFile:
        """The table, to be read group by group.

        Raises:
            ParentError: see ``read``.
        """
        return open_parquet(self.workspace, self.name, self.contract, self.command)

    def metadata(self) -> Metadata:
        """What the table says of itself; of its rows nothing is read.

        Raises:
            ParentError: see ``read``.
        """
        return metadata_of(read_schema(self.workspace, self.name, self.contract, self.command))

    def made_from(self, config: Mapping[str, Json], parents: Mapping[str, str]) -> Provenance:
        """The provenance of the table that would be written now.

        Args:
            config: every setting that the content depends on.
            parents: fingerprints of what it is made from, by name.
        """
        return Provenance(self.artifact.stage, self.contract.tag, dict(config), dict(parents))

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

    def write(self, table: pa.Table, made: Provenance, extra: Mapping[str, Json] | None = None) -> None:
        """Write the table; ``extra`` metadata is stored as JSON under ``raymoe.<key>``."""
        write_table(self.workspace, self.name, table, self.contract, made, extra)

    def write_batches(
        self,
        batches: Iterable[pa.RecordBatch],
        made: Provenance,
        extra: Mapping[str, Json] | None = None,
        *,
        schema: pa.Schema | None = None,
    ) -> None:
        """Write the table as its batches come; ``schema`` is theirs where the contract is open."""
        write_batches(self.workspace, self.name, batches, self.contract, made, extra, schema=schema)

    def refuse_other_inputs(self, metadata: Mapping[str, Json], made: Provenance) -> None:
        """Raise ParentError if what is there was made from other inputs than ``made``, naming them."""
        refuse_other_inputs(self.path, metadata, made, self.command)

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


SAMPLES = Artifact("samples", ("prepare",), "{root}/samples.parquet", contracts.SAMPLES)
FEATURES = Artifact("features", ("encode",), "{root}/features", contracts.FEATURES, (SAMPLES,))
BASELINES = Artifact("baselines", ("baselines",), "{root}/baselines.parquet", contracts.METRICS, (FEATURES,))

CHECKPOINT = Artifact("checkpoint", ("train",), "{run}/checkpoint", None, (FEATURES,))
EPOCHS = Artifact("epochs", ("train",), "{run}/epochs.parquet", contracts.EPOCHS, (FEATURES,))
METRICS = Artifact("metrics", ("train",), "{run}/metrics.parquet", contracts.METRICS, (FEATURES,))
PREDICTIONS = Artifact(
    "predictions", ("train",), "{run}/predictions.parquet", contracts.PREDICTIONS, (FEATURES,)
)
SWEEP = Artifact("sweep", ("sweep",), "{sweep}.parquet", contracts.SWEEP, (FEATURES,))
CHOSEN = Artifact("what a sweep chose", ("sweep",), "{sweep}.json", None, (FEATURES,))

IMPORTANCE = Artifact(
    "importance", ("attribute",), "{run}/importance.arrow", contracts.IMPORTANCE, (FEATURES, CHECKPOINT)
)
# One file per expert: interaction_tables.py reads and writes them.
INTERACTIONS = Artifact(
    "interactions",
    ("probe",),
    "{run}/interactions-*.parquet",
    contracts.INTERACTIONS,
    (FEATURES, CHECKPOINT, IMPORTANCE),
)
REPORT = Artifact(
    "report",
    ("report",),
    "{run}/report",
    None,
    (SAMPLES, FEATURES, BASELINES, CHECKPOINT, EPOCHS, METRICS, PREDICTIONS, IMPORTANCE, INTERACTIONS),
)
