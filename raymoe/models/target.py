"""The scalar that is explained: the mean logit over the target classes of a sample (paper §3.2.1).

Which classes these are, the true ones or those that the model predicts, is the caller's choice; see
``Task.explained_classes`` for the latter. Shapes: B samples, C classes.
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


def target_matrix(targets: Sequence[Sequence[int]], num_classes: int) -> Tensor:
    """The weights of each sample's target, [B, C], see ``target_weights``."""
    return torch.stack([target_weights(classes, num_classes) for classes in targets])
