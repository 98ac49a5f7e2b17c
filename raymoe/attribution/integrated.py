"""Integrated gradients of every expert, and of their mixture (Sundararajan et al., 2017).

Shapes: E experts, N samples, T positions of the joint sequence, D hidden width, C classes, K steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raymoe.models.base import FusionInput, FusionModel
from raymoe.models.fusion import FusionExperts

ROWS_AT_ONCE = 64  # sequences with gradients in memory at a time
# A layer norm sees next to nothing of a vector's length until that is as small as its epsilon: a token scaled
# from 0 to 1 changes most in the first hundredths. So steps are dense there: at the powers of even ones.
POWER = 3


@dataclass(frozen=True)
class Integrated:
    """Attributions, and how far they are from complete.

    Attributes:
        scores_ENT: signed; their sum over T is nearly the target logit's rise from baseline to input.
        rise_EN: that rise, f(input) - f(baseline).
        delta_EN: convergence delta: the sum of the scores minus the rise.
    """

    scores_ENT: Tensor
    rise_EN: Tensor
    delta_EN: Tensor


def integrated_gradients(
    experts: FusionExperts, inputs: FusionInput, targets_NC: Tensor, special_NT: Tensor, steps: int
) -> Integrated:
    """Attribute each expert's own target logit to the joint sequence.

    The baseline is what masking everything leaves: zero vectors at every feature, special positions as they
    are. The path is straight; the integral a Gauss-Legendre quadrature with its points moved towards the
    baseline.

    Args:
        experts: in eval mode.
        inputs: the joint sequence as the experts see it.
        targets_NC: weights such that ``logits @ targets`` is the score that is explained.
        special_NT: positions that are never masked.
        steps: points of the quadrature, K.
    """
    tokens_NTD = inputs.tokens_BTD.detach()
    baseline_NTD = tokens_NTD * special_NT[..., None]
    path_NTD = tokens_NTD - baseline_NTD
    N, E = len(tokens_NTD), experts.num_experts
    alphas_K, weights_K = _quadrature(steps, tokens_NTD)
    mean_gradient_ENTD = torch.zeros(E, *tokens_NTD.shape, dtype=tokens_NTD.dtype, device=tokens_NTD.device)
    at_once = max(1, ROWS_AT_ONCE // N)
    for start in range(0, steps, at_once):
        alphas_k = alphas_K[start : start + at_once]
        k = len(alphas_k)
        along_kNTD = baseline_NTD + alphas_k[:, None, None, None] * path_NTD
        # A copy per expert: each has gradients of its own, all from one backward pass.
        leaf = along_kNTD.flatten(0, 1).expand(E, -1, -1, -1).clone().requires_grad_()
        with torch.enable_grad():
            score_EN = target_scores(experts, leaf, inputs, targets_NC, k)
            (gradient,) = torch.autograd.grad(score_EN.sum(), leaf)
        gradient_EkNTD = gradient.view(E, k, *tokens_NTD.shape)
        mean_gradient_ENTD += torch.einsum("k,ekntd->entd", weights_K[start : start + k], gradient_EkNTD)
    with torch.no_grad():
        scores_ENT = (mean_gradient_ENTD * path_NTD).sum(-1)
        ends = torch.cat([tokens_NTD, baseline_NTD])
        whole_EN, nothing_EN = target_scores(experts, ends, inputs, targets_NC, 2).split(N, 1)
        rise_EN = whole_EN - nothing_EN
    return Integrated(scores_ENT, rise_EN, scores_ENT.sum(-1) - rise_EN)


def mixture_integrated_gradients(
    model: FusionModel,
    embeddings: dict[str, Tensor],
    valid: dict[str, Tensor],
    targets_NC: Tensor,
    steps: int,
) -> Integrated:
    """Attribute the mixture's target logit to the joint sequence, much as the authors' later code does.

    The baseline is zero at every position, special ones too, before the position code is added. What a
    position is given is the mean over the width of its attributions without sign. The gate's weights are
    those of the whole input: the gate sees normalised means, which are the same all along the path but at its
    very start, and whose gradient across the path grows like 1 / alpha, so that with it the integral has no
    value: it grows with the number of steps.

    Args:
        model: in eval mode.
        embeddings: per modality [N, T_m, D], as ``FusionModel.project`` gives them.
        valid: per modality [N, T_m], False at padding.
        targets_NC: weights such that ``logits @ targets`` is the score that is explained.
        steps: points of the quadrature, K.

    Returns:
        One row (E = 1): ``scores_ENT`` without sign; rise and delta are of the attributions with it.
    """
    lengths = [embeddings[name].shape[1] for name in model.names]
    path_NTD = torch.cat([embeddings[name] for name in model.names], 1).detach()
    with torch.no_grad():
        gate_NE = model.gate_weights(embeddings, valid)
    N = len(path_NTD)
    alphas_K, weights_K = _quadrature(steps, path_NTD)
    mean_gradient_NTD = torch.zeros_like(path_NTD)

    def score(along_BTD: Tensor, copies: int) -> Tensor:
        parts = dict(zip(model.names, along_BTD.split(lengths, 1), strict=True))
        repeated = {name: valid_BT.repeat(copies, 1) for name, valid_BT in valid.items()}
        inputs = model.fusion_input(parts, repeated)
        logits_EBC = model.experts(inputs.tokens_BTD, inputs.key_bias_BT, inputs.pool_BMT)
        mixed_BC = model.mix(logits_EBC, gate_NE.repeat(copies, 1)).logits_BC
        return (mixed_BC * targets_NC.repeat(copies, 1)).sum(-1)

    at_once = max(1, ROWS_AT_ONCE // N)
    for start in range(0, steps, at_once):
        alphas_k = alphas_K[start : start + at_once]
        k = len(alphas_k)
        leaf = (alphas_k[:, None, None, None] * path_NTD).flatten(0, 1).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(score(leaf, k).sum(), leaf)
        gradient_kNTD = gradient.view(k, *path_NTD.shape)
        mean_gradient_NTD += torch.einsum("k,kntd->ntd", weights_K[start : start + k], gradient_kNTD)
    with torch.no_grad():
        signed_NTD = mean_gradient_NTD * path_NTD
        rise_N = score(path_NTD, 1) - score(torch.zeros_like(path_NTD), 1)
        delta_N = signed_NTD.sum((1, 2)) - rise_N
    return Integrated(signed_NTD.abs().mean(-1)[None], rise_N[None], delta_N[None])


def _quadrature(steps: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Where on the path gradients are taken, in 0..1, and their weights; each [K]."""
    points, weights = np.polynomial.legendre.leggauss(steps)
    even = (points + 1) / 2
    alphas_K = torch.as_tensor(even**POWER).to(like)
    return alphas_K, torch.as_tensor(weights / 2 * POWER * even ** (POWER - 1)).to(like)


def target_scores(
    experts: FusionExperts, tokens: Tensor, inputs: FusionInput, targets_NC: Tensor, copies: int
) -> Tensor:
    """Each expert's target logit, [E, copies N], on ``copies`` versions of the batch one after the other."""
    logits = experts(tokens, inputs.key_bias_BT.repeat(copies, 1), inputs.pool_BMT.repeat(copies, 1, 1))
    return (logits * targets_NC.repeat(copies, 1)).sum(-1)
