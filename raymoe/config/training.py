"""The train section."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from raymoe.config.section import Section

Metric = Literal["micro_f1", "macro_f1", "accuracy"]


class TrainConfig(Section):
    """Optimisation and model selection."""

    seed: int = Field(0, ge=0)
    """of the weights, the order of the batches and dropout; the option --seed sets it"""
    epochs: int = Field(40, ge=1)
    """passes over the training split"""
    batch_size: int = Field(32, ge=1)
    """samples of a step"""
    micro_batch_size: int | None = Field(None, ge=1)
    """samples in memory at once; not set: what suits the device"""
    lr: float = Field(1e-4, gt=0)
    """learning rate"""
    weight_decay: float = Field(0.0, ge=0)
    """weight decay of the optimiser"""
    clip_norm: float | None = Field(None, gt=0)
    """the gradient is clipped to this norm; not set: it is not"""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """of matrix products"""
    interaction_loss_weight: float = Field(0.5, ge=0)
    """weight of the interaction losses beside the task's"""
    interaction_on: Literal["logits", "latents"] = "logits"
    """what the interaction losses compare"""
    expert_task_weight: float = Field(0.0, ge=0)
    """above 0 every expert also learns the task by itself, so that none dies"""
    positive_weight: float = Field(1.0, gt=0)
    """of a multilabel task: weight of a class that is there in the task loss"""
    selection: Metric = "macro_f1"
    """the validation metric by which the best epoch, the best configuration of a sweep and the best linear
    probe are chosen"""
    patience: int | None = Field(None, ge=1)
    """stop after so many epochs without a better validation score; not set: train all `epochs`"""

    def defining(self) -> dict[str, Any]:
        """What a training is made from: all but what only fits it to a device's memory."""
        return self.model_dump(exclude={"micro_batch_size"})
