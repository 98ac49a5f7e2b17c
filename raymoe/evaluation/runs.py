"""The trained models that a protocol looks at: of each kind every seed that finished."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from raymoe.chosen import with_chosen
from raymoe.errors import ParentError
from raymoe.features.store import FeatureStore
from raymoe.progress import console
from raymoe.project import Project
from raymoe.training.train import finished


@dataclass(frozen=True)
class TrainedRun:
    """One finished training.

    Attributes:
        project: its settings and place.
        kind: which model.
        seed: of its training.
        fingerprint: of its checkpoint.
    """

    project: Project
    kind: str
    seed: int
    fingerprint: str


def finished_runs(project: Project, store: FeatureStore, kinds: tuple[str, ...]) -> list[TrainedRun]:
    """Runs of these kinds: of a kind that was swept those of the chosen configuration, else the preset's.

    Raises:
        ParentError: there is none; names the commands that make them.
    """
    found = [run for kind in kinds for run in _of_kind(project, store, kind)]
    if not found:
        commands = [f"{project.command('train')} --set model.kind={kind}" for kind in kinds]
        raise ParentError(
            f"{project.workspace.path(project.root)}/runs has no finished run with these settings",
            f"Make them with: {' or '.join(commands)} (or sweep, for several seeds)",
        )
    return found


def _of_kind(project: Project, store: FeatureStore, kind: str) -> Iterator[TrainedRun]:
    of_kind = with_chosen(replace(project, preset=project.preset.with_fields({"model.kind": kind})))
    own = of_kind.preset.train.seed
    for seed in dict.fromkeys([*project.preset.sweep.seeds, own]):
        of_seed = replace(of_kind, preset=of_kind.preset.with_fields({"train.seed": seed}))
        try:
            fingerprint = finished(of_seed, store.fingerprint)
        except ParentError as error:
            console.print(f"left out: {error.message}", markup=False)
            continue
        if fingerprint:
            yield TrainedRun(of_seed, kind, seed, fingerprint)
