"""How much each expert relies on each token and patch: four methods, one interface.

Shapes: E experts, N samples, T_m positions of modality m and T of the joint sequence, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from raymoe.attribution.integrated import Integrated, integrated_gradients, mixture_integrated_gradients
from raymoe.attribution.rollout import attention_rollout, grad_attention_rollout, min_max
from raymoe.config import AttributeConfig
from raymoe.features.store import FeatureBatch
from raymoe.models.base import FusionInput, FusionModel
from raymoe.models.target import target_matrix
from raymoe.runtime.seeds import seed_of
from raymoe.task import Task


@dataclass(frozen=True)
class Importance:
    """How much every expert relies on every feature of a batch of N samples.

    Attributes:
        scores: per modality [E, N, T_m] float32 in 0..1; special positions and padding are 0. Where it was
            asked for, one row more: of the experts together.
        targets: the classes that were explained.
        notes: figures of the method itself, each [E, N]. Integrated gradients give ``rise``, by how much the
            target's logit rises from baseline to input, and ``delta``, the sum of the attributions minus it.
    """

    scores: dict[str, np.ndarray]
    targets: list[list[int]]
    notes: dict[str, np.ndarray] = field(default_factory=dict)


def mean_over_experts(scores: Sequence[np.ndarray]) -> np.ndarray:
    """What counts as important to the mixture: the mean of its experts' scores, [T_m].

    The paper attributes to experts alone. Each expert's scores are scaled to 0..1 for themselves, so every
    one has a say in which features are looked at, whatever its weight.

    Args:
        scores: of one sample and modality, one array [T_m] for each expert.
    """
    return np.stack(scores).mean(0, dtype=np.float64).astype(np.float32)


def importance(
    model: FusionModel,
    batch: FeatureBatch,
    task: Task,
    targets: list[list[int]] | None = None,
    config: AttributeConfig | None = None,
    *,
    together: bool = False,
) -> Importance:
    """Importance for every expert; a sample's scores do not depend on the others of the batch.

    * ``grad_attnroll`` differentiates the mixture's mean logit over the target classes, so what an expert
      contributes is weighted by the gate; scaling per expert and modality takes most of that out again.
    * ``attnroll`` does not depend on the target.
    * ``ig`` explains the expert's own mean logit over the target classes, with sign: what speaks against them
      comes last.
    * ``random`` is the baseline: uniform, keyed by sample, expert and modality.

    Args:
        model: in eval mode.
        batch: on the model's device.
        task: what the labels mean.
        targets: the classes to explain, per sample; by default ``Task.explained_classes``.
        config: method, steps and seed.
        together: add a last row, of the experts together, as the authors' later code forms it: the sum of
            their rollouts, scaled once; for ``ig`` that of the mixture's logit
            (`mixture_integrated_gradients`).
    """
    config = config or AttributeConfig()
    with torch.no_grad():
        embeddings = model.project(batch.features, batch.valid)
        inputs = model.fusion_input(embeddings, batch.valid)
        gate_BE = model.gate_weights(embeddings, batch.valid)
    if targets is None:
        with torch.no_grad():
            logits_EBC = model.experts(inputs.tokens_BTD, inputs.key_bias_BT, inputs.pool_BMT)
            targets = task.explained_classes(model.mix(logits_EBC, gate_BE).logits_BC)
    given = MethodInput(model, batch, embeddings, inputs, gate_BE, targets, config)
    raw_ENT, notes = METHODS[config.method](given)
    if together:
        raw_1NT, more = _together(given, raw_ENT)
        raw_ENT = torch.cat([raw_ENT, raw_1NT])
        notes = {name: np.concatenate([values, more[name]]) for name, values in notes.items()}
    parts = raw_ENT.split([batch.valid[name].shape[1] for name in model.names], dim=-1)
    scores = {
        name: min_max(part, batch.valid[name] & ~batch.special[name]).float().cpu().numpy()
        for name, part in zip(model.names, parts, strict=True)
    }
    return Importance(scores, targets, notes)


@dataclass(frozen=True)
class MethodInput:
    """What a method is given: a batch on its way into the experts."""

    model: FusionModel
    batch: FeatureBatch
    embeddings: dict[str, Tensor]
    inputs: FusionInput
    gate_BE: Tensor
    targets: list[list[int]]
    config: AttributeConfig


def _grad_attention_rollout(given: MethodInput) -> tuple[Tensor, dict]:
    with torch.enable_grad():
        logits_EBC, attentions = _with_attention(given)
        score_B = target_logits(given.model.mix(logits_EBC, given.gate_BE).logits_BC, given.targets)
        gradients = torch.autograd.grad(score_B.sum(), attentions)
    with torch.no_grad():
        return grad_attention_rollout(attentions, gradients, given.inputs.valid_BT), {}


def _attention_rollout(given: MethodInput) -> tuple[Tensor, dict]:
    with torch.no_grad():
        return attention_rollout(_with_attention(given)[1], given.inputs.valid_BT), {}


def _with_attention(given: MethodInput) -> tuple[Tensor, list[Tensor]]:
    # The parameters need no gradient, so the graph has to begin at the input.
    tokens = given.inputs.tokens_BTD.detach().requires_grad_()
    return given.model.experts.forward_with_attention(tokens, given.inputs.key_bias_BT, given.inputs.pool_BMT)


def _integrated_gradients(given: MethodInput) -> tuple[Tensor, dict]:
    special_BT = torch.cat([given.batch.special[name] for name in given.model.names], 1)
    experts, steps = given.model.experts, given.config.steps
    found = integrated_gradients(experts, given.inputs, _targets(given), special_BT, steps)
    return found.scores_ENT.double(), _completeness(found)


def _together(given: MethodInput, raw_ENT: Tensor) -> tuple[Tensor, dict]:
    if given.config.method != "ig":
        return raw_ENT.sum(0, keepdim=True), {}
    found = mixture_integrated_gradients(
        given.model, given.embeddings, given.batch.valid, _targets(given), given.config.steps
    )
    return found.scores_ENT.double(), _completeness(found)


def _targets(given: MethodInput) -> Tensor:
    return target_matrix(given.targets, given.model.num_classes).to(given.inputs.tokens_BTD)


def _completeness(found: Integrated) -> dict[str, np.ndarray]:
    return {"delta": found.delta_EN.cpu().numpy(), "rise": found.rise_EN.cpu().numpy()}


def _random(given: MethodInput) -> tuple[Tensor, dict]:
    return torch.cat(
        [
            torch.from_numpy(_uniform(given, name, given.batch.valid[name].shape[1])).to(given.gate_BE.device)
            for name in given.model.names
        ],
        -1,
    ), {}


def _uniform(given: MethodInput, modality: str, length: int) -> np.ndarray:
    """[E, N, length] in 0..1; a position's number does not depend on the padding."""
    return np.stack(
        [
            [
                np.random.default_rng(
                    seed_of("random", given.config.seed, sample_id, expert, modality)
                ).random(length)
                for sample_id in given.batch.sample_ids
            ]
            for expert in given.model.expert_names
        ]
    )


METHODS: dict[str, Callable[[MethodInput], tuple[Tensor, dict[str, np.ndarray]]]] = {
    "grad_attnroll": _grad_attention_rollout,
    "attnroll": _attention_rollout,
    "ig": _integrated_gradients,
    "random": _random,
}


def target_logits(logits_BC: Tensor, targets: Sequence[Sequence[int]]) -> Tensor:
    """Mean logit over each sample's target classes, [B]."""
    return (logits_BC * target_matrix(targets, logits_BC.shape[1]).to(logits_BC)).sum(-1)
