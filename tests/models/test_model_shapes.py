"""Shapes of what models, gates, losses and tasks take and give: one axis of a name has one length.

Axes: B samples, T positions of the joint sequence, D hidden width, M modalities, E experts, P passes,
I = M D, C classes, H heads.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float, Int, jaxtyped
from torch import Tensor

from raymoe.attribution.importance import target_logits
from raymoe.config import ModelConfig, TrainConfig
from raymoe.features.store import FeatureBatch
from raymoe.models.base import FusionModel
from raymoe.models.build import MODELS, build_model
from raymoe.models.checkpoint import Shape
from raymoe.models.fl_i2moe import Gate, mean_embeddings
from raymoe.models.target import target_matrix
from raymoe.task import TASKS
from raymoe.training.interaction_losses import interaction_losses
from raymoe.training.objective import objective

LENGTHS = {"text": 7, "image": 9, "audio": 4}
SHAPES = tuple(Shape(name, width, LENGTHS[name]) for name, width in (("text", 6), ("image", 5), ("audio", 3)))
B, C, D = 4, 5, 16
CONFIG = ModelConfig(hidden_dim=D, num_heads=4, hidden_dim_rw=12, num_layers_rw=2)

every_kind = pytest.mark.parametrize("kind", MODELS)
every_task = pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)


@contextmanager
def one_length_each(**known: int) -> Iterator[None]:
    """Within the block an axis has the same length wherever its name stands, and these have those given."""
    with jaxtyped("context"):
        for name, length in known.items():
            assert isinstance(torch.zeros(length), Float[Tensor, name])
        yield


def model_and_inputs(kind: str) -> tuple[FusionModel, dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    features = {s.name: torch.randn(B, s.max_length, s.width, generator=generator) for s in SHAPES}
    valid = {s.name: torch.ones(B, s.max_length, dtype=torch.bool) for s in SHAPES}
    pooled = {name: x_BTD.mean(1) for name, x_BTD in features.items()}
    special = {name: torch.zeros_like(mask_BT) for name, mask_BT in valid.items()}
    batch = FeatureBatch(features, valid, special, torch.zeros(B, C), list("abcd"), pooled)
    model = build_model(SHAPES, C, CONFIG.model_copy(update={"kind": kind}))
    return model, *model.inputs(batch)


@every_kind
def test_a_prediction(kind):
    model, features, valid = model_and_inputs(kind)
    with one_length_each(B=B, C=C, E=len(model.expert_names)):
        output = model(features, valid)
        assert isinstance(output.logits_BC, Float[Tensor, "B C"])
        assert isinstance(output.expert_logits_EBC, Float[Tensor, "E B C"])
        assert isinstance(output.expert_weights_BE, Float[Tensor, "B E"])


@every_kind
def test_the_passes_that_training_compares(kind):
    model, features, valid = model_and_inputs(kind)
    passes = 1 if kind == "dense" else 1 + len(SHAPES)
    with one_length_each(B=B, C=C, E=len(model.expert_names), P=passes, I=len(SHAPES) * D):
        _, answers = model.forward_passes(features, valid)
        assert isinstance(answers.logits_EPBC, Float[Tensor, "E P B C"])
        assert isinstance(answers.latents_EPBI, Float[Tensor, "E P B I"])


@every_kind
def test_the_experts(kind):
    model, features, valid = model_and_inputs(kind)
    model.eval()
    H, layers = CONFIG.num_heads, CONFIG.num_layers
    with one_length_each(B=B, C=C, D=D, E=len(model.expert_names), M=len(SHAPES), H=H):
        inputs = model.fusion_input(model.project(features, valid), valid)
        assert isinstance(inputs.tokens_BTD, Float[Tensor, "B T D"])
        assert isinstance(inputs.key_bias_BT, Float[Tensor, "B T"])
        assert isinstance(inputs.pool_BMT, Float[Tensor, "B M T"])
        assert isinstance(inputs.valid_BT, Bool[Tensor, "B T"])
        arguments = inputs.tokens_BTD, inputs.key_bias_BT, inputs.pool_BMT
        assert isinstance(model.experts(*arguments), Float[Tensor, "E B C"])
        logits_EBC, attentions = model.experts.forward_with_attention(*arguments)
        assert isinstance(logits_EBC, Float[Tensor, "E B C"])
        assert len(attentions) == layers
        assert all(isinstance(weights, Float[Tensor, "E B H T T"]) for weights in attentions)
        alone = model.experts.select(0)
        assert isinstance(alone(*arguments), Float[Tensor, "1 B C"])


def test_the_gate():
    embeddings = {name: torch.randn(B, length, D) for name, length in LENGTHS.items()}
    valid = {name: torch.ones(B, length, dtype=torch.bool) for name, length in LENGTHS.items()}
    with one_length_each(B=B, D=D, E=6):
        means = mean_embeddings(embeddings, valid)
        assert all(isinstance(mean, Float[Tensor, "B D"]) for mean in means.values())
        weights_BE = Gate(len(means) * D, 6, CONFIG)(torch.cat(list(means.values()), -1))
        assert isinstance(weights_BE, Float[Tensor, "B E"])


@every_task
def test_losses_are_scalars_and_one_per_expert(task):
    model, features, valid = model_and_inputs("fl-i2moe")
    output, passes = model.forward_passes(features, valid)
    labels = task.label_tensor([[b % C] for b in range(B)], C)
    with one_length_each(B=B, C=C, E=len(model.expert_names)):
        assert isinstance(labels, Int[Tensor, " B"] if task.one_label else Float[Tensor, "B C"])
        assert isinstance(task.loss(output.logits_BC, labels), Float[Tensor, ""])
        assert isinstance(interaction_losses(passes.logits_EPBC), Float[Tensor, " E"])
        loss, parts = objective(output, passes, labels, task, TrainConfig(expert_task_weight=0.5))
        assert isinstance(loss, Float[Tensor, ""])
        assert isinstance(parts["task"], Float[Tensor, ""])
        assert isinstance(parts["interaction"], Float[Tensor, " E"])
        assert isinstance(parts["expert_task"], Float[Tensor, ""])


@every_task
def test_what_a_task_makes_of_logits(task):
    logits_VBC = torch.randn(3, B, C)
    labels = [[b % C] for b in range(B)]
    with one_length_each(B=B, C=C, V=3):
        assert isinstance(task.probabilities(logits_VBC), Float[Tensor, "V B C"])
        assert isinstance(task.predicted(logits_VBC.numpy()), Bool[np.ndarray, "V B C"])
        assert isinstance(task.class_f1(logits_VBC[0].numpy(), labels), Float[np.ndarray, " C"])
        explained = task.explained_classes(logits_VBC[0])
        assert isinstance(target_matrix(explained, C), Float[Tensor, "B C"])
        assert isinstance(target_logits(logits_VBC[0], explained), Float[Tensor, " B"])
