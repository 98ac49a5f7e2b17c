"""The losses by their formulas, one sample and one number at a time."""

import math

import pytest
import torch

from raymoe.config import TrainConfig
from raymoe.models.base import ModelOutput, Passes
from raymoe.task import MULTICLASS, MULTILABEL
from raymoe.training.interaction_losses import interaction_losses
from raymoe.training.objective import objective


def distance(a, b):
    return math.sqrt(sum((x - y + 1e-7) ** 2 for x, y in zip(a, b, strict=True)))


def cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


@pytest.mark.parametrize("modalities", [2, 3])
def test_interaction_losses_follow_their_formulas(modalities):
    logits = torch.randn(modalities + 2, modalities + 1, 4, 6, generator=torch.Generator().manual_seed(0))
    rows = logits.tolist()
    expected = []
    for m in range(modalities):
        terms = []
        for other in set(range(modalities)) - {m}:
            for b in range(4):
                anchor, negative, positive = rows[m][0][b], rows[m][1 + m][b], rows[m][1 + other][b]
                terms.append(max(0.0, distance(anchor, positive) - distance(anchor, negative) + 1))
        expected.append(sum(terms) / len(terms))
    for expert in (modalities, modalities + 1):
        similar = [
            cosine(rows[expert][0][b], rows[expert][1 + p][b]) for p in range(modalities) for b in range(4)
        ]
        mean = sum(similar) / len(similar)
        expected.append(mean if expert == modalities else 1 - mean)
    torch.testing.assert_close(interaction_losses(logits), torch.tensor(expected), atol=1e-5, rtol=1e-5)


def test_each_expert_has_the_loss_of_its_role():
    """No interaction is needed where the role is already played to the full."""
    full, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[-9.0, 0.0]])
    unique_first = torch.stack([full, far, full])  # only the first modality matters
    synergy = torch.stack([full, -full, -full])  # either one missing turns the answer round
    redundancy = torch.stack([full, full, full])  # either one missing changes nothing
    unique_second = torch.stack([full, full, far])
    losses = interaction_losses(torch.stack([unique_first, unique_second, synergy, redundancy]))
    torch.testing.assert_close(losses, torch.tensor([0.0, 0.0, -1.0, 0.0]), atol=1e-6, rtol=0)


def test_interaction_losses_refuse_a_wrong_number_of_experts():
    with pytest.raises(ValueError, match="expected 4"):
        interaction_losses(torch.zeros(3, 3, 2, 5))


@pytest.mark.parametrize("task", [MULTILABEL, MULTICLASS], ids=lambda task: task.name)
def test_objective_is_the_weighted_sum_of_its_parts(task):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 5, 6, generator=generator)
    weights = torch.randn(5, 4, generator=generator).softmax(-1)
    mixture = torch.einsum("ebc,be->bc", logits[:, 0], weights)
    labels = torch.tensor([0, 5, 2, 2, 1]) if task.one_label else torch.randint(0, 2, (5, 6)).float()
    output = ModelOutput(mixture, logits[:, 0], weights)
    passes = Passes(logits, torch.randn(4, 3, 5, 8, generator=generator))
    plain = TrainConfig(interaction_loss_weight=0.3)
    loss, parts = objective(output, passes, labels, task, plain)
    expected = task.loss(mixture, labels) + 0.3 * interaction_losses(logits).mean()
    torch.testing.assert_close(loss, expected)
    assert set(parts) == {"task", "interaction"}

    own = sum(task.loss(logits[e, 0], labels) for e in range(4)) / 4
    loss, parts = objective(
        output, passes, labels, task, plain.model_copy(update={"expert_task_weight": 0.7})
    )
    torch.testing.assert_close(loss, expected + 0.7 * own)
    torch.testing.assert_close(parts["expert_task"], own)

    later = plain.model_copy(update={"interaction_on": "latents"})
    loss, parts = objective(output, passes, labels, task, later)
    torch.testing.assert_close(parts["interaction"], interaction_losses(passes.latents_EPBI))
    torch.testing.assert_close(loss, task.loss(mixture, labels) + 0.3 * parts["interaction"].mean())


def test_a_model_of_one_pass_has_the_task_loss_alone():
    logits = torch.randn(1, 1, 5, 6, generator=torch.Generator().manual_seed(0))
    output = ModelOutput(logits[0, 0], logits[:, 0], torch.ones(5, 1))
    labels = torch.zeros(5, 6)
    config = TrainConfig(expert_task_weight=1.0)
    loss, parts = objective(output, Passes(logits, logits), labels, MULTILABEL, config)
    assert set(parts) == {"task"}
    torch.testing.assert_close(loss, MULTILABEL.loss(logits[0, 0], labels))
