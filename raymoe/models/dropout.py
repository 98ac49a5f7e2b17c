"""Dropout masks that cost little on a CPU: 16 random bits decide an element.

Torch draws a number of double precision for each element there, which takes half of a training step.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 1 << 16


def keep_mask(shape: tuple[int, ...] | torch.Size, p: float, like: Tensor) -> Tensor:
    """What to multiply with: 0 with probability ``p``, else 1 over the probability of being kept.

    Args:
        shape: of the mask.
        p: to 1 in 65,536 on a CPU; the scale belongs to the probability that is really used.
        like: whose type and device it has. Draws from that device's default generator.
    """
    if like.device.type != "cpu":
        return torch.empty(shape, dtype=like.dtype, device=like.device).bernoulli_(1 - p).div_(1 - p)
    kept, scale = keep_bits(shape, p)
    return kept.to(like.dtype).mul_(scale)


def keep_bits(shape: tuple[int, ...] | torch.Size, p: float) -> tuple[Tensor, float]:
    """Which elements are kept, bool on the CPU, and what they are to be multiplied with."""
    size = torch.Size(shape)
    words = torch.empty(-(-size.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    level = min(max(round((1 - p) * LEVELS), 1), LEVELS)
    lanes = words.view(torch.int16)[: size.numel()].view(size)
    if level == LEVELS:
        return torch.ones(size, dtype=torch.bool), 1.0
    return lanes < level - LEVELS // 2, LEVELS / level
