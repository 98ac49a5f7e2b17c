"""What ``raymoe evaluate`` found, for the page: of each experiment what is shown, or why there is nothing.

A table that was made from another checkpoint than the report's is not shown: mixed figures would look right.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa

from raymoe.display.inputs import Inputs
from raymoe.display.shown import Shown
from raymoe.errors import ParentError
from raymoe.experiments.experiment import Experiment
from raymoe.experiments.registry import experiments
from raymoe.project import Project
from raymoe.project.artifacts import FEATURES, SAMPLES, SWEEP
from raymoe.project.outputs import parents_in
from raymoe.project.tables import metadata_of


@dataclass(frozen=True)
class Found:
    """What there is of an experiment.

    Attributes:
        experiment: which.
        project: whose.
        gap: why nothing is shown; empty otherwise.
        tables: what is shown, by name; empty with a gap.
        fingerprints: of the tables that are there, shown or not.
    """

    experiment: Experiment
    project: Project
    gap: str = ""
    tables: dict[str, pa.Table] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """What makes it."""
        return self.experiment.command(self.project)

    @cached_property
    def shown(self) -> Shown:
        """Described when it is first asked for; nothing where there is a gap."""
        return Shown() if self.gap else self.experiment.show(self.project, self.tables)


def find_experiments(project: Project, inputs: Inputs) -> list[Found]:
    """Every experiment in the paper's order, then those beyond it.

    One that does not suit the data is left out where no table of it is there.
    """
    found = []
    for experiment in experiments().values():
        there = any(table.of(project).exists() for table in experiment.tables)
        if experiment.suits(project) or there:
            found.append(_found(project, inputs, experiment))
    return found


def _found(project: Project, inputs: Inputs, experiment: Experiment) -> Found:
    if not experiment.tables:
        drawn = experiment.show(project, {}).pictures
        return Found(experiment, project, gap="" if drawn else experiment.not_yet)
    tables: dict[str, pa.Table] = {}
    fingerprints: dict[str, str] = {}
    gaps = []
    for table in experiment.tables:
        output = table.of(project)
        if not output.exists():
            gaps.append(experiment.not_yet)
            continue
        try:
            read = output.read()
        except ParentError as error:
            gaps.append(f"{error.message}.")
            fingerprints[table.name] = "unreadable"
            continue
        metadata = metadata_of(read.schema)
        tables[table.name], fingerprints[table.name] = read, metadata["fingerprint"]
        known, own = _known(project, inputs)
        of_model = not set(table.parents) <= {SAMPLES, FEATURES}
        reason = stale(parents_in(metadata), known, own if of_model else None)
        if reason:
            gaps.append(f"{output.path} is not shown: {reason}.")
        elif not len(read):
            gaps.append(f"{output.path} has no rows.")
    if gaps:
        # "Not measured yet" says nothing where another of the tables is there but can't be shown
        gap = next((g for g in gaps if g != experiment.not_yet), gaps[0])
        return Found(experiment, project, gap=gap, fingerprints=fingerprints)
    return Found(experiment, project, tables=tables, fingerprints=fingerprints)


def stale(parents: dict[str, str], known: dict[str, str], own: set[str] | None) -> str | None:
    """Why a table does not belong to this report; None where it does.

    Args:
        parents: fingerprints of what the table was made from, by name; one can be several, with spaces.
        known: the fingerprints that this report is made from, by the names that tables give their parents.
        own: those of them that are of this checkpoint alone; the table has to name one. None for a table
            that is of no model, such as one of the encoders.
    """
    for name, value in parents.items():
        if name in known and known[name] not in value.split():
            return f"it was made from another {name} than this report ({value}, not {known[name]})"
    if own is not None and not own & {word for value in parents.values() for word in value.split()}:
        return "it was made from other checkpoints than this report's"
    return None


def _known(project: Project, inputs: Inputs) -> tuple[dict[str, str], set[str]]:
    fingerprints = inputs.fingerprints
    of_run = {
        "checkpoint": inputs.checkpoint,
        project.run.rsplit("/", 1)[1]: inputs.checkpoint,
        f"seed {project.preset.train.seed}": inputs.checkpoint,
        "importance": fingerprints["importance"],
        f"importance of seed {project.preset.train.seed}": fingerprints["importance"],
        f"probe of seed {project.preset.train.seed}": fingerprints["interactions"],
        "probe": fingerprints["interactions"],
        "interactions": fingerprints["interactions"],
    }
    known = of_run | {"features": fingerprints["features"], "samples": fingerprints["samples"]}
    return known, set(of_run.values()) | _sweep_of(project, inputs.checkpoint)


def _sweep_of(project: Project, checkpoint: str) -> set[str]:
    """Fingerprint of the sweep's table, where the checkpoint is one of its trials."""
    sweep = SWEEP.of(project)
    if not sweep.exists():
        return set()
    try:
        table = sweep.read()
    except ParentError:
        return set()
    trials = table["fingerprint"].to_pylist()
    return {metadata_of(table.schema)["fingerprint"]} if checkpoint in trials else set()
