"""FL-I2MoE: interaction experts over token and patch sequences, and the gate that mixes them (paper §3.1).

Shapes: B samples, T_m tokens of modality m, D hidden width, M modalities, E = M + 2 experts in the order
unique per modality, synergy, redundancy.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raymoe.config import ModelConfig
from raymoe.models.base import FusionModel, ModalityShape


class FLI2MoE(FusionModel):
    """The feature-level mixture of interaction experts; for the arguments see ``FusionModel``."""

    kind = "fl-i2moe"

    def __init__(self, modalities: tuple[ModalityShape, ...], num_classes: int, config: ModelConfig) -> None:
        super().__init__(modalities, num_classes, config, len(modalities) + 2)
        self.gate = Gate(len(modalities) * config.hidden_dim, len(modalities) + 2, config)

    def noise(self, embeddings: dict[str, Tensor], generator: torch.Generator | None) -> dict[str, Tensor]:
        """Gaussian noise in the place of each modality's embedding (I2MoE).

        The experts see the same noise: each expert's losses have the same distribution as with noise of its
        own.
        """
        return {n: torch.empty_like(embeddings[n]).normal_(generator=generator) for n in self.names}

    def gate_weights(self, embeddings: dict[str, Tensor], valid: dict[str, Tensor]) -> Tensor:
        """Mixture weights [B, E] from the L2-normalised mean embedding of each modality."""
        means = mean_embeddings(embeddings, valid)
        weights_BE: Tensor = self.gate(torch.cat([F.normalize(means[n], dim=-1) for n in self.names], -1))
        return weights_BE


def mean_embeddings(embeddings: dict[str, Tensor], valid: dict[str, Tensor]) -> dict[str, Tensor]:
    """Mean over each modality's valid positions, [B, D]; 0 where there is none."""
    found = {}
    for name, embedding_BTD in embeddings.items():
        mask_BT1 = valid[name][..., None].to(embedding_BTD.dtype)
        found[name] = (embedding_BTD * mask_BT1).sum(1) / mask_BT1.sum(1).clamp(min=1)
    return found


class Gate(nn.Module):
    """The reweighting MLP: ReLU, dropout, softmax at a temperature.

    Args:
        inputs: width of what it sees.
        num_experts: E.
        config: its depth, width, dropout and temperature.
    """

    def __init__(self, inputs: int, num_experts: int, config: ModelConfig) -> None:
        super().__init__()
        self.temperature = config.temperature_rw
        widths = [inputs] + [config.hidden_dim_rw] * (config.num_layers_rw - 1)
        layers: list[nn.Module] = []
        for i, o in pairwise(widths):
            layers += [nn.Linear(i, o), nn.ReLU(), nn.Dropout(config.dropout_rw)]
        self.mlp = nn.Sequential(*layers, nn.Linear(widths[-1], num_experts))

    def forward(self, means_BI: Tensor) -> Tensor:
        """Weights [B, E] that sum to 1, from the modalities' mean embeddings side by side."""
        logits_BE: Tensor = self.mlp(means_BI)
        return (logits_BE / self.temperature).softmax(-1)
