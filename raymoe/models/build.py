"""A model by the kind that its configuration names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raymoe.config import ModelConfig
from raymoe.models.base import FusionModel, ModalityShape
from raymoe.models.dense import DenseTransformer
from raymoe.models.fl_i2moe import FLI2MoE
from raymoe.models.i2moe import I2MoE

Build = Callable[[tuple[ModalityShape, ...], int, ModelConfig], FusionModel]
MODELS: dict[str, Build] = {m.kind: m for m in (FLI2MoE, DenseTransformer, I2MoE)}


def build_model(modalities: Sequence[ModalityShape], num_classes: int, config: ModelConfig) -> FusionModel:
    """The model with random weights; for the arguments see ``FusionModel``."""
    return MODELS[config.kind](tuple(modalities), num_classes, config)
