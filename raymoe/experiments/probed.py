"""The runs that were attributed and probed: of one kind of model every seed whose tables are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from raymoe.errors import ParentError
from raymoe.experiments.runs import TrainedRun, finished_seeds
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import read_info
from raymoe.project import Project
from raymoe.project.contracts import IMPORTANCE
from raymoe.project.interaction_tables import read_interactions, read_interactions_metadata
from raymoe.project.provenance import Provenance
from raymoe.project.tables import metadata_of, read_schema, read_table
from raymoe.runtime.progress import console


@dataclass(frozen=True)
class ProbedRun:
    """A run whose importances and interactions are of its checkpoint, and of each other.

    The tables are read when they are asked for: those of several seeds need not be in memory together.

    Attributes:
        run: the training that they are of.
        asked: the project as the user asked for it, maybe of another seed.
        importance_metadata, probe_metadata: of the two tables.
    """

    run: TrainedRun
    asked: Project
    importance_metadata: dict[str, Any]
    probe_metadata: dict[str, Any]

    @property
    def seed(self) -> int:
        """Of its training."""
        return self.run.seed

    @property
    def experts(self) -> list[str]:
        """Those that were probed, in order."""
        return list(self.probe_metadata["experts"])

    @property
    def parents(self) -> dict[str, str]:
        """Fingerprints of what a table over several seeds is made from, by name."""
        return {
            f"seed {self.seed}": self.run.fingerprint,
            f"importance of seed {self.seed}": self.importance_metadata["fingerprint"],
            f"probe of seed {self.seed}": self.probe_metadata["fingerprint"],
        }

    def command(self, stage: str) -> str:
        """How a user runs a stage for this seed."""
        return _command(self.asked, self.seed, stage)

    def importance(self) -> pa.Table:
        """The table of ``attribute``.

        Raises:
            ParentError: it is damaged.
        """
        project = self.run.project
        return read_table(project.workspace, _importance(project), IMPORTANCE, self.command("attribute"))

    def pairs(self) -> pa.Table:
        """The table of ``probe``, of all experts.

        Raises:
            ParentError: it is damaged.
        """
        project = self.run.project
        return read_interactions(project.workspace, project.run, self.command("probe"))


def probed_seeds(project: Project, store: FeatureStore) -> list[ProbedRun]:
    """The project's own run and the finished ones of the other seeds of ``sweep.seeds``, if probed.

    Args:
        project: its kind and settings, as ``with_chosen`` gives them.
        store: its features.

    Raises:
        ParentError: none was probed; of the project's own run, why, and the command.
    """
    own = project.preset.train.seed
    others = [seed for seed in project.preset.sweep.seeds if seed != own]
    seeds = [own, *(run.seed for run in finished_seeds(project, store.fingerprint, others))]
    return probed(project, store, seeds)


def probed(project: Project, store: FeatureStore, seeds: Iterable[int]) -> list[ProbedRun]:
    """Those of the seeds that were probed; says which were not, and with which command they are.

    Raises:
        ParentError: none was; the first one's reason.
    """
    found, missing = [], []
    for seed in dict.fromkeys(seeds):
        try:
            found.append(_open(project, store, seed))
        except ParentError as error:
            missing.append((seed, error))
    if not found:
        raise missing[0][1]
    for seed, why in missing:
        console.print(f"  seed {seed} left out: {why.message}. {why.remedy}", markup=False)
    return sorted(found, key=lambda run: run.seed)


def left_out_of(skipped: Sequence[tuple[int, dict[str, str]]]) -> list[dict[str, Any]]:
    """Samples left out, as a table's metadata has them; names the seeds where it was not all of them.

    Args:
        skipped: per seed, reasons by sample.
    """
    seeds: dict[tuple[str, str], list[int]] = {}
    for seed, reasons in skipped:
        for entry in reasons.items():
            seeds.setdefault(entry, []).append(seed)
    return [
        {
            "sample_id": sample_id,
            "row": None,
            "reason": reason if len(of) == len(skipped) else f"{reason} (seed {', '.join(map(str, of))})",
        }
        for (sample_id, reason), of in seeds.items()
    ]


def _command(project: Project, seed: int, stage: str) -> str:
    other = "" if seed == project.preset.train.seed else f" --seed {seed}"
    return f"{project.command(stage)}{other}"


def _importance(project: Project) -> str:
    return f"{project.run}/importance.arrow"


def _open(asked: Project, store: FeatureStore, seed: int) -> ProbedRun:
    """Raises ParentError unless the tables are of the features and checkpoint there, and of each other."""
    project = replace(asked, preset=asked.preset.with_fields({"train.seed": seed}))
    workspace, run = project.workspace, project.run
    commands = {stage: _command(asked, seed, stage) for stage in ("train", "attribute", "probe")}
    # The probe's own first: where it is missing too, its command makes all that is.
    probe = read_interactions_metadata(workspace, run, commands["probe"])
    schema = read_schema(workspace, _importance(project), IMPORTANCE, commands["attribute"])
    importance = metadata_of(schema)
    info = read_info(workspace, f"{run}/checkpoint", commands["train"])
    if info.features != store.fingerprint:
        raise ParentError(
            f"{workspace.path(run)}/checkpoint was trained on features {info.features}, those in "
            f"{workspace.path(project.features)} are {store.fingerprint}",
            f"Train again with: {commands['train']} --overwrite; then attribute and probe again.",
        )
    made = Provenance.from_json(importance["made_by"]).parents.get("checkpoint")
    if made != info.fingerprint:
        raise ParentError(
            f"{workspace.path(run)}/importance.arrow was made from checkpoint {made}, the one there is "
            f"{info.fingerprint}",
            f"Make it again with: {commands['attribute']} --overwrite; then probe again.",
        )
    parents = Provenance.from_json(probe["made_by"]).parents
    wanted = {"checkpoint": info.fingerprint, "importance": importance["fingerprint"]}
    for parent, fingerprint in wanted.items():
        if parents.get(parent) != fingerprint:
            raise ParentError(
                f"the interactions in {workspace.path(run)} were made from {parent} {parents.get(parent)}, "
                f"the one there is {fingerprint}",
                f"Measure them again with: {commands['probe']} --overwrite",
            )
    trained = TrainedRun(project, project.preset.model.kind, seed, info.fingerprint)
    return ProbedRun(trained, asked, importance, probe)
