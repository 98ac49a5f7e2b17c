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
                                                    input/ the same, masked at the input,
                                                    report/ with index.html and figures

``SAMPLES.of(project)`` is a project's own: it reads, writes, says whether it is what would be made now, and
names the command that makes it. The order of the stages follows from the parents (pipeline.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raymoe.project import contracts
from raymoe.project.contracts import Contract

if TYPE_CHECKING:
    from raymoe.project.outputs import Output
    from raymoe.project.project import Project
    from raymoe.project.workspace import Workspace


@dataclass(frozen=True, eq=False)
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
        """The artifact of a project: where it lies, and the command that makes it."""
        places = {"root": project.root, "run": project.run, "sweep": project.sweep}
        return self.at(project.workspace, self.place.format(**places), project.command(*self.made_by))

    def at(self, workspace: Workspace, name: str, command: str) -> Output:
        """One that lies wherever it may.

        Args:
            workspace, name: where.
            command: what makes it.
        """
        # The list of artifacts is read for `raymoe --help`; Arrow, which reads tables, takes a while.
        from raymoe.project.outputs import Output

        return Output(self.name, self.stage, self.contract, workspace, name, command)


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
# The same with words and regions taken out before the encoders (probe.mask = "input").
INPUT_INTERACTIONS = Artifact(
    "input-interactions",
    ("probe",),
    "{run}/input/interactions-*.parquet",
    contracts.INPUT_INTERACTIONS,
    (SAMPLES, FEATURES, CHECKPOINT, IMPORTANCE),
)
REPORT = Artifact(
    "report",
    ("report",),
    "{run}/report",
    None,
    (SAMPLES, FEATURES, BASELINES, CHECKPOINT, EPOCHS, METRICS, PREDICTIONS, IMPORTANCE, INTERACTIONS),
)
