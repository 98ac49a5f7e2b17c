"""The stage that says which tokens and patches each expert relies on (paper §3.2.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from raymoe.attribution.rollout import grad_attention_rollout, min_max
from raymoe.device import resolve_device
from raymoe.errors import InputError
from raymoe.features.store import FeatureBatch, FeatureStore
from raymoe.models.base import FusionModel
from raymoe.models.checkpoint import load_checkpoint, read_info
from raymoe.models.target import predicted_classes, target_weights
from raymoe.progress import track
from raymoe.project import Project, StageResult
from raymoe.tables import IMPORTANCE, Provenance, is_complete, metadata_of, read_table, write_table


def attribute(project: Project, *, device: str | None = None, overwrite: bool = False) -> StageResult:
    """Expert-wise Grad x AttnRoll importance of every sample of a split, as ``importance.arrow``.

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
    settings = config.model_dump(exclude={"batch_size"})  # it does not change what comes out
    provenance = Provenance("attribute", IMPORTANCE.tag, settings, parents)
    if is_complete(
        workspace, name, IMPORTANCE, provenance, project.command("attribute"), overwrite=overwrite
    ):
        table = read_table(workspace, name, IMPORTANCE, project.command("attribute"))
        skipped = tuple(metadata_of(table.schema)["skipped"])
        return StageResult(workspace.path(name), provenance.fingerprint, ran=False, skipped=skipped)

    if config.split not in store.splits:
        raise InputError(
            f"{workspace.path(project.features)} has no sample in the split {config.split!r}",
            f"Choose one of {', '.join(sorted(set(store.splits)))} with --set attribute.split=NAME.",
        )
    if project.preset.model.kind == "i2moe":
        raise InputError(
            "i2moe works on pooled vectors: there are no tokens or patches to attribute to",
            "Attribute a model of kind fl-i2moe or dense.",
        )
    device = resolve_device(device)
    workspace.check_writable()
    model, _ = load_checkpoint(workspace, folder, made_by, features=store.fingerprint)
    model = model.to(device).requires_grad_(False)
    split = store.indices(config.split)
    labelled = np.array([bool(len(store.labels[i])) for i in split])
    indices = split if config.target == "predicted" else split[labelled]
    skipped = [
        {"sample_id": store.sample_ids[i], "row": None, "reason": "no true label to explain"}
        for i in np.setdiff1d(split, indices)
    ]
    columns: dict[str, list] = {key: [] for key in ("sample_id", "expert", "modality", "scores")}
    with track("attribute", len(indices)) as progress:
        groups = [
            indices[start : start + config.batch_size] for start in range(0, len(indices), config.batch_size)
        ]
        for chosen, batch in zip(groups, store.batches(groups, device, **model.reads), strict=True):
            targets = [store.labels[i] for i in chosen] if config.target == "true" else None
            found = importance(model, batch, store.task, targets)
            lengths = {m: [len(store.sequence(int(i), m)[1]) for i in chosen] for m in model.names}
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
    write_table(workspace, name, table.cast(IMPORTANCE.schema), IMPORTANCE, provenance, extra)
    return StageResult(workspace.path(name), provenance.fingerprint, ran=True, skipped=tuple(skipped))


@dataclass(frozen=True)
class Importance:
    """Of a batch of N samples.

    Attributes:
        scores: per modality [E, N, T_m] float32 in 0..1; special positions and padding are 0.
        targets: the classes that were explained.
    """

    scores: dict[str, np.ndarray]
    targets: list[list[int]]


def importance(
    model: FusionModel, batch: FeatureBatch, task: str, targets: list[list[int]] | None = None
) -> Importance:
    """Grad x AttnRoll of every expert for a batch; a sample's scores do not depend on the others.

    The score that is differentiated is the mixture's mean logit over the target classes, so what an expert
    contributes is weighted by the gate; scaling per expert and modality takes most of that out again.

    Args:
        model: in eval mode.
        batch: on the model's device.
        task: what the labels are.
        targets: the classes to explain, per sample; by default the predicted ones.
    """
    with torch.enable_grad():
        embeddings = model.project(batch.features, batch.valid)
        inputs = model.fusion_input(embeddings, batch.valid)
        # The parameters need no gradient, so the graph has to begin at the input.
        tokens = inputs.tokens_BTD.detach().requires_grad_()
        expert_logits, attentions = model.experts(
            tokens, inputs.key_bias_BT, inputs.pool_BMT, return_attention=True
        )
        logits_BC = model.mix(expert_logits, model.gate_weights(embeddings, batch.valid)).logits_BC
        targets = predicted_classes(logits_BC, task) if targets is None else targets
        score_B = target_logits(logits_BC, targets)
        gradients = torch.autograd.grad(score_B.sum(), attentions)
    with torch.no_grad():
        importance_EBT = grad_attention_rollout(attentions, gradients, inputs.valid_BT)
        parts = importance_EBT.split([batch.valid[name].shape[1] for name in model.names], dim=-1)
        scores = {
            name: min_max(part, batch.valid[name] & ~batch.special[name]).float().cpu().numpy()
            for name, part in zip(model.names, parts, strict=True)
        }
    return Importance(scores, targets)


def target_logits(logits_BC: Tensor, targets: list[list[int]]) -> Tensor:
    """Mean logit over each sample's target classes, [B]."""
    weights = torch.stack([target_weights(classes, logits_BC.shape[1]) for classes in targets])
    return (logits_BC * weights.to(logits_BC)).sum(-1)
