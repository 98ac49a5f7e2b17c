"""From attention weights to one importance per position: rollouts and their normalisation.

Pure functions of tensors. Shapes: E experts, N samples, H heads, T positions of the joint sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NOISE = 1e-12  # differences this small against the values are rounding


def grad_attention_rollout(
    attentions: Sequence[Tensor], gradients: Sequence[Tensor], valid_NT: Tensor
) -> Tensor:
    """Gradient x attention rollout (paper §3.2.1, its reference [9]).

    Per layer ``A' = mean over heads of relu(A) * relu(dS/dA)``; residual-aware, so the identity is added and
    rows are normalised; the product over layers, later ones on the left; then the mean over query positions.

    Args:
        attentions: per layer, first one first, [E, N, H, T, T]; rows are queries.
        gradients: of the target score with respect to each of them.
        valid_NT: False at padding, which takes no part as a query.

    Returns:
        Importance [E, N, T] float64, 0 at padding.
    """
    pairs = zip(attentions, gradients, strict=True)
    return _rollout([(a.relu().double() * g.relu()).mean(2) for a, g in pairs], valid_NT)


def attention_rollout(attentions: Sequence[Tensor], valid_NT: Tensor) -> Tensor:
    """Attention rollout without gradients (Abnar and Zuidema, 2020): ``A' = mean over heads of A``.

    Args:
        attentions: per layer [E, N, H, T, T].
        valid_NT: False at padding.

    Returns:
        Importance [E, N, T] float64, 0 at padding.
    """
    return _rollout([a.double().mean(2) for a in attentions], valid_NT)


def min_max(importance: Tensor, kept: Tensor) -> Tensor:
    """Scale the kept positions of each row to 0..1 and set the others to 0.

    Args:
        importance: [..., T].
        kept: [..., T], broadcast: valid and not special.

    Returns:
        [..., T]; rows that are constant over what is kept, or keep nothing, are all 0.
    """
    low = importance.masked_fill(~kept, torch.inf).amin(-1, keepdim=True)
    high = importance.masked_fill(~kept, -torch.inf).amax(-1, keepdim=True)
    varies = kept & (high - low > NOISE * high.abs())
    return torch.where(varies, (importance - low) / (high - low), 0.0)


def _rollout(layers: list[Tensor], valid_NT: Tensor) -> Tensor:
    """Residual, row normalisation, product and mean over valid queries of [E, N, T, T] per layer.

    In float64: gradients of attention are small beside the identity, and what is looked at is the difference
    between positions, which scaling to 0..1 blows up.
    """
    T = valid_NT.shape[-1]
    identity = torch.eye(T, dtype=layers[0].dtype, device=layers[0].device)
    first, *later = (_normalised(layer + identity) for layer in layers)
    total = first
    for step in later:
        total = step @ total
    query_NT = valid_NT.to(total.dtype)
    query_NT = query_NT / query_NT.sum(-1, keepdim=True).clamp(min=1)
    return torch.einsum("nq,enqt->ent", query_NT, total) * valid_NT


def _normalised(weights: Tensor) -> Tensor:
    """Rows that sum to 1."""
    return weights / weights.sum(-1, keepdim=True)
