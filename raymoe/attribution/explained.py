"""Which samples are explained; and what is known before a model is trained to leave none of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc

from raymoe.errors import InputError
from raymoe.features.store import FeatureStore
from raymoe.project import Project
from raymoe.project.artifacts import FEATURES, SAMPLES


def refuse_unexplainable(project: Project) -> None:
    """Raise where no sample of ``attribute.split`` can be explained; the samples are prepared.

    Raises:
        InputError: the split has no sample, or none with a label where the true ones are explained.
        ParentError: the samples table is missing or damaged.
    """
    samples = SAMPLES.of(project)
    table = samples.read(["split", "labels"])
    lengths = pc.fill_null(pc.list_value_length(table["labels"]), 0).to_numpy()
    _refuse(project, samples.path, table["split"].to_pylist(), lengths > 0)


def refuse_pairless(project: Project) -> None:
    """Raise where no sample that is explained has features of two modalities; the samples are encoded.

    Raises:
        InputError: it is so of all of them; says how many lack what.
        ParentError: the features are missing or damaged.
    """
    store = FeatureStore.open(FEATURES.of(project))
    rows = rows_to_explain(project, store)
    empty: dict[str, int] = {m.name: 0 for m in store.modalities}
    for i in rows.tolist():
        lacking = [name for name, allowed in store.candidates(i).items() if not allowed.any()]
        if len(lacking) < len(empty) - 1:
            return
        for name in lacking:
            empty[name] += 1
    which = ", ".join(f"{count} have no features in {name}" for name, count in empty.items() if count)
    raise InputError(
        f"no sample of the split {project.preset.attribute.split!r} has features of two modalities, so there "
        f"is no cross-modal pair: of {len(rows)}, {which}",
        "Look at these samples' texts and pictures, or choose another split with --set attribute.split=NAME.",
    )


def rows_to_explain(project: Project, store: FeatureStore) -> np.ndarray:
    """Rows of the store that are explained, [N], at least one: of the split, those that have a target.

    Raises:
        InputError: see ``refuse_unexplainable``.
    """
    labelled = np.array([bool(len(labels)) for labels in store.labels], dtype=bool)
    _refuse(project, store.path, store.splits, labelled)
    rows = store.indices(project.preset.attribute.split)
    return rows if project.preset.attribute.target == "predicted" else rows[labelled[rows]]


def explained_split(project: Project, store: FeatureStore) -> np.ndarray:
    """Rows of the split that is explained, ``[N]``, with a target or without.

    Raises:
        InputError: it has no samples.
    """
    project.preset.attribute.refuse_split(set(store.splits), store.path)
    return store.indices(project.preset.attribute.split)


def _refuse(project: Project, path: str, splits: Sequence[str], labelled: np.ndarray) -> None:
    config = project.preset.attribute
    config.refuse_split(set(splits), path)
    own = np.array([name == config.split for name in splits], dtype=bool)
    if config.target == "true" and not labelled[own].any():
        raise InputError(
            f"none of the {own.sum()} samples of the split {config.split!r} has a true label to explain",
            "Explain what the model predicts: --set attribute.target=predicted; or choose another split: "
            "--set attribute.split=NAME.",
        )
