"""The scalar that is explained: the mean logit over the target classes of a sample (paper §3.2.1).

Shapes: B samples, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def target_weights(classes: Sequence[int], num_classes: int) -> Tensor:
    """Weights [C] such that ``logits @ weights`` is the mean logit over the target classes.

    Raises:
        ValueError: there are none.
    """
    if not len(classes):
        raise ValueError("no target class")
    weights_C = torch.zeros(num_classes)
    weights_C[list(classes)] = 1 / len(classes)
    return weights_C


def predicted_classes(logits_BC: Tensor, task: str) -> list[list[int]]:
    """The prediction: for multi-label data the classes above 0, or the best where none is; else the best."""
    best_B = logits_BC.argmax(-1)
    if task != "multilabel":
        return [[int(best)] for best in best_B]
    return [
        torch.nonzero(row > 0).flatten().tolist() or [int(best)]
        for row, best in zip(logits_BC, best_B, strict=True)
    ]
