"""The trained models that an experiment looks at: of each kind every seed that finished."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from raymoe.errors import InputError, ParentError
from raymoe.features.store import FeatureStore
from raymoe.models.base import FusionModel
from raymoe.models.checkpoint import load_checkpoint
from raymoe.project import Project
from raymoe.project.artifacts import CHECKPOINT
from raymoe.project.chosen import of_kind
from raymoe.project.provenance import Skipped
from raymoe.runtime.progress import console
from raymoe.training.train import finished

SHOWN = 5  # ids of samples left out that are printed per reason; the table's metadata has all
WITH_TOKENS = ("dense", "fl-i2moe")  # the kinds that have features to mask


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

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.project.run.rsplit("/", 1)[1]

    def model(self, store: FeatureStore, device: str) -> FusionModel:
        """The trained model in eval mode, without gradients, on the device."""
        model, _ = load_checkpoint(CHECKPOINT.of(self.project), features=store.fingerprint)
        return model.to(device).requires_grad_(False).eval()


def finished_runs(project: Project, store: FeatureStore, kinds: tuple[str, ...]) -> list[TrainedRun]:
    """Runs of these kinds: of a kind that was swept those of the chosen configuration, else the preset's.

    Says of which kind there is none, or none of the seed that was asked for.

    Raises:
        ParentError: there is none at all; names the commands that make them.
    """
    found = {kind: list(finished_seeds(of_kind(project, kind), store.fingerprint)) for kind in kinds}
    commands = {kind: project.with_kind(kind).command("train") for kind in kinds}
    if not any(found.values()):
        raise ParentError(
            f"{project.workspace.path(project.root)}/runs has no finished run with these settings",
            f"Make them with: {' or '.join(commands.values())} (or sweep, for several seeds)",
        )
    for kind in (kind for kind in kinds if not found[kind]):
        console.print(f"  no finished run of {kind}; make it with: {commands[kind]}")
    for kind in (kind for kind in kinds if found[kind]):
        own, seeds = project.preset.train.seed, [run.seed for run in found[kind]]
        if own not in seeds:
            shown = f"what follows is of seed {', '.join(map(str, seeds))}"
            console.print(f"  {kind}: seed {own} has no finished run; {shown}")
    return [run for kind in kinds for run in found[kind]]


def finished_seeds(
    project: Project, features: str, seeds: Sequence[int] | None = None
) -> Iterator[TrainedRun]:
    """The finished runs of these settings.

    A run that is damaged or of other inputs is left out, and said so.

    Args:
        project: its kind and settings.
        features: fingerprint of the feature store.
        seeds: of these; by default every seed of ``sweep.seeds``, and ``train.seed``.
    """
    if seeds is None:
        seeds = list(dict.fromkeys([*project.preset.sweep.seeds, project.preset.train.seed]))
    for seed in seeds:
        of_seed = project.with_seed(seed)
        try:
            fingerprint = finished(of_seed, features)
        except ParentError as error:
            console.print(f"left out: {error.message}")
            continue
        if fingerprint:
            yield TrainedRun(of_seed, of_seed.preset.model.kind, seed, fingerprint)


def labels_of(store: FeatureStore, indices: np.ndarray, split: str) -> list[list[int]]:
    """The samples' class indices, to measure predictions with.

    Raises:
        InputError: none of them has a label; or one has none where every sample must.
    """
    labels = [store.labels[i] for i in indices]
    without = [store.sample_ids[i] for i in indices if not len(store.labels[i])]
    if len(without) == len(labels) or (without and store.task.one_label):
        raise InputError(
            f"{len(without)} of {len(labels)} samples of the split {split!r} have no label ("
            + ", ".join(without[:3])
            + (", ..." if len(without) > 3 else "")
            + "): nothing says what the right answer is",
            "Choose a labelled split with --set attribute.split=NAME.",
        )
    return labels


def print_left_out(skipped: Sequence[Skipped]) -> None:
    """How many samples were left out for each reason, and the first of their ids."""
    for reason in dict.fromkeys(entry["reason"] for entry in skipped):
        ids = [entry["sample_id"] or "?" for entry in skipped if entry["reason"] == reason]
        more = ", ..." if len(ids) > SHOWN else ""
        console.print(f"  left out: {len(ids)}, {reason}: {', '.join(ids[:SHOWN])}{more}")
