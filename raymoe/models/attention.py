"""Attention of stacked experts in training, dropout on its weights included.

Shapes: E experts, N sequences, H heads, T tokens, d width of a head.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from raymoe.models.dropout import keep_bits

WEIGHTS_AT_ONCE = 1 << 19  # attention weights held at a time: what a core's cache takes


def attend(q_ENHTd: Tensor, k_ENHTd: Tensor, v_ENHTd: Tensor, key_bias_NT: Tensor, dropout: float) -> Tensor:
    """Softmax attention within each sequence, [E, N, H, T, d].

    Args:
        q_ENHTd, k_ENHTd, v_ENHTd: queries, keys and values.
        key_bias_NT: added to the logits of each key.
        dropout: probability that a weight is dropped. On a CPU the experts share the mask, which to each is
            the same as one of its own.
    """
    if dropout and q_ENHTd.device.type == "cpu":
        arguments = q_ENHTd, k_ENHTd, v_ENHTd, key_bias_NT.to(q_ENHTd.dtype), dropout
        dropped: Tensor = _DroppedAttention.apply(*arguments)  # type: ignore[no-untyped-call]
        return dropped
    E = len(q_ENHTd)
    bias = key_bias_NT[:, None, None, :].to(q_ENHTd.dtype).repeat(E, 1, 1, 1)
    q, k, v = (x.flatten(0, 1) for x in (q_ENHTd, k_ENHTd, v_ENHTd))
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
    return mixed.view(q_ENHTd.shape)


class _Context(Protocol):
    """What torch keeps between forward and backward, and what is put there beside it."""

    scale: float

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]: ...

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _DroppedAttention(torch.autograd.Function):
    """A few sequences at a time, so that attention weights never leave the cache; backward makes them again.

    Torch has no fused kernel with dropout for a CPU and would write all weights to memory several times.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: _Context, q: Tensor, k: Tensor, v: Tensor, bias_NT: Tensor, dropout: float) -> Tensor:
        _, N, H, T, _ = q.shape
        out = torch.empty_like(q)
        kept_NHTT = torch.empty(N, H, T, T, dtype=torch.bool)
        scale = 1.0
        for part in _parts(q):
            kept_NHTT[part], scale = keep_bits(kept_NHTT[part].shape, dropout)
            weights = _weights(q[:, part], k[:, part], bias_NT[part])
            weights.mul_(kept_NHTT[part].to(q.dtype).mul_(scale))
            out[:, part] = weights @ v[:, part]
        ctx.save_for_backward(q, k, v, bias_NT, kept_NHTT)
        ctx.scale = scale
        return out

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: _Context, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, bias_NT, kept_NHTT = ctx.saved_tensors
        dq, dk, dv = (torch.empty_like(x) for x in (q, k, v))
        factor = 1 / math.sqrt(q.shape[-1])
        for part in _parts(q):
            mask = kept_NHTT[part].to(q.dtype).mul_(ctx.scale)
            weights = _weights(q[:, part], k[:, part], bias_NT[part])
            dropped = weights * mask
            dv[:, part] = dropped.transpose(-1, -2) @ grad[:, part]
            d_weights = (grad[:, part] @ v[:, part].transpose(-1, -2)).mul_(mask)
            d_logits = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype).mul_(factor)
            dq[:, part] = d_logits @ k[:, part]
            dk[:, part] = d_logits.transpose(-1, -2) @ q[:, part]
        return dq, dk, dv, None, None


def _parts(q_ENHTd: Tensor) -> list[slice]:
    E, N, H, T, _ = q_ENHTd.shape
    step = max(1, WEIGHTS_AT_ONCE // (E * H * T * T))
    return [slice(start, min(start + step, N)) for start in range(0, N, step)]


def _weights(q: Tensor, k: Tensor, bias_nT: Tensor) -> Tensor:
    logits = q @ k.transpose(-1, -2)
    logits.mul_(1 / math.sqrt(q.shape[-1])).add_(bias_nT[:, None, None, :])
    return logits.softmax(-1)
