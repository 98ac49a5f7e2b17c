"""A model's answers on part of a feature store, in batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from raymoe.features.store import FeatureStore
from raymoe.models.base import FusionModel


@dataclass(frozen=True)
class Predictions:
    """Answers on N samples, float32.

    Attributes:
        logits: the mixture's, [N, C].
        expert_weights: the gate's, [N, E]; rows sum to 1.
        expert_logits: each expert's own, [N, E, C].
    """

    logits: np.ndarray
    expert_weights: np.ndarray
    expert_logits: np.ndarray


@torch.no_grad()
def predict(
    model: FusionModel,
    store: FeatureStore,
    indices: np.ndarray,
    *,
    batch_size: int,
    device: torch.device | str,
) -> Predictions:
    """Predict samples of a store, leaving the model in eval mode.

    Args:
        model: on ``device``.
        store: where the features are.
        indices: [N], which samples, in the order of the answer.
        batch_size: samples at a time; it does not change the answer.
        device: where to compute.
    """
    model.eval()
    parts: list[tuple[np.ndarray, ...]] = []
    for batch in store.batches(indices, batch_size, device, **model.reads):
        output = model(*model.inputs(batch))
        tensors = output.logits_BC, output.expert_weights_BE, output.expert_logits_EBC.transpose(0, 1)
        parts.append(tuple(t.float().cpu().numpy() for t in tensors))
    return Predictions(*(np.concatenate(column) for column in zip(*parts, strict=True)))
