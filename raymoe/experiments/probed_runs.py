"""The runs that were attributed and probed: of one kind of model every seed whose tables are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from raymoe.attribution.mixture_rows import with_mixture
from raymoe.catalogue import MIXTURE
from raymoe.errors import ParentError
from raymoe.experiments.trained_runs import TrainedRun, finished_seeds
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import read_info
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT, IMPORTANCE, INTERACTIONS
from raymoe.project.interaction_tables import read_interactions, read_interactions_metadata
from raymoe.project.outputs import parents_in
from raymoe.project.provenance import Metadata, Skipped
from raymoe.runtime.progress import console


@dataclass(frozen=True)
class ProbedRun:
    """A run whose importances and interactions are of its checkpoint, and of each other.

    The tables are read when they are asked for: those of several seeds need not be in memory together.

    Attributes:
        run: the training that they are of.
        importance_metadata, probe_metadata: of the two tables.
    """

    run: TrainedRun
    importance_metadata: Metadata
    probe_metadata: Metadata

    @property
    def seed(self) -> int:
        """The seed of its training."""
        return self.run.seed

    @property
    def experts(self) -> list[str]:
        """The experts that were probed, in order."""
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
        return self.run.project.command(stage)

    def importance(self) -> pa.Table:
        """The table of ``attribute``, with the mixture where that was probed.

        Raises:
            ParentError: it is damaged.
        """
        table = IMPORTANCE.of(self.run.project).read()
        return with_mixture(table) if MIXTURE in self.experts else table

    def pairs(self) -> pa.Table:
        """The table of ``probe``, of all experts.

        Raises:
            ParentError: it is damaged.
        """
        return read_interactions(INTERACTIONS.of(self.run.project))


def probed_seeds(project: Project, store: FeatureStore) -> list[ProbedRun]:
    """The project's own run and the finished ones of the other seeds of ``sweep.seeds``, if probed.

    Args:
        project: its kind and settings.
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
        console.print(f"  seed {seed} left out: {why.message}. {why.remedy}")
    return sorted(found, key=lambda run: run.seed)


def parents_of(store: FeatureStore, runs: Iterable[ProbedRun]) -> dict[str, str]:
    """Fingerprints of what a table of some runs is made from, by name."""
    parents = {"features": store.fingerprint}
    for run in runs:
        parents |= run.parents
    return parents


def reasons_of(skipped: Iterable[Skipped]) -> dict[str, str]:
    """Why samples were left out, by their ids."""
    return {entry["sample_id"] or "?": entry["reason"] for entry in skipped}


def left_out_of(skipped: Sequence[tuple[int, dict[str, str]]]) -> list[Skipped]:
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


def _open(asked: Project, store: FeatureStore, seed: int) -> ProbedRun:
    """Raises ParentError unless the tables are of the features and checkpoint there, and of each other."""
    project = asked.with_seed(seed)
    interactions, importance = INTERACTIONS.of(project), IMPORTANCE.of(project)
    # The probe's own first: where it is missing too, its command makes all that is.
    probe_metadata = read_interactions_metadata(interactions)
    importance_metadata = importance.metadata()
    checkpoint = CHECKPOINT.of(project)
    info = read_info(checkpoint)
    checkpoint.refuse_other_parents({"features": info.features}, {"features": store.fingerprint})
    parents = {"checkpoint": info.fingerprint}
    importance.refuse_other_parents(parents_in(importance_metadata), parents)
    parents |= {"importance": importance_metadata["fingerprint"]}
    interactions.refuse_other_parents(parents_in(probe_metadata), parents)
    run = TrainedRun(project, project.preset.model.kind, seed, info.fingerprint)
    return ProbedRun(run, importance_metadata, probe_metadata)
