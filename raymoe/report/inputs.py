"""All that a report is made from, read and checked in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from raymoe.data.samples import SamplesFile
from raymoe.features.store import FeatureStore
from raymoe.interactions_table import read_interactions
from raymoe.project import Project
from raymoe.tables import (
    EPOCHS,
    IMPORTANCE,
    METRICS,
    PREDICTIONS,
    SAMPLES,
    Contract,
    metadata_of,
    open_parquet,
    read_table,
)


@dataclass(frozen=True)
class Inputs:
    """The tables of one run; ``store`` has what to show of each sample's features."""

    samples: pa.Table  # without the modalities' columns: pictures can be gigabytes
    source: SamplesFile
    epochs: pa.Table
    predictions: pa.Table
    metrics: pa.Table
    baselines: pa.Table
    importance: pa.Table
    interactions: pa.Table
    store: FeatureStore

    def tables(self) -> dict[str, pa.Table]:
        """The tables by name, in the order of the data flow."""
        return {name: value for name, value in vars(self).items() if isinstance(value, pa.Table)}

    def metadata(self, name: str) -> dict[str, Any]:
        """A table's own metadata."""
        return metadata_of(self.tables()[name].schema)

    @property
    def fingerprints(self) -> dict[str, str]:
        """Those of the tables and of the feature store."""
        found = {name: self.metadata(name)["fingerprint"] for name in self.tables()}
        return found | {"features": self.store.fingerprint}

    @property
    def classes(self) -> list[str]:
        """Class names, by index."""
        return self.metadata("samples")["classes"]

    @property
    def task(self) -> str:
        """``multilabel``, ``multiclass`` or ``binary``."""
        return self.metadata("samples")["task"]

    @property
    def modalities(self) -> dict[str, str]:
        """Kind of each modality, by name."""
        return self.metadata("samples")["modalities"]

    @property
    def experts(self) -> list[str]:
        """Expert names, in the order of the weights."""
        return self.metadata("predictions")["experts"]


def read_inputs(project: Project) -> Inputs:
    """Read everything.

    Raises:
        ParentError: a table or the feature store is missing or damaged; says which command makes it.
    """

    def read(name: str, contract: Contract, stage: str) -> pa.Table:
        return read_table(project.workspace, name, contract, project.command(stage))

    made_by = project.command("prepare")
    light = open_parquet(project.workspace, project.samples, SAMPLES, made_by)
    return Inputs(
        samples=light.read(columns=["sample_id", "split", "labels"]),
        source=SamplesFile(project.workspace, project.samples, made_by),
        epochs=read(f"{project.run}/epochs.parquet", EPOCHS, "train"),
        predictions=read(f"{project.run}/predictions.parquet", PREDICTIONS, "train"),
        metrics=read(f"{project.run}/metrics.parquet", METRICS, "train"),
        baselines=read(project.baselines, METRICS, "baselines"),
        importance=read(f"{project.run}/importance.arrow", IMPORTANCE, "attribute"),
        interactions=read_interactions(project.workspace, project.run, project.command("probe")),
        store=FeatureStore.open(project.workspace, project.features, project.command("encode")),
    )


def probabilities(logits: np.ndarray, task: str) -> np.ndarray:
    """Class probabilities ``[..., C]``: sigmoid where labels are independent, else softmax."""
    if task == "multilabel":
        return 1 / (1 + np.exp(-logits))
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """A column of equally long lists as ``[N, L]``."""
    rows = column.combine_chunks()
    return np.asarray(rows.flatten(), dtype=np.float64).reshape(len(rows), -1)
