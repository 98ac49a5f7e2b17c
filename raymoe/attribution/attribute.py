"""The stage that says which tokens and patches each expert relies on (paper §3.2.1)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from raymoe.attribution.importance import importance
from raymoe.device import resolve_device
from raymoe.errors import InputError
from raymoe.features.store import FeatureStore
from raymoe.models.checkpoint import load_checkpoint, read_info
from raymoe.progress import console, track
from raymoe.project import Project, StageResult
from raymoe.tables import IMPORTANCE, Provenance, is_complete, metadata_of, read_table, write_table


def attribute(project: Project, *, device: str | None = None, overwrite: bool = False) -> StageResult:
    """Expert-wise importance of every sample of a split, as ``importance.arrow``.

    With integrated gradients its metadata has ``convergence``: the largest and the mean convergence delta as
    a share of the mean rise that the attributions are to explain.

    Args:
        project: has a checkpoint and the features it was trained on.
        device: as torch names it; by default a GPU where there is one.
        overwrite: compute again even if it is there.

    Returns:
        With the samples that were left out because they have no label to explain.

    Raises:
        ParentError: no checkpoint, one of other features, or a table made from other inputs.
        InputError: the split has no samples, or the model is an i2moe.
    """
    workspace, config = project.workspace, project.preset.attribute
    name, folder = f"{project.run}/importance.arrow", f"{project.run}/checkpoint"
    store = FeatureStore.open(workspace, project.features, project.command("encode"))
    made_by = project.command("train")
    parents = {
        "features": store.fingerprint,
        "checkpoint": read_info(workspace, folder, made_by).fingerprint,
    }
    provenance = Provenance("attribute", IMPORTANCE.tag, config.defining(), parents)
    if is_complete(
        workspace, name, IMPORTANCE, provenance, project.command("attribute"), overwrite=overwrite
    ):
        table = read_table(workspace, name, IMPORTANCE, project.command("attribute"))
        skipped = tuple(metadata_of(table.schema)["skipped"])
        return StageResult(workspace.path(name), provenance.fingerprint, ran=False, skipped=skipped)

    split = explained_split(project, store)
    if project.preset.model.kind == "i2moe":
        raise InputError(
            "i2moe works on pooled vectors: there are no tokens or patches to attribute to",
            "Attribute a model of kind fl-i2moe or dense.",
        )
    device = resolve_device(device)
    workspace.check_writable()
    model, _ = load_checkpoint(workspace, folder, made_by, features=store.fingerprint)
    model = model.to(device).requires_grad_(False)
    labelled = np.array([bool(len(store.labels[i])) for i in split])
    indices = split if config.target == "predicted" else split[labelled]
    skipped = [
        {"sample_id": store.sample_ids[i], "row": None, "reason": "no true label to explain"}
        for i in np.setdiff1d(split, indices)
    ]
    columns: dict[str, list] = {key: [] for key in ("sample_id", "expert", "modality", "scores")}
    notes: dict[str, list[np.ndarray]] = {}
    with track("attribute", len(indices)) as progress:
        for batch in store.batches(indices, config.batch_size, device, **model.reads):
            chosen = [store.index_of(sample_id) for sample_id in batch.sample_ids]
            targets = [store.labels[i] for i in chosen] if config.target == "true" else None
            found = importance(model, batch, store.task, targets, config)
            for key, values in found.notes.items():
                notes.setdefault(key, []).append(values.ravel())
            lengths = {m: [len(store.sequence(i, m)[1]) for i in chosen] for m in model.names}
            for n, sample_id in enumerate(batch.sample_ids):
                for e, expert in enumerate(model.expert_names):
                    for modality in model.names:
                        columns["sample_id"].append(sample_id)
                        columns["expert"].append(expert)
                        columns["modality"].append(modality)
                        columns["scores"].append(found.scores[modality][e, n, : lengths[modality][n]])
            progress.advance(len(chosen))
    rows = len(columns["sample_id"])
    table = pa.table({**columns, "method": [config.method] * rows, "target": [config.target] * rows}).select(
        IMPORTANCE.schema.names
    )
    extra = {"skipped": skipped, "split": config.split}
    if notes:
        delta, rise = (np.abs(np.concatenate(notes[key])) for key in ("delta", "rise"))
        extra["convergence"] = {f: float(getattr(delta, f)() / rise.mean()) for f in ("max", "mean")}
        console.print(
            "  convergence delta: {max:.1e} of the mean rise at most, {mean:.1e} on average".format(
                **extra["convergence"]
            )
        )
    write_table(workspace, name, table.cast(IMPORTANCE.schema), IMPORTANCE, provenance, extra)
    return StageResult(workspace.path(name), provenance.fingerprint, ran=True, skipped=tuple(skipped))


def explained_split(project: Project, store: FeatureStore) -> np.ndarray:
    """Rows of the split that is explained, ``[N]``.

    Raises:
        InputError: it has no samples.
    """
    split = project.preset.attribute.split
    if split not in store.splits:
        raise InputError(
            f"{project.workspace.path(project.features)} has no sample in the split {split!r}",
            f"Choose one of {', '.join(sorted(set(store.splits)))} with --set attribute.split=NAME.",
        )
    return store.indices(split)
