"""What gives each expert its role: a loss per expert on how its answers change when a modality is replaced.

Shapes: E = M + 2 experts (unique per modality, synergy, redundancy), P = M + 1 passes (full, then each
modality replaced), B samples, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def interaction_losses(logits_EPBC: Tensor) -> Tensor:
    """One loss per expert, [E] (I2MoE; on logits as in the original, or on latents [E, P, B, I]).

    * unique expert m: triplet margin loss (margin 1, p = 2), anchor the full output, negative the output with
      modality m replaced, positives the outputs with another modality replaced, mean over positives;
    * synergy: mean cosine similarity between the full and each replaced output;
    * redundancy: mean of 1 - that similarity.
    """
    E, P = logits_EPBC.shape[:2]
    M = P - 1
    if M + 2 != E:
        raise ValueError(f"{E} experts do not go with {M} modalities; expected {M + 2}")
    losses = []
    for m in range(M):
        anchor, negative = logits_EPBC[m, 0], logits_EPBC[m, 1 + m]
        positives = [logits_EPBC[m, 1 + other] for other in range(M) if other != m]
        triplets = [F.triplet_margin_loss(anchor, p, negative, margin=1.0, p=2, eps=1e-7) for p in positives]
        losses.append(torch.stack(triplets).mean())
    similarity_EP = F.cosine_similarity(logits_EPBC[M:, :1], logits_EPBC[M:, 1:], dim=-1).mean((1, 2))
    return torch.stack([*losses, similarity_EP[0], 1 - similarity_EP[1]])
