"""What the three models share: projections, the joint sequence, a stack of fusion Transformers, the mixture.

Shapes: B samples, T_m tokens of modality m and T of the joint sequence, D hidden width, M modalities, E
experts, C classes; P passes (the full input, then any in which something was replaced), I = M D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from raymoe.catalogue import expert_names
from raymoe.config import ModelConfig
from raymoe.models.fusion import FusionExperts, Segments, position_code


class ModalityShape(Protocol):
    """What a model must know of a modality: the width of its features, and its longest sequence."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def width(self) -> int: ...  # noqa: D102

    @property
    def max_length(self) -> int: ...  # noqa: D102


class Batch(Protocol):
    """What a model must know of a batch; a ``FeatureBatch`` is one."""

    features: dict[str, Tensor]
    valid: dict[str, Tensor]
    pooled: dict[str, Tensor]


@dataclass
class ModelOutput:
    """What every model answers: the mixture's logits, each expert's own, and the weights that mix them."""

    logits_BC: Tensor
    expert_logits_EBC: Tensor
    expert_weights_BE: Tensor


@dataclass
class Passes:
    """Every expert's answers to every pass, pass 0 being the full input: logits, and what the heads see."""

    logits_EPBC: Tensor
    latents_EPBI: Tensor


@dataclass
class FusionInput:
    """The joint sequence as the experts see it.

    Attributes:
        tokens_BTD: projected, position code added, zero at padding.
        key_bias_BT: added to the attention logits of each key: 0, or ``-inf`` at padding.
        pool_BMT: weights of the mean over each modality's valid tokens.
        valid_BT: False at padding.
    """

    tokens_BTD: Tensor
    key_bias_BT: Tensor
    pool_BMT: Tensor
    valid_BT: Tensor


class FusionModel(nn.Module):
    """A mixture of fusion Transformers over the modalities' sequences.

    A subclass says how many experts there are, what their inputs are and how the gate weighs them.

    Args:
        modalities: name, width and longest sequence of each; their order is that of the joint sequence.
        num_classes: C.
        config: the model's shape.
        num_experts: E.
    """

    kind: ClassVar[str]
    # What ``inputs`` takes of a batch, as arguments of ``FeatureStore.batch``.
    reads: ClassVar[dict[str, bool]] = {"sequences": True, "pooled": False}
    position_TD: Tensor

    def __init__(
        self,
        modalities: tuple[ModalityShape, ...],
        num_classes: int,
        config: ModelConfig,
        num_experts: int,
    ) -> None:
        super().__init__()
        self.names = [m.name for m in modalities]
        self.lengths = self._sequence_lengths(modalities, config)
        self.config = config
        self.num_classes = num_classes
        widths = self._input_widths(modalities, config)
        self.projections = nn.ModuleList(nn.Linear(width, config.hidden_dim) for width in widths)
        self.experts = FusionExperts(
            num_experts,
            len(modalities),
            num_classes,
            hidden_dim=config.hidden_dim,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            ffn_ratio=config.ffn_ratio,
            dropout=config.dropout,
            dropout_attention=config.dropout_attention,
            residual=config.residual,
        )
        # A modality's code starts where the longest sequences of those before it end, so that a token's
        # position does not depend on how the batch was padded.
        self.register_buffer("position_TD", self._position(config), persistent=False)

    @property
    def expert_names(self) -> list[str]:
        """In the order of the outputs' expert axis."""
        return expert_names(self.kind, self.names)

    def inputs(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What ``forward`` takes, from a batch of the feature store: features and validity."""
        return batch.features, batch.valid

    def forward(
        self,
        features: dict[str, Tensor],
        valid: dict[str, Tensor],
        masked: dict[str, Tensor] | None = None,
    ) -> ModelOutput:
        """Predict.

        Args:
            features: per modality [B, T_m, D_m], zero at padding.
            valid: per modality [B, T_m], False at padding.
            masked: per modality [B, T_m], True where a feature is zeroed, position code included: it stays in
                the sequence as the zero vector (paper §4.2).
        """
        embeddings = self.project(features, valid)
        if masked is not None:
            embeddings = {name: x_BTD * ~masked[name][..., None] for name, x_BTD in embeddings.items()}
        inputs = self.fusion_input(embeddings, valid)
        tokens_BTD = inputs.tokens_BTD
        if masked is not None:
            tokens_BTD = tokens_BTD * ~torch.cat([masked[name] for name in self.names], 1)[..., None]
        expert_logits_EBC = self.experts(tokens_BTD, inputs.key_bias_BT, inputs.pool_BMT)
        return self.mix(expert_logits_EBC, self.gate_weights(embeddings, valid))

    def forward_passes(
        self, features: dict[str, Tensor], valid: dict[str, Tensor], generator: torch.Generator | None = None
    ) -> tuple[ModelOutput, Passes]:
        """Predict, and let every expert answer each of the passes that training compares.

        All E x P passes are one batch; what passes share is computed once.

        Returns:
            The output on the full input, and all answers.
        """
        embeddings = self.project(features, valid)
        inputs = self.fusion_input(embeddings, valid)
        noise = self.noise(embeddings, generator)
        sources_BTD = [inputs.tokens_BTD]
        passes = [tuple(0 for _ in self.names)]
        if noise is not None:
            sources_BTD.append(self.fusion_input(noise, valid).tokens_BTD)
            passes += [tuple(int(i == m) for i in range(len(self.names))) for m in range(len(self.names))]
        P = len(passes)
        latents_ENI = self.experts.latents(
            Segments(sources_BTD, [valid[n].shape[1] for n in self.names], passes),
            inputs.key_bias_BT.repeat(P, 1),
            inputs.pool_BMT.repeat(P, 1, 1),
        )
        logits_ENC = self.experts.head(latents_ENI)
        answers = Passes(*(x.view(x.shape[0], P, -1, x.shape[-1]) for x in (logits_ENC, latents_ENI)))
        return self.mix(answers.logits_EPBC[:, 0], self.gate_weights(embeddings, valid)), answers

    def noise(
        self, embeddings: dict[str, Tensor], generator: torch.Generator | None
    ) -> dict[str, Tensor] | None:
        """What replaces each modality in a pass of its own; None: there is the full input alone."""
        return None

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
        """Mixture weights [B, E], rows summing to 1."""
        raise NotImplementedError

    @staticmethod
    def mix(expert_logits_EBC: Tensor, weights_BE: Tensor) -> ModelOutput:
        """The prediction: the experts' logits weighted by the gate."""
        return ModelOutput(
            torch.einsum("ebc,be->bc", expert_logits_EBC, weights_BE), expert_logits_EBC, weights_BE
        )

    @staticmethod
    def _sequence_lengths(modalities: tuple[ModalityShape, ...], config: ModelConfig) -> list[int]:
        return [m.max_length for m in modalities]

    @staticmethod
    def _input_widths(modalities: tuple[ModalityShape, ...], config: ModelConfig) -> list[int]:
        return [m.width for m in modalities]

    def _position(self, config: ModelConfig) -> Tensor:
        return position_code(sum(self.lengths), config.hidden_dim)
