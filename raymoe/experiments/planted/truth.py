"""What is planted in each sample (data/planted.py), and where that is in its sequences: which pairs are true.

The true pairs of a target are the token of its word with each patch of its drawing.

Shapes: P pairs of a sample.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from raymoe.data.planted import WITH_PAIRS
from raymoe.data.prepare import refuse_other_settings
from raymoe.errors import InputError, ParentError
from raymoe.features.geometry import Geometry
from raymoe.features.store import FeatureStore
from raymoe.features.text_pieces import words
from raymoe.project import Project
from raymoe.project.artifacts import FEATURES, SAMPLES
from raymoe.project.tables import metadata_of


@dataclass(frozen=True)
class Truth:
    """What is planted in a sample.

    Attributes:
        targets: per kind ``on``, ``words`` and ``boxes`` (left, top, right, bottom as shares of the picture).
        explained: whether the sample was made to be explained; the others are drawn freely.
    """

    targets: dict[str, dict[str, Any]]
    explained: bool


def read_truth(project: Project, store: FeatureStore) -> tuple[dict[str, Truth], str]:
    """What is planted in each sample, by its id, and the fingerprint of the samples table.

    Raises:
        InputError: the samples table says nothing of planted interactions.
        ParentError: it is missing, damaged, made with other settings, or not the one that was encoded.
    """
    samples = SAMPLES.of(project)
    schema = samples.open_parquet().schema_arrow
    if "planted" not in schema.names:
        raise InputError(
            f"{samples.path} has no column planted: of these data the true interactions are not known",
            "They are known for the preset planted: raymoe evaluate planted planted",
        )
    metadata = metadata_of(schema)
    refuse_other_settings(project, metadata)
    table = samples.read(["sample_id", "planted"])
    found = {}
    for row in table.to_pylist():
        read = json.loads(row["planted"])
        found[row["sample_id"]] = Truth(read["targets"], read["explained"])
    for sample_id, labels in zip(store.sample_ids, store.labels, strict=True):
        on = [store.classes[label] for label in labels]
        if sample_id not in found or on != [k for k in store.classes if found[sample_id].targets[k]["on"]]:
            raise ParentError(
                f"sample {sample_id} of {store.path} is not that of {samples.path}",
                f"Encode the samples that are there with: {FEATURES.of(project).again}",
            )
    return found, metadata["fingerprint"]


def shown_kinds(truth: Truth) -> list[str]:
    """The kinds with pairs that are on where both word and drawing are there."""
    targets = truth.targets
    return [k for k in WITH_PAIRS if targets[k]["on"] and targets[k]["words"] and targets[k]["boxes"]]


def scenes_of(truth: Truth) -> str:
    """Which scenes a sample is one of: with ``all`` targets on, one ``alone``, or ``free`` as in training."""
    if not truth.explained:
        return "free"
    return "all" if all(truth.targets[kind]["on"] for kind in WITH_PAIRS) else "alone"


def is_true(store: FeatureStore, sample_id: str, target: dict[str, Any], pairs: pd.DataFrame) -> np.ndarray:
    """Which pairs join a true token and a true patch, bool [P].

    Args:
        store: the features the pairs are of.
        sample_id: of the pairs.
        target: its words and boxes.
        pairs: with columns u_modality, u, v_modality and v.
    """
    index = store.index_of(sample_id)
    true = {}
    for modality in store.modalities:
        if modality.kind == "text":
            true[modality.name] = tokens_of(store, index, modality.name, target["words"])
        else:
            true[modality.name] = patches_of(store, index, modality.name, target["boxes"])
    kinds = {m.name: m.kind for m in store.modalities}
    u, v = (of_pairs(pairs, side, lambda m, at: np.isin(at, list(true[m]))) for side in "uv")
    across = pairs["u_modality"].map(kinds).to_numpy() != pairs["v_modality"].map(kinds).to_numpy()
    return u.astype(bool) & v.astype(bool) & across


def of_pairs(pairs: pd.DataFrame, side: str, value: Callable[[str, np.ndarray], np.ndarray]) -> np.ndarray:
    """``value(modality, positions)`` of one side of every pair, [P]."""
    modality, at = pairs[f"{side}_modality"].to_numpy(), pairs[side].to_numpy()
    found = np.empty(len(pairs))
    for name in np.unique(modality.astype(str)):
        found[modality == name] = value(name, at[modality == name])
    return found


def tokens_of(store: FeatureStore, index: int, modality: str, given: Sequence[str]) -> set[int]:
    """Positions of the given words in a sample's text: of each the pieces of its first occurrence.

    Raises:
        InputError: a word is not there.
    """
    pieces = store.pieces(index, modality) or []
    found: dict[str, range] = {}
    for word in words(pieces):
        found.setdefault("".join(pieces[i].text for i in word).lower(), word)
    missing = [word for word in given if word not in found]
    if missing:
        raise InputError(
            f"sample {store.sample_ids[index]}: {missing[0]!r} is no word of its {modality}",
            "Take an encoder whose words are those of the sentences, and max_length long enough for them.",
        )
    return {i for word in given for i in found[word]}


def patches_of(store: FeatureStore, index: int, modality: str, boxes: Sequence[Sequence[float]]) -> set[int]:
    """Positions of a picture's patches whose centre is in one of the boxes.

    Args:
        store, index, modality: of the picture.
        boxes: left, top, right, bottom, as shares of the upright picture.

    Raises:
        ParentError: the store does not say what its patches show.
    """
    geometry = store.geometry(index, modality)
    if geometry is None:
        raise ParentError(
            f"{store.path} does not say which part of a picture its patches show",
            "It was written by an earlier version; encode again with --overwrite.",
        )
    _, valid, special = store.sequence(index, modality)
    positions = np.flatnonzero(valid & ~special)
    return {int(positions[cell]) for cell in patches_in(geometry, boxes)}


def patches_in(geometry: Geometry, boxes: Sequence[Sequence[float]]) -> set[int]:
    """The patches whose centre is in one of the boxes; patches go row by row."""
    found = set()
    for cell in range(geometry.rows * geometry.cols):
        x0, y0, x1, y1 = geometry.patch(cell)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        if any(left < x < right and top < y < bottom for left, top, right, bottom in boxes):
            found.add(cell)
    return found
