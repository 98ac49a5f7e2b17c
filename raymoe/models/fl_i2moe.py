"""FL-I2MoE: interaction experts over token and patch sequences, and the gate that mixes them (paper §3.1).

Shapes: B samples, T_m tokens of modality m and T of the joint sequence, D hidden width, M modalities,
E = M + 2 experts in the order unique per modality, synergy, redundancy; C classes; P = M + 1 passes (the full
input, then each modality replaced by noise).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raymoe.config import ModelConfig
from raymoe.models.fusion import FusionExperts, position_code


class ModalityShape(Protocol):
    """What a model must know of a modality."""

    name: str
    width: int
    max_length: int


@dataclass
class Output:
    """What every model answers: the prediction, and what each expert contributed to it."""

    logits_BC: Tensor
    expert_logits_EBC: Tensor
    expert_weights_BE: Tensor


@dataclass
class FusionInput:
    """The joint sequence as the experts see it."""

    tokens_BTD: Tensor  # projected, position code added, zero at padding
    key_bias_BT: Tensor  # 0, or -inf at padding
    pool_BMT: Tensor  # mean over each modality's valid tokens
    valid_BT: Tensor


class FLI2MoE(nn.Module):
    """The feature-level mixture of interaction experts.

    Args:
        modalities: name, width and longest sequence of each; their order is that of the joint sequence.
        num_classes: C.
        config: the model's shape.
    """

    def __init__(self, modalities: tuple[ModalityShape, ...], num_classes: int, config: ModelConfig) -> None:
        super().__init__()
        self.names = [m.name for m in modalities]
        self.lengths = [m.max_length for m in modalities]
        self.config = config
        self.num_classes = num_classes
        M, D = len(modalities), config.hidden_dim
        self.projections = nn.ModuleList(nn.Linear(m.width, D) for m in modalities)
        self.experts = FusionExperts(
            M + 2,
            M,
            num_classes,
            hidden_dim=D,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            ffn_ratio=config.ffn_ratio,
            dropout=config.dropout,
            dropout_attention=config.dropout_attention,
        )
        self.gate = Gate(M * D, M + 2, config)
        # A modality's code starts where the longest sequences of those before it end, so that a token's
        # position does not depend on how the batch was padded.
        self.register_buffer("position_TD", position_code(sum(self.lengths), D), persistent=False)

    @property
    def expert_names(self) -> list[str]:
        """In the order of the outputs' expert axis."""
        return expert_names(self.names)

    def forward(self, features: dict[str, Tensor], valid: dict[str, Tensor]) -> Output:
        """Predict.

        Args:
            features: per modality [B, T_m, D_m], zero at padding.
            valid: per modality [B, T_m], False at padding.
        """
        embeddings = self.project(features, valid)
        inputs = self.fusion_input(embeddings, valid)
        expert_logits_EBC = self.experts(inputs.tokens_BTD, inputs.key_bias_BT, inputs.pool_BMT)
        return self.mix(expert_logits_EBC, self.gate_weights(embeddings, valid))

    def forward_passes(
        self, features: dict[str, Tensor], valid: dict[str, Tensor], generator: torch.Generator | None = None
    ) -> tuple[Output, Tensor]:
        """Predict, and let every expert answer with each modality replaced by Gaussian noise (I2MoE).

        All E x P passes are one batch. The experts see the same noise: each expert's losses have the same
        distribution as with noise of its own.

        Returns:
            The output on the full input, and expert logits [E, P, B, C], pass 0 being the full input.
        """
        embeddings = self.project(features, valid)
        variants = [embeddings]
        for replaced in self.names:
            noise = torch.empty_like(embeddings[replaced]).normal_(generator=generator)
            variants.append({**embeddings, replaced: noise})
        stacked = {n: torch.cat([v[n] for v in variants]) for n in self.names}
        repeated = {n: valid[n].repeat(len(variants), 1) for n in self.names}
        inputs = self.fusion_input(stacked, repeated)
        logits = self.experts(inputs.tokens_BTD, inputs.key_bias_BT, inputs.pool_BMT)
        logits_EPBC = logits.view(logits.shape[0], len(variants), -1, self.num_classes)
        return self.mix(logits_EPBC[:, 0], self.gate_weights(embeddings, valid)), logits_EPBC

    def project(self, features: dict[str, Tensor], valid: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each modality's sequence at the common width, [B, T_m, D], zero at padding."""
        each = zip(self.names, self.projections, strict=True)
        return {n: projection(features[n]) * valid[n][..., None] for n, projection in each}

    def fusion_input(self, embeddings: dict[str, Tensor], valid: dict[str, Tensor]) -> FusionInput:
        """The joint sequence: position code added, padding zeroed and kept out of attention and pooling."""
        parts, pools, start = [], [], 0
        for name, length in zip(self.names, self.lengths, strict=True):
            size = embeddings[name].shape[1]
            parts.append(embeddings[name] + self.position_TD[start : start + size])
            mean = valid[name].to(embeddings[name].dtype)
            pools.append(mean / mean.sum(1, keepdim=True).clamp(min=1))
            start += length
        valid_BT = torch.cat([valid[n] for n in self.names], 1)
        tokens_BTD = torch.cat(parts, 1) * valid_BT[..., None]
        pool_BMT = torch.stack(
            [
                torch.cat([p if i == j else torch.zeros_like(p) for j, p in enumerate(pools)], 1)
                for i in range(len(pools))
            ],
            1,
        )
        key_bias_BT = torch.zeros_like(valid_BT, dtype=tokens_BTD.dtype).masked_fill(~valid_BT, -torch.inf)
        return FusionInput(tokens_BTD, key_bias_BT, pool_BMT, valid_BT)

    def gate_weights(self, embeddings: dict[str, Tensor], valid: dict[str, Tensor]) -> Tensor:
        """Mixture weights [B, E] from the L2-normalised mean embedding of each modality."""
        means = []
        for name in self.names:
            mask = valid[name][..., None].to(embeddings[name].dtype)
            mean = (embeddings[name] * mask).sum(1) / mask.sum(1).clamp(min=1)
            means.append(F.normalize(mean, dim=-1))
        return self.gate(torch.cat(means, -1))

    @staticmethod
    def mix(expert_logits_EBC: Tensor, weights_BE: Tensor) -> Output:
        """The prediction: the experts' logits weighted by the gate."""
        return Output(
            torch.einsum("ebc,be->bc", expert_logits_EBC, weights_BE), expert_logits_EBC, weights_BE
        )


def expert_names(modalities: list[str]) -> list[str]:
    """One unique expert per modality, then synergy and redundancy."""
    return [*(f"unique:{name}" for name in modalities), "synergy", "redundancy"]


class Gate(nn.Module):
    """The reweighting MLP: ReLU, dropout, softmax at a temperature."""

    def __init__(self, inputs: int, num_experts: int, config: ModelConfig) -> None:
        super().__init__()
        self.temperature = config.temperature_rw
        widths = [inputs] + [config.hidden_dim_rw] * (config.num_layers_rw - 1)
        layers: list[nn.Module] = []
        for i, o in pairwise(widths):
            layers += [nn.Linear(i, o), nn.ReLU(), nn.Dropout(config.dropout_rw)]
        self.mlp = nn.Sequential(*layers, nn.Linear(widths[-1], num_experts))

    def forward(self, x: Tensor) -> Tensor:
        """Weights [B, E] that sum to 1."""
        return (self.mlp(x) / self.temperature).softmax(-1)
