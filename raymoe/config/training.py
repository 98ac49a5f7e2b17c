"""The train and sweep sections: one training, and the many that a sweep tries."""

from __future__ import annotations

import itertools
import math
import random
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from raymoe.config.section import Section
from raymoe.errors import InputError

Metric = Literal["micro_f1", "macro_f1", "accuracy"]
MAX_CONFIGURATIONS = 10_000  # of a sweep


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


class SweepConfig(Section):
    """Seeds times configurations; a configuration is one value for each field of the grid."""

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0, 1, 2), min_length=1)
    """training seeds of each configuration"""
    # The paper adjusts it on validation, slightly, from the 2 of I2MoE.
    temperatures: tuple[float, ...] = Field((1.0, 2.0, 4.0), min_length=1)
    """values of `model.temperature_rw`"""
    grid: dict[str, tuple[Any, ...]] = Field({})
    """values of any other fields of model and train, for instance `{"model.dropout" = [0.3, 0.5]}`"""
    random: int | None = Field(None, ge=1)
    """only so many configurations of the grid, drawn at random; not set: all"""
    asha: bool = False
    """stop trials early that fall behind (asynchronous successive halving)"""
    trials_per_gpu: int = Field(2, ge=1)
    """how many trials share a GPU"""

    @field_validator("grid", mode="before")
    @classmethod
    def _flat(cls, grid: Any) -> Any:
        """TOML reads an unquoted ``model.dropout = [...]`` as a table in a table."""
        if not isinstance(grid, dict):
            return grid
        flat: dict[str, Any] = {}
        for key, value in grid.items():
            flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
        return flat

    @model_validator(mode="after")
    def _distinct(self) -> SweepConfig:
        for name, values in {"seeds": self.seeds, "temperatures": self.temperatures, **self.grid}.items():
            twice = [value for i, value in enumerate(values) if value in values[:i]]
            if twice:
                raise ValueError(f"{name} has {twice[0]!r} twice")
        return self

    def configurations(self) -> list[dict[str, Any]]:
        """Every combination, or the drawn ones, in the order of the grid: field to value.

        Raises:
            InputError: more than ``MAX_CONFIGURATIONS`` of them.
        """
        values = {"model.temperature_rw": self.temperatures, **self.grid}
        total = math.prod(map(len, values.values()))
        if min(total, self.random or total) > MAX_CONFIGURATIONS:
            raise InputError(
                f"the grid of the sweep has {total:,} configurations, more than {MAX_CONFIGURATIONS:,}",
                "Take fewer values, or draw some of them with --random N.",
            )
        if self.random is None or self.random >= total:
            return [dict(zip(values, c, strict=True)) for c in itertools.product(*values.values())]
        found = []
        for index in sorted(random.Random(0).sample(range(total), self.random)):
            chosen = {}
            for field, choices in reversed(values.items()):
                index, at = divmod(index, len(choices))
                chosen[field] = choices[at]
            found.append({field: chosen[field] for field in values})
        return found
