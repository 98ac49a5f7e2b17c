"""What training minimises: the mixture's task loss, and the losses that give each expert its role."""

from __future__ import annotations

from torch import Tensor

from raymoe.config import TrainConfig
from raymoe.models.base import ModelOutput, Passes
from raymoe.task import Task
from raymoe.training.interaction_losses import interaction_losses


def objective(
    output: ModelOutput, passes: Passes, labels: Tensor, task: Task, config: TrainConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch (I2MoE; paper §3.1.1), and its parts before they are weighted.

    ``task + interaction_loss_weight * mean of the M + 2 interaction losses``. With ``expert_task_weight``
    above zero the task loss of each expert's own logits joins in, averaged over the experts: an expert that
    the gate leaves out would otherwise learn nothing of the task. That term is ours, not the paper's. A model
    of a single pass (the dense Transformer) has no interaction losses.

    Args:
        output: the model's answer to the full input.
        passes: every expert's answers in every pass, pass 0 being the full input.
        labels: of the batch, see ``Task.label_tensor``.
        task: what they mean.
        config: the weights of the terms.

    Returns:
        The loss, and ``task`` and, where they are used, ``interaction`` ([E]) and ``expert_task``.
    """
    weight = config.positive_weight
    logits_EPBC = passes.logits_EPBC.float()
    loss = task.loss(output.logits_BC.float(), labels, weight)
    parts = {"task": loss}
    if logits_EPBC.shape[1] > 1:
        compared = logits_EPBC if config.interaction_on == "logits" else passes.latents_EPBI.float()
        parts["interaction"] = interaction_losses(compared)
        loss = loss + config.interaction_loss_weight * parts["interaction"].mean()
    if config.expert_task_weight and len(logits_EPBC) > 1:
        # Experts have equally many logits, so the loss over all of them at once is the mean of their losses.
        E = logits_EPBC.shape[0]
        own = logits_EPBC[:, 0].flatten(0, 1)
        parts["expert_task"] = task.loss(own, labels.repeat(E, *[1] * (labels.dim() - 1)), weight)
        loss = loss + config.expert_task_weight * parts["expert_task"]
    return loss, parts
