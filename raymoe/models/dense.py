"""The dense Transformer that the paper compares with: the same sequences, one fusion Transformer, one head.

Shapes: B samples.
"""

from __future__ import annotations

from torch import Tensor

from raymoe.config import ModelConfig
from raymoe.models.base import FusionModel, ModalityShape


class DenseTransformer(FusionModel):
    """One fusion Transformer over the joint sequence; for the arguments see ``FusionModel``.

    To everything that looks at experts it is a mixture of one, called ``dense``.
    """

    kind = "dense"

    def __init__(self, modalities: tuple[ModalityShape, ...], num_classes: int, config: ModelConfig) -> None:
        super().__init__(modalities, num_classes, config, 1)

    def gate_weights(self, embeddings: dict[str, Tensor], valid: dict[str, Tensor]) -> Tensor:
        """Ones, [B, 1]."""
        first = embeddings[self.names[0]]
        return first.new_ones(len(first), 1)
