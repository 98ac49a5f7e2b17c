"""A model by the kind that its configuration names."""

from __future__ import annotations

from raymoe.config import ModelConfig
from raymoe.models.base import FusionModel, ModalityShape
from raymoe.models.dense import DenseTransformer
from raymoe.models.fl_i2moe import FLI2MoE
from raymoe.models.i2moe import I2MoE

MODELS: dict[str, type[FusionModel]] = {m.kind: m for m in (FLI2MoE, DenseTransformer, I2MoE)}


def build_model(modalities: tuple[ModalityShape, ...], num_classes: int, config: ModelConfig) -> FusionModel:
    """The model with random weights; arguments as of ``FusionModel``."""
    return MODELS[config.kind](modalities, num_classes, config)
