"""The original I2MoE: interaction experts over one pooled vector per modality, cut into patches.

Facts of its recipe: ``docs/models.md``. Shapes: B samples, D hidden width, W width of a pooled vector,
S slices ("patches") it is cut into, w = ceil(W / S) their width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raymoe.config import ModelConfig
from raymoe.models.base import Batch, ModalityShape
from raymoe.models.fl_i2moe import FLI2MoE, mean_embeddings


class I2MoE(FLI2MoE):
    """Each modality is S slices of its pooled vector, projected, plus a learned position (zeros at start).

    ``features`` are pooled vectors as sequences of one position, [B, 1, W]; ``valid`` is of the slices,
    [B, S]. For the arguments see ``FusionModel``.
    """

    kind = "i2moe"
    reads: ClassVar[dict[str, bool]] = {"sequences": False, "pooled": True}

    def __init__(self, modalities: tuple[ModalityShape, ...], num_classes: int, config: ModelConfig) -> None:
        super().__init__(modalities, num_classes, config)
        shape = len(modalities), config.num_patches, config.hidden_dim
        self.slice_position_MSD = nn.Parameter(torch.zeros(shape))

    def inputs(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The pooled vectors, [B, 1, W], and the slices that they are cut into, [B, S]: all are there."""
        features = {name: batch.pooled[name][:, None] for name in self.names}
        shape = len(features[self.names[0]]), self.config.num_patches
        there_BS = torch.ones(shape, dtype=torch.bool, device=features[self.names[0]].device)
        return features, dict.fromkeys(self.names, there_BS)

    def project(self, features: dict[str, Tensor], valid: dict[str, Tensor]) -> dict[str, Tensor]:
        """The slices at the common width, [B, S, D]; a vector is padded with zeros to a multiple of S."""
        found = {}
        for m, (name, projection) in enumerate(zip(self.names, self.projections, strict=True)):
            pooled_BW = features[name].flatten(1)
            slices = self.config.num_patches
            width = -(-pooled_BW.shape[1] // slices)
            padded_BX = F.pad(pooled_BW, (0, slices * width - pooled_BW.shape[1]))
            found[name] = projection(padded_BX.view(-1, slices, width)) + self.slice_position_MSD[m]
        return found

    def gate_weights(self, embeddings: dict[str, Tensor], valid: dict[str, Tensor]) -> Tensor:
        """Mixture weights [B, E] from the mean over each modality's slices, not normalised."""
        means = mean_embeddings(embeddings, valid)
        weights_BE: Tensor = self.gate(torch.cat([means[name] for name in self.names], -1))
        return weights_BE

    @staticmethod
    def _sequence_lengths(modalities: tuple[ModalityShape, ...], config: ModelConfig) -> list[int]:
        return [config.num_patches] * len(modalities)

    @staticmethod
    def _input_widths(modalities: tuple[ModalityShape, ...], config: ModelConfig) -> list[int]:
        return [-(-m.width // config.num_patches) for m in modalities]

    def _position(self, config: ModelConfig) -> Tensor:
        """Zeros: the only position is the learned one of each slice."""
        return torch.zeros(sum(self.lengths), config.hidden_dim)
