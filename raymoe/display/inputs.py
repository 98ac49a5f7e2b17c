"""All that a report is made from, read and checked in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raymoe.attribution.mixture_rows import with_mixture
from raymoe.catalogue import MIXTURE
from raymoe.config import ModalityConfig
from raymoe.data.samples_file import SamplesFile
from raymoe.errors import ParentError, RaymoeError
from raymoe.features.geometry import Geometry
from raymoe.features.lookup import seen
from raymoe.features.store import FeatureStore
from raymoe.project import Project
from raymoe.project.artifacts import (
    BASELINES,
    EPOCHS,
    FEATURES,
    IMPORTANCE,
    INPUT_INTERACTIONS,
    INTERACTIONS,
    METRICS,
    PREDICTIONS,
    SAMPLES,
)
from raymoe.project.interaction_tables import of_experts, read_interactions
from raymoe.project.outputs import parents_in
from raymoe.project.provenance import Metadata
from raymoe.project.tables import metadata_of
from raymoe.runtime.progress import console
from raymoe.task import Task

ORDER = (
    *("samples", "epochs", "predictions", "metrics", "baselines", "importance", "interactions"),
    "input_interactions",
)


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What is known of the samples of one run; ``store`` has what to show of each sample's features.

    ``input_interactions`` are those masked at the input, of some samples; None where there are none.
    """

    samples: pa.Table  # without the modalities' columns: pictures can be gigabytes
    source: SamplesFile
    predictions: pa.Table
    importance: pa.Table
    interactions: pa.Table
    store: FeatureStore
    modality_settings: tuple[ModalityConfig, ...]
    input_interactions: pa.Table | None = None

    def measured(self, modality: str, size: tuple[int, int] | None) -> Geometry:
        """What a picture's patches show of it, where the store does not say: measured with its processor.

        Args:
            modality: its name.
            size: width and height of the picture; None where it is gone.

        Raises:
            ParentError: the encoder's files aren't there.
        """
        info = next(m for m in self.store.modalities if m.name == modality)
        encoder = next(m.encoder for m in self.modality_settings if m.name == modality)
        if info.grid and not size:
            return Geometry(*info.grid)  # there is no picture to draw on
        try:
            if info.grid and size:
                return seen(encoder, size, info.grid)
            reason = "its grids are missing"
        except (RaymoeError, ValueError) as error:
            reason = error.message if isinstance(error, RaymoeError) else str(error)
        raise ParentError(
            f"{self.store.path} does not say which part of a picture its patches show ({reason})",
            f"Encode again with --overwrite, or give {encoder.source} back.",
        )

    def tables(self) -> dict[str, pa.Table]:
        """The tables by name, in the order of the data flow."""
        return {name: getattr(self, name) for name in ORDER if getattr(self, name, None) is not None}

    def metadata(self, name: str) -> Metadata:
        """A table's own metadata."""
        return metadata_of(self.tables()[name].schema)

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprints of the tables and of the feature store, by name."""
        found = {name: self.metadata(name)["fingerprint"] for name in self.tables()}
        return found | {"features": self.store.fingerprint}

    @property
    def checkpoint(self) -> str:
        """Fingerprint of the checkpoint that all of it is about."""
        return _parents(self.importance).get("checkpoint", "unknown")

    @property
    def classes(self) -> list[str]:
        """Class names, by index."""
        return self.metadata("samples")["classes"]

    @property
    def task(self) -> Task:
        """What the labels mean."""
        return Task.named(self.metadata("samples")["task"])

    @property
    def modalities(self) -> dict[str, str]:
        """Kind of each modality, by name."""
        return self.metadata("samples")["modalities"]

    @property
    def experts(self) -> list[str]:
        """Expert names, in the order of the weights."""
        return self.metadata("predictions")["experts"]

    @property
    def explained(self) -> list[str]:
        """The experts, and the mixture where that was probed."""
        return [*self.experts, *([MIXTURE] if MIXTURE in self.probed else [])]

    @property
    def probed(self) -> set[str]:
        """Whose pairs were measured, by either rule of masking."""
        tables = [name for name in ("interactions", "input_interactions") if name in self.tables()]
        return {expert for name in tables for expert in self.metadata(name)["experts"]}


@dataclass(frozen=True, kw_only=True)
class Inputs(Explained):
    """All that a report is made from."""

    epochs: pa.Table
    metrics: pa.Table
    baselines: pa.Table


def read_inputs(project: Project) -> Inputs:
    """Read everything.

    Raises:
        ParentError: a table or the feature store is missing or damaged, or they are of different checkpoints;
            says which command makes it.
    """
    return Inputs(
        **vars(read_explained(project)),
        epochs=EPOCHS.of(project).read(),
        metrics=METRICS.of(project).read(),
        baselines=BASELINES.of(project).read(),
    )


def read_explained(project: Project) -> Explained:
    """Read what is known of the samples.

    Raises:
        ParentError: see ``read_inputs``.
    """
    light = ["sample_id", "split", "labels"]
    interactions = read_interactions(INTERACTIONS.of(project))
    found = Explained(
        samples=SAMPLES.of(project).read(light),
        source=SamplesFile(SAMPLES.of(project)),
        predictions=PREDICTIONS.of(project).read(),
        importance=IMPORTANCE.of(project).read(),
        interactions=interactions,
        store=FeatureStore.open(FEATURES.of(project)),
        modality_settings=tuple(project.preset.data.modalities),
    )
    # predictions, importance and interactions have to be of one checkpoint
    predicted = {"checkpoint": found.metadata("predictions").get("checkpoint", "unknown")}
    IMPORTANCE.of(project).refuse_other_parents({"checkpoint": found.checkpoint}, predicted)
    wanted = {"checkpoint": found.checkpoint, "importance": found.fingerprints["importance"]}
    INTERACTIONS.of(project).refuse_other_parents(_parents(found.interactions), wanted)
    found = replace(found, input_interactions=_masked_at_the_input(project, wanted))
    if MIXTURE in found.probed:
        found = replace(found, importance=with_mixture(found.importance))
    return found


def _masked_at_the_input(project: Project, wanted: Mapping[str, str]) -> pa.Table | None:
    """The tables of that rule, if there are any; says so where they are of something else."""
    tables = INPUT_INTERACTIONS.of(project)
    if not of_experts(tables):
        return None
    found = read_interactions(tables)
    try:
        tables.refuse_other_parents(_parents(found), wanted)
    except ParentError as error:
        console.print(f"  pairs masked at the input are left out: {error.message}. {error.remedy}")
        return None
    return found


def _parents(table: pa.Table) -> dict[str, str]:
    return parents_in(metadata_of(table.schema))


def has_test_labels(inputs: Explained) -> bool:
    """Whether a sample of the test split has one: of data without, test scores say nothing."""
    of_test = pc.equal(inputs.samples["split"], "test")
    return any(inputs.samples.filter(of_test)["labels"].to_pylist())


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """A column of equally long lists as ``[N, L]``."""
    rows = column.combine_chunks()
    return np.asarray(rows.flatten(), dtype=np.float64).reshape(len(rows), -1)
